"""What goes wrong with a mesh's streams, durables, clocks and services while it runs, and how each is mended."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jetmesh.contracts import registry
from jetmesh.contracts.releases import NoRelease
from jetmesh.jetstream import api
from jetmesh.jetstream.clock import DIFFERENCE_SECONDS_MAX
from jetmesh.operate import monitoring
from jetmesh.operate.findings import Finding, Findings, Grade, Patient
from jetmesh.operate.service_answers import ServerHealth, State, ask_everybody
from jetmesh.service import Service
from jetmesh.topology import provision
from jetmesh.topology.names import endpoint_subject
from jetmesh.topology.provision import Change, Step
from jetmesh.topology.streams import Stream

BACKUPS = "docs/operations.md#backups"
NEAR, FULL = 0.8, 0.99
"""The part of a limit from which on a stream is near it, and as good as full."""
RESTART = (
    "make room, or raise the limit of open files; then restart the server: it keeps a write error until it is restarted"
)
OPEN_FILES = (
    "look at the server's log; if it has too many open files, raise the limit (LimitNOFILE with systemd) and restart it"
)
START_SERVERS = f"start the server that has it, or restore the mesh from its backup if that is lost ({BACKUPS})"
SYNCHRONISE = "synchronise the clocks (chrony, systemd-timesyncd): deadlines go by the broker's"


async def storing(patient: Patient) -> Findings:
    """Whether the server can store, by its own word: it answers nothing to who publishes where it can't."""
    health = await monitoring.page(patient, "healthz", ServerHealth)
    if health is None and patient.monitor_url:
        found = f"nothing at {patient.monitor_url} tells the server's health"
        fix = (
            "correct --monitor (http://host:8222, the server's `http`); a server without free open files answers nobody"
        )
        yield Finding("storing", Grade.WRONG, found, fix)
    elif health is None:
        yield Finding("storing", Grade.NOTE, "the server's health can't be seen by this user", "name it with --monitor")
    elif health.status != "ok":
        fix = RESTART if "write error" in health.error else "look at the server's log"
        yield Finding("storing", Grade.WRONG, f"the server is not healthy: {health.error or health.status}", fix)
    else:
        yield Finding("storing", Grade.GOOD, "the server says that it is healthy")


async def streams(patient: Patient) -> Findings:
    """Whether streams and durables are what the services need."""
    if not patient.services:
        fix = "name it with --app or JETMESH_APP"
        yield Finding("topology", Grade.NOTE, "no app is named, so nothing to compare with", fix)
        return
    steps = await provision.plan(patient.connection, patient.topology)
    lost = await _lost(patient, steps)
    drift = [step for step in steps if step.change is not Change.KEEP]
    unreadable = await _unreadable(patient, drift)
    for name in sorted(unreadable):
        yield Finding("topology", Grade.WRONG, f"the broker has {name}, and can't read it", OPEN_FILES)
    for step in (step for step in drift if step.name not in unreadable):
        yield Finding("topology", Grade.WRONG, _words(step, lost), _fix(step, lost))
    for step in (step for step in steps if step.kept):
        found = f"{step.kind} {step.name} has, undeclared: {'; '.join(step.kept)}"
        yield Finding("topology", Grade.NOTE, found, "it is kept; `jetmesh topology apply --prune` takes subjects away")
    if not drift:
        yield Finding("topology", Grade.GOOD, f"{len(steps)} streams and durables are as the services need them")


async def _unreadable(patient: Patient, drift: Sequence[Step]) -> set[str]:
    """The durables that the server knows by name, and says that they are not there: it could not open their files."""
    missing = {step.name for step in drift if step.kind == "consumer" and step.change is Change.CREATE}
    known: set[str] = set()
    for stream in {name.partition("/")[0] for name in missing}:
        answer = await api.request(patient.connection, f"CONSUMER.NAMES.{stream}")
        known |= {f"{stream}/{name}" for name in (answer or {}).get("consumers") or ()}
    return missing & known


def _words(step: Step, lost: frozenset[str]) -> str:
    if step.name in lost:
        return f"stream {step.name} is gone, and other streams of this mesh hold data: what was in it is lost here"
    return str(step)


def _fix(step: Step, lost: frozenset[str]) -> str:
    if step.name in lost:
        return f"stop the services and restore the mesh from its backup ({BACKUPS}); an empty one would hide the loss"
    if step.name.partition("/")[0] in lost:
        return f"restore its stream first ({BACKUPS})"
    if step.change is Change.REFUSE:
        return "mend the reason it gives: `jetmesh topology apply` refuses this"
    return "run `jetmesh topology apply`"


