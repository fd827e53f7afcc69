"""Compares what the services need with what the broker has; `apply` makes the difference, `check` refuses it."""

import dataclasses
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jetmesh.failure import Unavailable
from jetmesh.history import BORN, History, history_of
from jetmesh.jetstream.api import request
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.errors import ApiError, ErrorCode
from jetmesh.jetstream.tenant import stream_on_broker
from jetmesh.jetstream.transport import Transport
from jetmesh.settings import SettingsError
from jetmesh.topology import account_limits, difference, express, foreign, orphans, ownership, starting
from jetmesh.topology.difference import RENAMED, Difference, FieldDifference
from jetmesh.topology.names import RESTORING
from jetmesh.topology.orphans import Orphan
from jetmesh.topology.starting import ASKED, Start, Starts
from jetmesh.topology.streams import Consumer, ConsumerKind, Stream, Topology

ROOM_BYTES_MIN = 64 << 20
NO_ROOM = frozenset(
    {
        ErrorCode.ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode.MEMORY_RESOURCES_EXCEEDED,
        ErrorCode.STORAGE_RESOURCES_EXCEEDED,
    }
)
AGAIN = "fix that and run `jetmesh topology apply` again: it does the rest"


class Drift(Exception):
    """The broker's topology is not what the services need; the text shows the difference. `is_missing`: a stream or
    durable does not exist yet."""

    def __init__(self, difference: str, *, is_missing: bool = False) -> None:
        super().__init__(difference)
        self.is_missing = is_missing


class Change(Enum):
    """What `apply` would do."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    REFUSE = "refuse"
    DECIDE = "decide"
    """A new durable that would read past events, and nobody has said since when."""
    KEEP = "keep"
    AWAIT = "await"
    """A durable on a stream that another app has not made yet: nothing is done."""


REFUSED = frozenset({Change.REFUSE, Change.DECIDE})


@dataclass(frozen=True, slots=True)
class Step:
    """The change of one stream or consumer, with each field that differs as (name, has, needs).

    `config` is the resulting configuration. `kept` names what stays although these services do not declare it: a newer
    version's subjects, an operator's values. `former` is the durable whose work a consumer goes on with.
    """

    change: Change
    kind: str
    name: str
    wanted: Stream | Consumer | Orphan
    differences: tuple[FieldDifference, ...] = ()
    reason: str = ""
    config: Config = dataclasses.field(default_factory=dict)
    kept: tuple[str, ...] = ()
    former: str = ""

    def __str__(self) -> str:
        fields = "".join(f"\n    {name}: {has!r} -> {needs!r}" for name, has, needs in self.differences)
        return f"{self.what}{f': {self.reason}' if self.reason else ''}{fields}"

    @property
    def lacks(self) -> bool:
        """Whether something differs that a service can't run with."""
        return any(difference.hinders(name, needs) for name, _, needs in self.differences)

    @property
    def is_to_do(self) -> bool:
        """Whether `apply` does something."""
        return self.change not in (Change.KEEP, Change.AWAIT)

    @property
    def what(self) -> str:
        """The change and its stream or consumer, in words."""
        return f"{self.change.value} {self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class _How:
    """What a comparison may remove and take over."""

    prune: bool = False
    take_over: str = ""
    exact: bool = False
    """Whether an express durable gets what is declared and nothing else: the ordinary one has it all."""

    def conflict(self, has: Config, needs: Config) -> str:
        """Why what the broker has belongs to another app; empty if it does not."""
        return ownership.conflict(ownership.without(has, self.take_over), needs)


AS_IT_IS = _How()


async def plan(
    connection: Transport,
    wanted: Topology,
    *,
    prune: bool = False,
    starts: Starts = ASKED,
    take_over: str = "",
    teams: Container[str] = (),
) -> list[Step]:
    """Compare and change nothing. `prune` also removes undeclared subjects and filters, and durables that no reaction
    declares and nobody pulls. `starts` says where new durables begin. What the app `take_over` owns is one's own.

    Raises:
        Unavailable: the broker does not answer.
        Drift: a restore is under way.
    """
    if why_not := await restoring(connection):
        raise Drift(why_not)
    steps = await compare(connection, wanted, prune=prune, starts=starts, take_over=take_over)
    return [*steps, *(_plan_orphan(each, prune, teams) for each in await orphans.orphans(connection, wanted))]


