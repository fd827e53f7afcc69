"""Checks streams, durables, clocks and services of a running mesh; each problem has its fix."""

import asyncio
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jetmesh.app import name_of
from jetmesh.contracts import registry
from jetmesh.contracts.releases import NoRelease
from jetmesh.jetstream import api
from jetmesh.jetstream.clock import DIFFERENCE_SECONDS_MAX
from jetmesh.jetstream.tenant import stream_on_broker
from jetmesh.operate import monitoring
from jetmesh.operate.findings import CheckContext, Finding, Findings, Grade
from jetmesh.operate.service_answers import ServerHealth, ServiceReadiness, ask_everybody
from jetmesh.runtime.durable_watch import pause_of
from jetmesh.service import Service
from jetmesh.topology import provision
from jetmesh.topology.names import DEAD_LETTERS, LETTERS, endpoint_subject
from jetmesh.topology.orphans import Orphan, gone_team, is_ours, orphans
from jetmesh.topology.ownership import owner_of
from jetmesh.topology.provision import Change, Step
from jetmesh.topology.streams import Stream

BACKUPS = "docs/operations.md#backups"
PRUNE = "`jetmesh topology apply --prune`"
NEAR, FULL = 0.8, 0.99
"""The shares of a limit at which a stream is near it, and as good as full."""
RESTART = (
    "make room, or raise the limit of open files; then restart the server: it keeps a write error until it is restarted"
)
OPEN_FILES = (
    "look at the server's log; if it has too many open files, raise the limit (LimitNOFILE with systemd) and restart it"
)
START_SERVERS = f"start the server that has it, or restore the mesh from its backup if that is lost ({BACKUPS})"
SYNCHRONISE = "synchronise the clocks (chrony, systemd-timesyncd): deadlines go by the broker's"


async def storing(context: CheckContext) -> Findings:
    """Check that the server can store, by its health page: a server that can't gives publishers no answer."""
    health = await monitoring.page(context, "healthz", ServerHealth)
    if health is None and context.monitor_url:
        found = f"nothing at {context.monitor_url} shows the server's health"
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


async def streams(context: CheckContext) -> Findings:
    """Check that streams and durables are what the services need."""
    if not context.services:
        fix = "name it with --app or JETMESH_APP"
        yield Finding("topology", Grade.NOTE, "no app is named, so nothing to compare with", fix)
        return
    steps = await provision.plan(context.connection, context.topology)
    lost = await _lost(context, steps)
    drift = [step for step in steps if step.change is not Change.KEEP]
    unreadable = await _unreadable(context, drift)
    for name in sorted(unreadable):
        yield Finding("topology", Grade.WRONG, f"the broker has {name}, and can't read it", OPEN_FILES)
    for step in (step for step in drift if step.name not in unreadable):
        yield Finding("topology", _grade(step), _words(step, lost), _fix(step, lost))
    for step in (step for step in steps if step.kept and not isinstance(step.wanted, Orphan)):
        found = f"{step.kind} {step.name} has, undeclared: {'; '.join(step.kept)}"
        yield Finding("topology", Grade.NOTE, found, "it is kept; `jetmesh topology apply --prune` takes subjects away")
    if not drift:
        yield Finding("topology", Grade.GOOD, f"{len(steps)} streams and durables are as the services need them")


async def _unreadable(context: CheckContext, drift: Sequence[Step]) -> set[str]:
    """Durables that the server lists but does not find: it could not open their files."""
    made = (Change.CREATE, Change.DECIDE)
    missing = {step.name for step in drift if step.kind == "consumer" and step.change in made}
    known: set[str] = set()
    for stream in {name.partition("/")[0] for name in missing}:
        answer = await api.request(context.connection, f"CONSUMER.NAMES.{stream}")
        known |= {f"{stream}/{name}" for name in (answer or {}).get("consumers") or ()}
    return missing & known


def _grade(step: Step) -> Grade:
    """What only has no owner yet works as it is: an older version made it."""
    noted = step.change is Change.UPDATE and {name for name, _, _ in step.differences} == {"metadata"}
    return Grade.NOTE if noted else Grade.WRONG


def _words(step: Step, lost: frozenset[str]) -> str:
    if step.name in lost:
        return f"stream {step.name} is gone, and other streams of this mesh hold data: what was in it is lost here"
    return str(step)


def _fix(step: Step, lost: frozenset[str]) -> str:
    if step.name in lost:
        return f"stop the services and restore the mesh from its backup ({BACKUPS}); an empty one would hide the loss"
    if step.name.partition("/")[0] in lost:
        return f"restore its stream first ({BACKUPS})"
    if step.change is Change.DECIDE:
        return "decide it as it says, and run `jetmesh topology apply`"
    if step.change is Change.REFUSE:
        return "remove the reason: `jetmesh topology apply` refuses this"
    if step.change is Change.AWAIT:
        return "deploy the app that owns the stream: its `jetmesh topology apply` makes both"
    return "run `jetmesh topology apply`"