async def _lost(patient: Patient, steps: Sequence[Step]) -> frozenset[str]:
    """The streams that are missing although they were there: their service is deployed, and the mesh holds data."""
    missing = [step.name for step in steps if step.kind == "stream" and step.change is Change.CREATE]
    if not missing or not await _holds_data(patient):
        return frozenset()
    deployed = await _deployed(patient)
    owners = {stream.name: _owner(stream.name, patient.services) for stream in patient.topology.streams}
    return frozenset(name for name in missing if deployed is None or owners[name] in (None, *deployed))


async def _holds_data(patient: Patient) -> bool:
    read = {consumer.stream for consumer in patient.topology.consumers}
    infos = [await _info(patient, name) for name in sorted(read | {stream.name for stream in patient.topology.streams})]
    return any(info and info["state"]["messages"] for info in infos)


async def _deployed(patient: Patient) -> set[str] | None:
    """The services whose contracts are deployed; None where that is not known."""
    try:
        return {contract.owner for contract in (await registry.fetch(patient.connection)).values()}
    except NoRelease:
        return None


def _owner(stream: str, services: Sequence[Service]) -> str | None:
    """The service that a stream belongs to; None: to all of them."""
    return next((s.name for s in services if stream == s.stream or stream.startswith((f"{s.stream}_", f"{s.stream}-"))),
                None)  # fmt: skip


async def room(patient: Patient) -> Findings:
    """Whether a stream is near the limit of what it may hold, or has none where strangers can fill it."""
    found = [finding for stream in patient.topology.streams async for finding in _room_of(patient, stream)]
    for finding in found:
        yield finding
    if not found and patient.services:
        yield Finding("room", Grade.GOOD, "no stream is near the limit of what it may hold")


async def _room_of(patient: Patient, stream: Stream) -> Findings:
    info = await _info(patient, stream.name)
    if info is None:
        return
    config, state = info["config"], info["state"]
    max_bytes, max_msgs = config["max_bytes"], config["max_msgs"]
    ending = ": it is full, and refuses what comes"
    edit = f"archive (`jetmesh archive`), settle dead letters, or `nats stream edit {stream.name}"
    if 0 < max_bytes * NEAR < state["bytes"]:
        words = f"{stream.name} holds {state['bytes'] / 1e6:,.1f} MB of the {max_bytes / 1e6:,.1f} MB that it may"
        yield Finding(
            "room", Grade.WRONG, words + ending * (state["bytes"] >= max_bytes * FULL), f"{edit} --max-bytes`"
        )
    elif 0 < max_msgs * NEAR < state["messages"] and config.get("discard") == "new":
        words = f"{stream.name} holds {state['messages']:,} of the {max_msgs:,} messages that it may"
        yield Finding("room", Grade.WRONG, words + ending * (state["messages"] >= max_msgs), f"{edit} --max-msgs`")
    elif max_bytes <= 0 and (declared := stream.config.get("max_bytes", 0)):
        fix = f"archive, and run `jetmesh topology apply` once it holds less than {declared / 2e6:,.0f} MB"
        yield Finding("room", Grade.DOUBT, f"{stream.name} has no max_bytes: strangers can fill the disk with it", fix)


async def durables(patient: Patient) -> Findings:
    """Whether each durable delivers, and each that reads the services' streams belongs to somebody."""
    needed = patient.topology
    ours = {(consumer.stream, consumer.durable) for consumer in (*needed.consumers, *needed.counts)}
    own = {stream.name for stream in needed.streams}
    for stream in sorted(own | {stream for stream, _ in ours}):
        for info in await _consumers(patient, stream):
            name = info["config"].get("durable_name") or info["name"]
            if _is_offline(info):
                yield _offline(stream, name)
            elif (stream, name) in ours:
                if info.get("paused"):
                    yield _paused(stream, name)
            elif stream in own and info["config"].get("durable_name"):
                yield _stranger(stream, info)


def _is_offline(info: Mapping[str, Any]) -> bool:
    """Whether no server that has it answers: others tell of it what they know, and leave out its name."""
    copies = info.get("cluster", {}).get("replicas") or ()
    return not info["name"] or (not info.get("cluster", {}).get("leader") and any(c.get("offline") for c in copies))


def _offline(stream: str, name: str) -> Finding:
    return Finding("durables", Grade.WRONG, f"{stream}/{name} is offline, and delivers nothing", START_SERVERS)


def _paused(stream: str, name: str) -> Finding:
    fix = f"`nats consumer resume {stream} {name}`, once what it was paused for is over"
    return Finding("durables", Grade.WRONG, f"{stream}/{name} is paused, and delivers nothing", fix)