async def compare(
    connection: Transport, wanted: Topology, *, prune: bool = False, starts: Starts = ASKED, take_over: str = ""
) -> list[Step]:
    """Compare, also while a restore is under way; without orphans."""
    names = dict.fromkeys(stream.name for stream in wanted.streams) | dict.fromkeys(c.stream for c in wanted.durables)
    infos = {name: await request(connection, f"STREAM.INFO.{name}") for name in names}
    lives = {name: history_of(info) for name, info in infos.items() if info}
    how = _How(prune, take_over, exact=True)
    steps = [await _plan_stream(connection, stream, infos[stream.name], how) for stream in wanted.streams]
    steps += [await _plan_foreign(connection, stream, infos[stream.name], wanted) for stream in wanted.foreign]
    mine = {stream.name for stream in (*wanted.streams, *wanted.foreign)}
    unfit = {step.name for step in steps if step.change is Change.REFUSE} & {stream.name for stream in wanted.foreign}
    for each in (durable for durable in wanted.durables if durable.stream not in unfit):
        if each.stream not in mine and each.stream not in lives:
            steps.append(_awaited(each))
            continue
        step = await _plan_consumer(connection, each, how, lives.get(each.stream))
        is_new = step.change is Change.CREATE and each.stream in lives
        steps.append(_begun(step, await starting.start(connection, each, starts)) if is_new else step)
    return steps


async def restoring(connection: Transport) -> str:
    """A sentence that a restore is under way, with the fix; empty if none is."""
    info = await request(connection, f"STREAM.INFO.{RESTORING}")
    if info is None:
        return ""
    return f"a restore is under way since {info['created'][:19]}Z: finish it, `jetmesh restore` with the same folder"


async def apply(connection: Transport, steps: Iterable[Step]) -> None:
    """Carry out a plan: creations before changes, streams before consumers. Of what it deletes, the plan says so.

    Raises:
        Drift: a restore is under way, a step would lose data or is impossible, or the account has no room (nothing is
            changed then); or the broker refuses a step (the text says what is done and what is not).
        Unavailable: the broker can't carry out a step now; the text says what is done and what is not.
    """
    if why_not := await restoring(connection):
        raise Drift(why_not)
    await carry_out(connection, steps)


async def carry_out(connection: Transport, steps: Iterable[Step]) -> None:
    """Carry out a plan, also while a restore is under way; raises what `apply` raises."""
    steps = list(steps)
    if refused := [step for step in steps if step.change in REFUSED]:
        raise Drift("\n".join(f"{step.what}: {step.reason}" for step in refused))
    if why := await _shortage(connection, steps):
        raise Drift(f"refuse: {why}; nothing was changed")
    to_do = sorted((step for step in steps if step.is_to_do), key=_turn)
    for number, step in enumerate(to_do):
        try:
            await _make(connection, step)
        except (ApiError, Unavailable) as failed:
            words = _how_far(to_do[:number], step, failed, to_do[number + 1 :])
            raise (Unavailable if isinstance(failed, Unavailable) else Drift)(words) from failed


async def check(connection: Transport, consumers: Iterable[Consumer]) -> dict[str, Config]:
    """The configurations of a service's durables, by `stream/durable`, if each is as the code declares. More subjects
    and operators' values are no drift.

    Raises:
        Drift: the text has the difference and the command that applies it.
    """
    steps = [await _plan_consumer(connection, consumer) for consumer in consumers]
    if drift := [step for step in steps if step.change in (Change.CREATE, Change.REFUSE) or step.lacks]:
        advice = "the broker differs from what the code declares: run `jetmesh topology apply`"
        is_missing = any(step.change is Change.CREATE for step in drift)
        raise Drift("\n".join([*map(str, drift), advice]), is_missing=is_missing)
    return {step.name: step.config for step in steps}


async def check_split(connection: Transport, wanted: Topology) -> None:
    """Check that the broker's partitions are those of the setting: else a reader would look for a story elsewhere.

    Raises:
        SettingsError: they differ; the text names the setting.
    """
    for stream in wanted.streams:
        info = await request(connection, f"STREAM.INFO.{stream.name}")
        if info is None and stream.conflicting and await request(connection, f"STREAM.INFO.{stream.conflicting}"):
            raise SettingsError(f"settings: JETMESH_PARTITIONS: the broker has {stream.conflicting}, not {stream.name}")
        routed = stream.config.get("subject_transform")
        if info and routed and info["config"].get("subject_transform") != routed:
            raise SettingsError(
                f"settings: JETMESH_PARTITIONS: the broker's {stream.name} is one of another number of partitions"
            )


async def _plan_stream(connection: Transport, stream: Stream, info: Any, how: _How) -> Step:
    if info is None:
        return await _plan_new_stream(connection, stream)
    has, holds = info["config"], info["state"]["bytes"]
    found = difference.of_stream(
        has, stream.config, holds=holds, prune=how.prune, is_shared=stream.is_shared, take_over=how.take_over
    )
    reason = how.conflict(has, stream.config) or found.reason
    if not reason and any(name == "subjects" for name, _, _ in found.fields):
        reason = await _overlap(connection, stream) or await _still_held(connection, stream, found)
    return _step("stream", stream.name, stream, found, reason)


