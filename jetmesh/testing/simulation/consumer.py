"""A model of one durable pull consumer: deliveries, acknowledgements that a crash undoes, orphaned pulls."""

import json
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.subject import covers
from jetmesh.testing.simulation.stream import SimulatedStream, StoredMessage

FLUSH_SECONDS = 0.1
"""How much of a consumer's state a crash of the broker may undo, whatever `sync_interval` says."""


def hearing(inbox: str) -> tuple[str, str]:
    """The subscriptions that match this inbox: the inbox itself, or all subjects below its parent."""
    return inbox, inbox.rpartition(".")[0]


class Timers(Protocol):
    """Time and chance."""

    def now(self) -> float: ...
    def at(self, when: float, callback: Callable[[], None]) -> None: ...
    def index(self, length: int) -> int: ...
    def chance(self, probability: float) -> bool: ...


@dataclass(slots=True)
class PullRequest:
    """A waiting pull request."""

    inbox: str
    left: int
    expires: float
    heartbeat_seconds: float = 0.0
    last_frame: float = 0.0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class MessageProgress:
    """The progress of one message: how often it was delivered, when it is redelivered, whether it is acknowledged."""

    delivered: int = 0
    deadline: float = 0.0
    done: bool = False


Send = Callable[[str, str, str, bytes, bytes], bool]
"""Inbox, subject, reply, headers, data; returns False if there is no subscriber."""