async def _lost(context: CheckContext, steps: Sequence[Step]) -> frozenset[str]:
    """The missing streams that existed before: their service is deployed, and the mesh holds data. Of foreign streams
    nobody knows that."""
    own = {stream.name for stream in context.topology.streams}
    missing = [s.name for s in steps if s.kind == "stream" and s.change is Change.CREATE and s.name in own]
    if not missing or not await _holds_data(context):
        return frozenset()
    deployed = await _deployed(context)
    owners = {stream.name: _owner(stream.name, context.services) for stream in context.topology.streams}
    return frozenset(name for name in missing if deployed is None or owners[name] in (None, *deployed))


async def _holds_data(context: CheckContext) -> bool:
    read = {consumer.stream for consumer in context.topology.consumers}
    infos = [await _info(context, name) for name in sorted(read | {stream.name for stream in context.topology.streams})]
    return any(info and info["state"]["messages"] for info in infos)


async def _deployed(context: CheckContext) -> set[str] | None:
    """The services whose contracts are deployed; None if unknown."""
    try:
        return {contract.owner for contract in (await registry.fetch(context.connection)).values()}
    except NoRelease:
        return None


def _owner(stream: str, services: Sequence[Service]) -> str | None:
    """The service that owns a stream; None if all share it."""
    return next((s.name for s in services if stream == s.stream or stream.startswith((f"{s.stream}_", f"{s.stream}-"))),
                None)  # fmt: skip


async def room(context: CheckContext) -> Findings:
    """Check that no stream is near its limits, and that those that anybody can fill have one."""
    found = [finding for stream in context.topology.streams async for finding in _room_of(context, stream)]
    for finding in found:
        yield finding
    if not found and context.services:
        yield Finding("room", Grade.GOOD, "no stream is near its limits")


async def _room_of(context: CheckContext, stream: Stream) -> Findings:
    info = await _info(context, stream.name)
    if info is None:
        return
    config, state = info["config"], info["state"]
    max_bytes, max_msgs = config["max_bytes"], config["max_msgs"]
    ending = ": it is full, and refuses what comes"
    named = stream_on_broker(context.connection, stream.name)
    edit = f"archive (`jetmesh archive`), settle dead letters, or `nats stream edit {named}"
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
        yield Finding("room", Grade.DOUBT, f"{stream.name} has no max_bytes: anybody can fill the disk with it", fix)


async def durables(context: CheckContext) -> Findings:
    """Check that each durable delivers, and that each one on the services' streams is used."""
    needed = context.topology
    for orphan in await orphans(context.connection, needed):
        yield _orphaned(orphan)
    ours = {(consumer.stream, consumer.durable) for consumer in needed.durables}
    ours.add((DEAD_LETTERS, LETTERS))
    own, services = {stream.name for stream in needed.streams}, {consumer.service for consumer in needed.durables}
    for stream in sorted(own | {stream for stream, _ in ours}):
        for info in await api.consumers_of(context.connection, stream):
            name = info["config"].get("durable_name") or info["name"]
            if _is_offline(info):
                yield _offline(stream, name)
            elif (stream, name) in ours:
                if info.get("paused"):
                    yield _paused(stream, name, info)
            elif stream in own and not _is_known(info["config"], services, name_of(context.services)):
                yield _stranger(stream, info, stream_on_broker(context.connection, stream))


def _is_known(config: Mapping[str, Any], services: Container[str], app: str) -> bool:
    """Whether a consumer passes, is an orphan of these services, or belongs to another app."""
    owner = owner_of(config)
    return (
        not config.get("durable_name")
        or is_ours(config, services)
        or (owner is not None and owner.app != app)
        or bool(gone_team(config, services, app))
    )


def _is_offline(info: Mapping[str, Any]) -> bool:
    """Whether all servers that have it are away: others then describe it without its name."""
    copies = info.get("cluster", {}).get("replicas") or ()
    return not info["name"] or (not info.get("cluster", {}).get("leader") and any(c.get("offline") for c in copies))


def _offline(stream: str, name: str) -> Finding:
    return Finding("durables", Grade.WRONG, f"{stream}/{name} is offline, and delivers nothing", START_SERVERS)


def _paused(stream: str, name: str, info: Mapping[str, Any]) -> Finding:
    """An operator's decision, which is easily forgotten."""
    found = f"{stream}/{name} is {pause_of(info)}; {info['num_pending']:,} wait"
    return Finding("durables", Grade.DOUBT, found, "`jetmesh resume` lets it go on")