async def _plan_new_stream(connection: Transport, stream: Stream) -> Step:
    """Refuse a stream if one with another number of partitions holds the same events: a key would have two stories."""
    reason = ""
    if stream.conflicting and await request(connection, f"STREAM.INFO.{stream.conflicting}"):
        reason = (
            f"{stream.conflicting} is there: JETMESH_PARTITIONS must stay what it was when the first event was recorded"
        )
    reason = reason or await _overlap(connection, stream)
    change = Change.REFUSE if reason else Change.CREATE
    return Step(change, "stream", stream.name, stream, reason=reason, config=stream.config)


async def _plan_foreign(connection: Transport, stream: Stream, info: Any, wanted: Topology) -> Step:
    """A stream of others is made where nobody has made it, and never changed."""
    if info is None:
        overlap = await _overlap(connection, stream)
        reason = f"{overlap}: name that one as `stream=` of the reaction that listens" if overlap else ""
        change = Change.REFUSE if reason else Change.CREATE
        return Step(change, "stream", stream.name, stream, reason=reason, config=stream.config)
    filters = [each for c in wanted.consumers if c.stream == stream.name for each in c.subjects]
    named = {**info["config"], "name": stream_on_broker(connection, stream.name)}
    reason = foreign.unfit(named, filters)
    change = Change.REFUSE if reason else Change.KEEP
    return Step(change, "stream", stream.name, stream, reason=reason, config=info["config"])


async def _history(connection: Transport, stream: str) -> History | None:
    info = await request(connection, f"STREAM.INFO.{stream}")
    return history_of(info) if info else None


async def histories(connection: Transport, streams: Iterable[str]) -> dict[str, History]:
    """The histories of the streams that exist."""
    found = {stream: await _history(connection, stream) for stream in streams}
    return {stream: history for stream, history in found.items() if history}