def _stranger(stream: str, info: Mapping[str, Any]) -> Finding:
    """One that no reaction has. If nobody pulls it, it keeps what it reads for ever: a reaction was renamed."""
    place = f"{stream}/{info['name']}"
    if info.get("num_waiting") or info.get("push_bound"):
        return Finding("durables", Grade.NOTE, f"{place} is none of these services', and somebody reads it")
    found = f"{place} belongs to no reaction, and nobody pulls it: what it has not acknowledged is never archived"
    return Finding("durables", Grade.WRONG, found, f"if it is not needed: `nats consumer rm {stream} {info['name']}`")


async def _consumers(patient: Patient, stream: str) -> list[Any]:
    """Everything that reads a stream: the server tells some at a time."""
    found: list[Any] = []
    while answer := await api.request(patient.connection, f"CONSUMER.LIST.{stream}", {"offset": len(found)}):
        found += answer["consumers"] or ()
        if not answer["consumers"] or len(found) >= answer["total"]:
            break
    return found


async def clock(patient: Patient) -> Findings:
    """How far the clock of each server that leads a stream is from the one here, by the time in its answer."""
    ahead: dict[str, float] = {}
    for stream in patient.topology.streams:
        asked = time.time()
        info = await _info(patient, stream.name)
        if info and "ts" in info:
            told = datetime.fromisoformat(info["ts"]).timestamp()
            server = info.get("cluster", {}).get("leader") or "the broker"
            ahead.setdefault(server, told - (asked + time.time()) / 2)
    if not ahead:
        yield Finding("clock", Grade.NOTE, "no stream to ask for the broker's time")
        return
    server, most = max(ahead.items(), key=lambda found: abs(found[1]))
    name = server if len(ahead) > 1 else "the broker"
    found = f"the clock of {name} differs by {abs(most) * 1e3:,.0f} ms from the one here"
    good = abs(most) <= DIFFERENCE_SECONDS_MAX
    yield Finding("clock", Grade.GOOD if good else Grade.WRONG, found, "" if good else SYNCHRONISE)


async def services(patient: Patient) -> Findings:
    """What each process of each service says about itself, on a subject that no other service's user may hear."""
    subjects = [endpoint_subject(service.name, "health") for service in patient.services]
    asked = await asyncio.gather(*(ask_everybody(patient.connection, subject, State) for subject in subjects))
    told = {service.name: answers for service, answers in zip(patient.services, asked, strict=True)}
    if len(told) > 1 and not any(told.values()):
        fix = f"start them: `jetmesh run {' '.join(told)}`"
        yield Finding("services", Grade.WRONG, "no service runs (or none may be seen by this user)", fix)
    for name, answers in told.items():
        if not answers:
            yield await _silent(patient, name)
        for answer in answers:
            for finding in _state(name, answer):
                yield finding


async def _silent(patient: Patient, name: str) -> Finding:
    """A service of which nothing is heard: something waits for it, or it may be that it was scaled to nothing."""
    infos = [await api.request(patient.connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
             for consumer in patient.topology.consumers if consumer.service == name]  # fmt: skip
    waiting = sum(info["num_pending"] for info in infos if info and not info.get("num_waiting"))
    words = f"{name} does not run (or may not be seen by this user)"
    fix = f"start it: `jetmesh run {name}`"
    if waiting:
        return Finding("services", Grade.WRONG, f"{words}, and {waiting:,} deliveries wait for it", fix)
    alone = len(patient.services) == 1
    return Finding("services", Grade.WRONG if alone else Grade.DOUBT, words, fix)


def _state(name: str, answer: State) -> Iterable[Finding]:
    for topic, said in answer.remarks.items():
        fix = SYNCHRONISE if topic == "clock" else "mend what it names"
        yield Finding("services", Grade.WRONG, f"{name}: {topic}: {said}", fix)
    notes = "; ".join(f"the circuit breaker of {needs} is {state}" for needs, state in answer.notes.items())
    if not answer.ready:
        yield Finding("services", Grade.WRONG, f"{name} is not ready: {answer.reason}", "mend the reason it gives")
    elif notes:
        fix = "bring back what it needs; it resumes by itself"
        yield Finding("services", Grade.DOUBT, f"{name} is ready, but {notes}", fix)
    elif not answer.remarks:
        yield Finding("services", Grade.GOOD, f"{name} is ready")


async def _info(patient: Patient, stream: str) -> Any:
    return await api.request(patient.connection, f"STREAM.INFO.{stream}")