def _orphaned(orphan: Orphan) -> Finding:
    """A durable of these services without a reaction. Unpulled, it keeps its messages from the archive."""
    if orphan.is_pulled:
        return Finding("durables", Grade.NOTE, f"{orphan.name}: {orphan}")
    whose = f"is of {orphan.team}, which {orphan.declarer} declared" if orphan.team else "belongs to no reaction"
    words = f"{whose}, and no client pulls it: what it has not acknowledged is never archived"
    return Finding("durables", Grade.WRONG, f"{orphan.name} {words}", f"if it is not needed: `{orphan.remedy}`")


def _stranger(stream: str, info: Mapping[str, Any], on_broker: str) -> Finding:
    """A durable that is none of ours. Unpulled, it keeps its messages from the archive."""
    place = f"{stream}/{info['name']}"
    if info.get("num_waiting") or info.get("push_bound"):
        return Finding("durables", Grade.NOTE, f"{place} belongs to none of these services, and a client reads it")
    found = f"{place} belongs to no reaction, and no client pulls it: what it has not acknowledged is never archived"
    fix = f"if it is not needed: `nats consumer rm {on_broker} {info['name']}`"
    return Finding("durables", Grade.WRONG, found, fix)


async def clock(context: CheckContext) -> Findings:
    """Compare the clock here with that of each server that leads a stream, by the time in its answer."""
    ahead: dict[str, float] = {}
    for stream in context.topology.streams:
        asked = time.time()
        info = await _info(context, stream.name)
        if info and "ts" in info:
            server_time = datetime.fromisoformat(info["ts"]).timestamp()
            server = info.get("cluster", {}).get("leader") or "the broker"
            ahead.setdefault(server, server_time - (asked + time.time()) / 2)
    if not ahead:
        yield Finding("clock", Grade.NOTE, "no stream to ask for the broker's time")
        return
    server, most = max(ahead.items(), key=lambda found: abs(found[1]))
    name = server if len(ahead) > 1 else "the broker"
    found = f"the clock of {name} differs by {abs(most) * 1e3:,.0f} ms from the one here"
    good = abs(most) <= DIFFERENCE_SECONDS_MAX
    yield Finding("clock", Grade.GOOD if good else Grade.WRONG, found, "" if good else SYNCHRONISE)


async def services(context: CheckContext) -> Findings:
    """Check the health report of each process, which comes on a subject that no other service may subscribe to."""
    subjects = [endpoint_subject(service.name, "health") for service in context.services]
    asked = await asyncio.gather(
        *(ask_everybody(context.connection, subject, ServiceReadiness) for subject in subjects)
    )
    answered = {service.name: answers for service, answers in zip(context.services, asked, strict=True)}
    if len(answered) > 1 and not any(answered.values()):
        fix = f"start them: `jetmesh run {' '.join(answered)}`"
        yield Finding("services", Grade.WRONG, "no service runs (or none may be seen by this user)", fix)
    for name, answers in answered.items():
        if not answers:
            yield await _silent(context, name)
        for answer in answers:
            for finding in _state(name, answer):
                yield finding


async def _silent(context: CheckContext, name: str) -> Finding:
    """A service without an answer: deliveries wait for it, or it was scaled to zero."""
    infos = [await api.request(context.connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
             for consumer in context.topology.consumers if consumer.service == name]  # fmt: skip
    waiting = sum(info["num_pending"] for info in infos if info and not info.get("num_waiting"))
    words = f"{name} does not run (or may not be seen by this user)"
    fix = f"start it: `jetmesh run {name}`"
    if waiting:
        return Finding("services", Grade.WRONG, f"{words}, and {waiting:,} deliveries wait for it", fix)
    alone = len(context.services) == 1
    return Finding("services", Grade.WRONG if alone else Grade.DOUBT, words, fix)


def _state(name: str, answer: ServiceReadiness) -> Iterable[Finding]:
    for topic, said in answer.remarks.items():
        fix = SYNCHRONISE if topic == "clock" else "fix what it names"
        grade = Grade.DOUBT if said.startswith("paused") else Grade.WRONG
        yield Finding("services", grade, f"{name}: {topic}: {said}", fix)
    notes = "; ".join(f"the circuit breaker of {needs} is {state}" for needs, state in answer.notes.items())
    if not answer.ready:
        yield Finding(
            "services", Grade.WRONG, f"{name} is not ready: {answer.reason}", "remove the reason that it names"
        )
    elif notes:
        fix = "bring back what it needs; it resumes by itself"
        yield Finding("services", Grade.DOUBT, f"{name} is ready, but {notes}", fix)
    elif not answer.remarks:
        yield Finding("services", Grade.GOOD, f"{name} is ready")


async def _info(context: CheckContext, stream: str) -> Any:
    return await api.request(context.connection, f"STREAM.INFO.{stream}")