async def _plan_consumer(
    connection: Transport, consumer: Consumer, how: _How = AS_IT_IS, history: History | None = None
) -> Step:
    """Compare a durable; its metadata get the stream's history if that is known."""
    name = f"{consumer.stream}/{consumer.durable}"
    needs = _with_history(consumer.config, history) if history else consumer.config
    info = await request(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
    if info is None:
        return Step(Change.CREATE, "consumer", name, consumer, config=difference.new_consumer(needs))
    prune = how.prune or (how.exact and consumer.kind is ConsumerKind.EXPRESS)
    found = difference.of_consumer(info["config"], needs, prune=prune)
    step = _step("consumer", name, consumer, found, how.conflict(info["config"], needs) or found.reason)
    successor = (info["config"].get("metadata") or {}).get(RENAMED, "")
    return _awake(step, successor) if successor else step


def _begun(step: Step, start: Start) -> Step:
    """The creation of a durable, with where it begins."""
    change = Change.DECIDE if start.is_open else Change.CREATE
    config = starting.begun(step.config, start.config)
    return dataclasses.replace(step, change=change, config=config, reason=start.words, former=start.former)


def _awake(step: Step, successor: str) -> Step:
    """A version in which the reaction has its former name again: the durable goes on for its successor."""
    metadata = {name: value for name, value in step.config["metadata"].items() if name != RENAMED}
    config = {**step.config, "metadata": metadata}
    change = step.change if step.change is Change.REFUSE else Change.UPDATE
    reason = step.reason or f"it goes on for {successor}"
    return dataclasses.replace(step, change=change, config=config, reason=reason, former=successor)


def _plan_orphan(orphan: Orphan, prune: bool, teams: Container[str]) -> Step:
    if prune and not orphan.is_pulled and (not orphan.team or orphan.team in teams):
        words = f"no {orphan.declarer} declares it; {orphan.waiting:,} wait, {orphan.under_way:,} are under way"
        return Step(Change.REMOVE, "consumer", orphan.name, orphan, reason=words)
    return Step(Change.KEEP, "consumer", orphan.name, orphan, kept=(str(orphan),))


def _awaited(consumer: Consumer) -> Step:
    reason = f"there is no stream {consumer.stream} yet: the app that owns the stream makes both"
    config = difference.new_consumer(consumer.config)
    return Step(
        Change.AWAIT, "consumer", f"{consumer.stream}/{consumer.durable}", consumer, reason=reason, config=config
    )


async def make_if_missing(connection: Transport, stream: str, config: Config) -> bool:
    """Make a durable on a stream that exists, unless it is there; whether it was made."""
    name = config["durable_name"]
    history = await _history(connection, stream)
    if history is None or await request(connection, f"CONSUMER.INFO.{stream}.{name}"):
        return False
    body = {"stream_name": stream, "config": _with_history(config, history), "action": "create"}
    await request(connection, f"CONSUMER.CREATE.{stream}.{name}", body, strict=True)
    return True


def _with_history(config: Config, history: History) -> Config:
    return {**config, "metadata": {**(config.get("metadata") or {}), **history.metadata}}


def _step(kind: str, name: str, wanted: Stream | Consumer, found: Difference, reason: str) -> Step:
    change = Change.REFUSE if reason else Change.UPDATE if found.fields else Change.KEEP
    return Step(change, kind, name, wanted, found.fields, reason, found.config, found.kept)


async def _overlap(connection: Transport, stream: Stream) -> str:
    """The other stream that takes some of the same subjects already; empty if there is none."""
    for subject in stream.config["subjects"]:
        names = (await request(connection, "STREAM.NAMES", {"subject": subject}) or {}).get("streams") or []
        if others := sorted(set(names) - {stream.name}):
            info = await request(connection, f"STREAM.INFO.{others[0]}")
            owner = info and ownership.owner_of(info["config"])
            return f"{subject} is taken by the stream {others[0]} already" + (f", of {owner}" if owner else "")
    return ""


async def _still_held(connection: Transport, stream: Stream, found: Difference) -> str:
    """The messages that would be lost with the undeclared subjects; empty if there are none."""
    for subject in set(found.undeclared) - set(found.config["subjects"]):
        info = await request(connection, f"STREAM.INFO.{stream.name}", {"subjects_filter": subject})
        if info and (info["state"].get("subjects") or {}):
            return f"the stream holds messages of {subject}"
    return ""


async def _shortage(connection: Transport, steps: Iterable[Step]) -> str:
    """Why the account has no room for what is missing; empty if it has."""
    new = [step for step in steps if step.change is Change.CREATE]
    if not new:
        return ""
    account = await request(connection, "INFO", strict=True)
    by_kind = {kind: [step.config for step in new if step.kind == kind] for kind in ("stream", "consumer")}
    return account_limits.shortage(account, by_kind["stream"], by_kind["consumer"])


def _turn(step: Step) -> tuple[bool, bool, bool]:
    """The sort key: creations first, for which the broker may have no room; streams before consumers; removals last."""
    return step.kind != "stream", step.change is Change.REMOVE, step.change is not Change.CREATE


def _how_far(done: Sequence[Step], failed: Step, why: Exception, left: Sequence[Step]) -> str:
    """The report of a plan that failed halfway: done, failed, not done."""
    lines = [f"could not {failed.what}: {why}"]
    lines.append(f"done: {', '.join(step.what for step in done)}" if done else "nothing was changed")
    if done and left:
        lines.append(f"not done: {', '.join(step.what for step in left)}")
    return "\n".join([*lines, AGAIN])


async def _make(connection: Transport, step: Step) -> None:
    wanted = step.wanted
    if isinstance(wanted, Stream):
        verb = "CREATE" if step.change is Change.CREATE else "UPDATE"
        await _make_stream(connection, f"STREAM.{verb}.{wanted.name}", step.config)
    elif isinstance(wanted, Orphan):
        await orphans.remove(connection, wanted)
    else:
        config = step.config
        if BORN not in (config.get("metadata") or {}) and (history := await _history(connection, wanted.stream)):
            config = _with_history(config, history)  # the stream did not exist when this was planned
        if step.former and await request(connection, f"CONSUMER.INFO.{wanted.stream}.{step.former}"):
            await starting.hand_over(connection, wanted.stream, step.former, config)
            return
        if wanted.kind is ConsumerKind.EXPRESS:
            await express.make(connection, wanted, config)
            return
        action = {"action": "create"} if step.change is Change.CREATE else {}
        body = {"stream_name": wanted.stream, "config": config, **action}
        await request(connection, f"CONSUMER.CREATE.{wanted.stream}.{wanted.durable}", body, strict=True)


async def _make_stream(connection: Transport, call: str, config: Config) -> None:
    """The broker reserves `max_bytes`. If it has less room, ask for a third of it, and so on."""
    limit = config.get("max_bytes", -1)
    while True:
        try:
            await request(connection, call, config, strict=True)
            return
        except ApiError as refused:
            limit //= 3
            if limit < ROOM_BYTES_MIN or refused.error_code not in NO_ROOM:
                raise
        config = {**config, "max_bytes": limit}