@dataclass(slots=True)
class SimulatedConsumer:
    """One durable on one stream."""

    stream: SimulatedStream
    config: dict[str, Any]
    timers: Timers
    send: Send
    unordered: bool = False
    pulls: deque[PullRequest] = field(default_factory=deque)
    progress: dict[int, MessageProgress] = field(default_factory=dict)
    pending: set[int] = field(default_factory=set)
    again: list[int] = field(default_factory=list)
    sequence: int = 0
    redelivered: int = 0
    created: float = 0.0
    """When it was made: one that is made anew has another time."""
    paused: bool = False
    _before_first: int = 0
    _cursor: int = 0
    _undo: deque[tuple[float, int, MessageProgress | None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.created = self.timers.now()
        starts = {"new": self.stream.last_sequence, "by_start_sequence": self.config.get("opt_start_seq", 1) - 1}
        self._before_first = self._cursor = starts.get(self.config.get("deliver_policy", "all"), 0)

    @property
    def state(self) -> dict[str, Any]:
        """How far it is, as the server tells it."""
        delivered = max(self.progress, default=self._before_first)
        floor = min(self.pending) - 1 if self.pending else delivered
        return {
            "num_pending": self._unseen(), "num_ack_pending": len(self.pending),
            "delivered": {"stream_seq": delivered}, "ack_floor": {"stream_seq": floor},
        }  # fmt: skip

    def pause(self, paused: bool) -> None:
        """Deliver nothing from now on, or go on."""
        self.paused = paused
        self.deliver()

    @property
    def durable(self) -> str:
        """Its name."""
        return str(self.config["durable_name"])

    @property
    def at_rest(self) -> bool:
        """Whether all messages that it filters have been delivered and acknowledged."""
        return self.paused or (not self.pending and not self._advance())

    def pull(self, inbox: str, request: dict[str, Any]) -> None:
        """Take a pull request."""
        now = self.timers.now()
        beat = request.get("idle_heartbeat", 0) / 1e9
        pull = PullRequest(inbox, request["batch"], now + request["expires"] / 1e9, beat, now)
        self.pulls.append(pull)
        self.timers.at(pull.expires, lambda: self._expire(pull))
        if beat:
            self.timers.at(now + beat, lambda: self._beat(pull))
        self.deliver()

    def deliver(self) -> None:
        """Deliver all that can be delivered."""
        while self.pulls and not self.paused:
            sequence = self._next()
            if sequence is None:
                return
            kept = self.stream.messages.get(sequence)
            if kept is None:  # removed meanwhile
                self._done(sequence)
                continue
            self._hand_out(self.pulls[0], kept)

    def acknowledge(self, sequence: int, word: bytes) -> None:
        """Take an acknowledgement of a delivery, from any client and however late."""
        if sequence not in self.pending:
            return
        if word.startswith(b"+WPI"):
            self._set(sequence, deadline=self._ack_wait)
        elif word.startswith(b"-NAK"):
            self._nak(sequence, json.loads(word[4:] or b"{}").get("delay", 0) / 1e9)
        else:
            self._done(sequence)
            self.deliver()

    def forget_pulls(self, status: str) -> None:
        """Drop every pull, with `status` as the answer if it is not empty."""
        pulls, self.pulls = self.pulls, deque()
        for pull in pulls:
            pull.ended = True
            if status:
                self.send(pull.inbox, pull.inbox, "", f"NATS/1.0 {status}\r\n\r\n".encode(), b"")

    def drop(self, inbox: str) -> None:
        """Drop the pulls of an inbox that has been unsubscribed."""
        for pull in list(self.pulls):
            if inbox in hearing(pull.inbox):
                pull.ended = True
                self.pulls.remove(pull)

    def abandon(self, inboxes: Container[str]) -> None:
        """The connection of these inboxes is lost: the server keeps some of their pulls for a while, as orphans."""
        for pull in list(self.pulls):
            if any(heard in inboxes for heard in hearing(pull.inbox)) and self.timers.chance(0.5):
                pull.ended = True
                self.pulls.remove(pull)

    def lose(self, since: float) -> None:
        """A crash: deliveries and acknowledgements after `since` are lost, and every pull."""
        while self._undo and self._undo[-1][0] > since:
            _, sequence, before = self._undo.pop()
            if sequence in self.stream.messages:
                self.progress.pop(sequence) if before is None else self.progress.update({sequence: before})
        self._undo.clear()
        self.forget_pulls("")
        self.resume()

    def start_over(self) -> None:
        """The durable is deleted and made anew: everything is delivered once more."""
        self.forget_pulls("409 Consumer Deleted")
        self.progress.clear()
        self._undo.clear()
        self.sequence, self.created = 0, self.timers.now()
        self.resume()

    def redeliver_all(self) -> None:
        """A new leader: everything unsettled may come again at once."""
        self.again = sorted(self.pending)
        self.deliver()

    def resume(self) -> None:
        """Compute from the progress which messages are pending, redelivered and new."""
        self._cursor = self._before_first
        self.pending = {sequence for sequence, p in self.progress.items() if p.delivered and not p.done}
        self.again = [sequence for sequence in sorted(self.pending) if self.timers.chance(0.5)]
        for sequence in self.pending:
            self._watch(sequence)

    @property
    def _ack_wait(self) -> float:
        return self.timers.now() + float(self.config["ack_wait"]) / 1e9

    def _next(self) -> int | None:
        """The next message to deliver: redeliveries before new messages."""
        if self.again:
            return self.again.pop(self.timers.index(len(self.again)) if self.unordered else 0)
        if len(self.pending) >= self.config["max_ack_pending"]:
            return None
        return self._advance()

    def _advance(self) -> int | None:
        """The next message that was never delivered."""
        while self._cursor < self.stream.last_sequence:
            sequence = self._cursor + 1
            kept = self.stream.messages.get(sequence)
            if kept is not None and sequence not in self.progress and self._selects(kept.subject):
                return sequence
            self._cursor = sequence
        return None

    def _selects(self, subject: str) -> bool:
        return any(covers(pattern, subject) for pattern in self.config["filter_subjects"])

    def _hand_out(self, pull: PullRequest, kept: StoredMessage) -> None:
        delivered = self.progress.get(kept.sequence, MessageProgress()).delivered + 1
        self.sequence += 1
        self.redelivered += delivered > 1
        self._set(kept.sequence, delivered=delivered, deadline=self._ack_wait)
        self.pending.add(kept.sequence)
        self._watch(kept.sequence)
        waiting = len(self.again) + self._unseen()
        reply = (
            f"$JS.ACK.{self.stream.name}.{self.durable}.{delivered}.{kept.sequence}.{self.sequence}"
            f".{int(kept.time * 1e9)}.{waiting}"
        )
        pull.left, pull.last_frame = pull.left - 1, self.timers.now()
        if not pull.left:
            pull.ended = True
            self.pulls.popleft()
        if not self.send(pull.inbox, kept.subject, reply, kept.raw_headers, kept.data) and not pull.ended:
            pull.ended = True
            self.pulls.popleft()

    def _unseen(self) -> int:
        return 0 if self._advance() is None else 1

    def _set(self, sequence: int, **changes: Any) -> None:
        before = self.progress.get(sequence)
        self._undo.append((self.timers.now(), sequence, before))
        self.progress[sequence] = replace(before or MessageProgress(), **changes)
        while self._undo[0][0] < self.timers.now() - FLUSH_SECONDS:
            self._undo.popleft()

    def _done(self, sequence: int) -> None:
        self._set(sequence, done=True)
        self.pending.discard(sequence)
        if sequence in self.again:
            self.again.remove(sequence)
        if self.stream.is_work_queue:
            self.stream.remove(sequence)

    def _nak(self, sequence: int, delay_seconds: float) -> None:
        self._set(sequence, deadline=self.timers.now() + delay_seconds)
        if delay_seconds > 0:
            self._watch(sequence)
        else:
            self._come_again(sequence)

    def _watch(self, sequence: int) -> None:
        self.timers.at(self.progress[sequence].deadline, lambda: self._look(sequence))

    def _look(self, sequence: int) -> None:
        """The ack wait of a delivery is over, unless it was settled or extended meanwhile."""
        if sequence not in self.pending or sequence in self.again:
            return
        if self.progress[sequence].deadline > self.timers.now():
            self._watch(sequence)
        else:
            self._come_again(sequence)

    def _come_again(self, sequence: int) -> None:
        if sequence not in self.again:
            self.again.append(sequence)
        self.deliver()

    def _expire(self, pull: PullRequest) -> None:
        if not pull.ended:
            pull.ended = True
            self.pulls.remove(pull)
            left = f"{Nats.PENDING_MESSAGES}: {pull.left}\r\n{Nats.PENDING_BYTES}: 0"
            self.send(pull.inbox, pull.inbox, "", f"NATS/1.0 408 Request Timeout\r\n{left}\r\n\r\n".encode(), b"")

    def _beat(self, pull: PullRequest) -> None:
        if pull.ended:
            return
        now = self.timers.now()
        if now - pull.last_frame >= pull.heartbeat_seconds * 0.999:
            pull.last_frame = now
            self.send(pull.inbox, pull.inbox, "", b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", b"")
        self.timers.at(pull.last_frame + pull.heartbeat_seconds, lambda: self._beat(pull))
