"""A model of the JetStream server at the level of subjects: the requests of the runtime, and the answers.

It behaves as the real server was observed to: a crash may undo an acknowledgement of a delivery, a late
acknowledgement counts, an answer may be lost or late although the message is stored, a replica may answer a direct get
with old messages, a schedule may fire twice, a pull outlives its connection. A test compares it with the real server.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from jetmesh.jetstream.errors import ErrorCode
from jetmesh.jetstream.headers import Headers, Nats, decode_headers, encode_headers
from jetmesh.jetstream.subject import covers
from jetmesh.testing.simulation.consumer import FLUSH_SECONDS, SimulatedConsumer, hearing
from jetmesh.testing.simulation.loop import EPOCH_SECONDS
from jetmesh.testing.simulation.stream import ApiAnswer, PublishedMessage, SimulatedStream, StoredMessage, ttl_seconds
from jetmesh.topology.streams import ConsumerKind, Topology

Listener = Callable[[str, str, str, bytes, bytes], None]
"""Called with the inbox, and with subject, reply, headers and data of the server's message."""

NO_RESPONDERS = b"NATS/1.0 503\r\n\r\n"
NOT_FOUND = {"STREAM": ErrorCode.STREAM_NOT_FOUND, "CONSUMER": ErrorCode.CONSUMER_NOT_FOUND}
FIRED = (Nats.SCHEDULE, Nats.EXPECTED)
"""The headers of a schedule that the message it publishes does not have."""


class SimulatedBroker:
    """One JetStream domain: its streams, its consumers, its subscriptions."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seed: int, *, replicated: bool = False, epoch: float = EPOCH_SECONDS
    ) -> None:
        self.loop, self.replicated, self._epoch = loop, replicated, epoch
        self.random = random.Random(f"broker {seed}")
        self.streams: dict[str, SimulatedStream] = {}
        self.consumers: dict[tuple[str, str], SimulatedConsumer] = {}
        self.down = self.stalled = False
        self.denies: tuple[str, ...] = ()
        """Subjects to which publishing is denied."""
        self.answers_lost = self.answers_late = self.readings_stale = self.schedules_forgotten = 0.0
        self.seen: Counter[str] = Counter()
        self.history = sha256()
        self.watch: Callable[[str], None] | None = None
        self._listeners: dict[str, Listener] = {}
        self._backlog: list[Callable[[], None]] = []
        self._fired: list[tuple[float, SimulatedStream, StoredMessage]] = []
        self._crashes = 0
        self._context = Context()

    def create(self, topology: Topology) -> None:
        """Make the streams and durables of a topology."""
        for stream in topology.streams:
            self.streams[stream.name] = SimulatedStream(stream.name, stream.config)
        for consumer in topology.consumers:
            begins = (
                {"deliver_policy": "by_start_sequence", "opt_start_seq": 1}
                if consumer.kind is ConsumerKind.EXPRESS
                else {}
            )
            self.create_consumer(consumer.stream, {**consumer.config, **begins})

    def create_consumer(self, stream: str, config: dict[str, Any]) -> None:
        """Make one durable."""
        self.consumers[stream, config["durable_name"]] = SimulatedConsumer(
            self.streams[stream], config, self, self.send, unordered=self.replicated
        )

    # What consumers need (consumer.Timers).

    def now(self) -> float:
        """The time of the loop."""
        return self.loop.time()

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at a time; a stopped server does it when it continues, a crashed one never."""
        crashes = self._crashes
        self.loop.call_at(when, lambda: self._do(callback) if crashes == self._crashes else None, context=self._context)

    def index(self, length: int) -> int:
        """A random index below `length`."""
        return self.random.randrange(length)

    def chance(self, probability: float) -> bool:
        """Whether something happens this time."""
        return probability > 0 and self.random.random() < probability

    # Connections

    def listen(self, inbox: str, listener: Listener) -> None:
        """Send messages for `inbox` and all subjects below it to `listener`."""
        self._listeners[inbox] = listener

    def ignore(self, inbox: str) -> None:
        """A client has unsubscribed: its pulls are dropped."""
        self._listeners.pop(inbox, None)
        for consumer in self.consumers.values():
            consumer.drop(inbox)

    def leave(self, inboxes: list[str]) -> None:
        """A connection is lost with its subscriptions; the server may drop its pulls late."""
        for inbox in inboxes:
            self._listeners.pop(inbox, None)
        for consumer in self.consumers.values():
            consumer.abandon(inboxes)

    def may_publish(self, subject: str) -> bool:
        """Whether clients may publish to a subject."""
        return not any(covers(pattern, subject) for pattern in self.denies)

    def receive(self, subject: str, reply: str, raw_headers: bytes, data: bytes) -> None:
        """One message arrives from a client."""
        if not self.down:
            self._do(lambda: self._receive(subject, reply, raw_headers, data))

    def request(self, call: str, data: bytes = b"") -> ApiAnswer:
        """The JetStream API, as far as it tells of streams and durables, and makes, pauses and deletes a
        durable."""
        kind, verb, stream, durable, *_ = *call.removeprefix("$JS.API.").split("."), ""
        if verb == "CREATE":
            self._make_consumer(stream, durable, json.loads(data)["config"])
        found: Any = self.consumers.get((stream, durable)) if kind == "CONSUMER" else self.streams.get(stream)
        if verb == "DELETE" and found is not None:
            self.consumers.pop((stream, durable)).forget_pulls("409 Consumer Deleted")
            return {"success": True}
        if found is None:
            return {"error": {"code": 404, "err_code": NOT_FOUND[kind]}}
        if verb == "PAUSE":
            found.pause(bool(json.loads(data)))
        clock, created = (
            datetime.fromtimestamp(self._epoch + at, UTC).isoformat() for at in (self.now(), found.created)
        )
        state = found.state if kind == "CONSUMER" else {}
        return {"config": found.config, "created": created, "ts": clock, **state}

    def _make_consumer(self, stream: str, durable: str, config: dict[str, Any]) -> None:
        """Make it, or change its configuration; where it begins can't be changed."""
        if there := self.consumers.get((stream, durable)):
            there.config = config
        else:
            self.create_consumer(stream, config)

    def send(self, inbox: str, subject: str, reply: str, headers: bytes, data: bytes) -> bool:
        """Send to the subscriber; False if there is none."""
        for heard in hearing(inbox):
            if listener := self._listeners.get(heard):
                listener(heard, subject, reply, headers, data)
                return True
        return False

    # Faults

    def stall(self) -> None:
        """SIGSTOP: nothing is answered; messages that arrive meanwhile are handled when it continues."""
        self.stalled = True

    def go_on(self) -> None:
        """SIGCONT."""
        self.stalled = False
        backlog, self._backlog = self._backlog, []
        for step in backlog:
            step()

    def crash(self) -> None:
        """SIGKILL: messages that were acknowledged to publishers stay, the last changes of consumers do not."""
        self.down, self.stalled = True, False
        self._crashes += 1
        self._backlog.clear()
        self._listeners.clear()
        for stream in self.streams.values():
            stream.forget_batches()

    def restart(self) -> None:
        """Start again with what was on the disk."""
        self.down = False
        since = self.now() - self.random.uniform(0, FLUSH_SECONDS)
        for consumer in self.consumers.values():
            consumer.lose(since)
        for at, stream, kept in self._fired:
            if at > since and kept.sequence not in stream.messages:
                self.seen["schedule fired again"] += 1
                stream.restore(kept)
        for stream in self.streams.values():
            if self.chance(self.schedules_forgotten):
                self.seen["schedules forgotten"] += 1
                continue
            for kept in list(stream.messages.values()):
                self._schedule(stream, kept)

    # Inside

    def _do(self, step: Callable[[], None]) -> None:
        if self.stalled:
            self._backlog.append(step)
        elif not self.down:
            step()

    def _receive(self, subject: str, reply: str, raw_headers: bytes, data: bytes) -> None:
        self._note(f"{subject} {reply}", raw_headers, data)
        if subject.startswith("$JS.ACK."):
            self._acknowledge(subject, data)
        elif subject.startswith("$JS.API.CONSUMER.MSG.NEXT."):
            self._pull(subject, reply, data)
        elif subject.startswith("$JS.API.DIRECT.GET."):
            self._read(self.streams.get(subject[19:]), reply, json.loads(data))
        else:
            self._publish(subject, reply, raw_headers, data)

    def _acknowledge(self, subject: str, word: bytes) -> None:
        _, _, stream, durable, _, sequence, *_ = subject.split(".")
        if consumer := self.consumers.get((stream, durable)):
            consumer.acknowledge(int(sequence), word)

    def _pull(self, subject: str, reply: str, data: bytes) -> None:
        _, _, _, _, _, stream, durable = subject.split(".")
        consumer = self.consumers.get((stream, durable))
        if consumer is None or consumer.stream.leaderless:
            self.send(reply, reply, "", NO_RESPONDERS, b"")
        else:
            consumer.pull(reply, json.loads(data))

    def _read(self, stream: SimulatedStream | None, inbox: str, wanted: dict[str, Any]) -> None:
        if stream is None or stream.leaderless:
            self.send(inbox, inbox, "", NO_RESPONDERS, b"")
            return
        up_to = stream.readable
        if self.chance(self.readings_stale):
            self.seen["reading of the past"] += 1
            up_to -= self.random.randint(1, 6)
        found, more = stream.read(wanted, up_to)
        for left, kept in zip(range(more + len(found) - 1, more - 1, -1), found, strict=True):
            self.send(inbox, inbox, "", _as_read(stream, kept, left), kept.data)
        end = (
            f"NATS/1.0 204 EOB\r\n{Nats.NUM_PENDING}: {more}\r\n\r\n".encode()
            if found
            else b"NATS/1.0 404 No Results\r\n\r\n"
        )
        self.send(inbox, inbox, "", end, b"")

    def _publish(self, subject: str, reply: str, raw_headers: bytes, data: bytes) -> None:
        stream = next((stream for stream in self.streams.values() if stream.takes(subject)), None)
        if stream is None or stream.leaderless:
            self.send(reply, reply, "", NO_RESPONDERS, b"")
            return
        before = stream.last_sequence
        answer = stream.publish(
            PublishedMessage(subject, raw_headers, decode_headers(raw_headers), data), self._wall_clock()
        )
        self.seen["refused"] += bool(answer and "error" in answer)
        if stream.last_sequence > before:
            self._stored(stream, before)
        if reply:
            self._answer(reply, json.dumps(answer).encode() if answer else b"")

    def _answer(self, reply: str, data: bytes) -> None:
        """Send the answer to a publish, or lose it, or delay it until its sender has given up."""
        if self.chance(self.answers_lost):
            self.seen["answer lost"] += 1
        elif self.chance(self.answers_late):
            self.seen["answer late"] += 1
            self.at(self.now() + self.random.uniform(0.5, 8.0), lambda: self._send_answer(reply, data))
        else:
            self._send_answer(reply, data)

    def _send_answer(self, reply: str, data: bytes) -> None:
        self.send(reply, reply, "", b"", data)

    def _stored(self, stream: SimulatedStream, before: int) -> None:
        """Handle new messages: schedules start, consumers deliver."""
        for sequence in range(before + 1, stream.last_sequence + 1):
            self._schedule(stream, stream.messages[sequence])
        for consumer in self.consumers.values():
            if consumer.stream is stream:
                consumer.deliver()

    def _schedule(self, stream: SimulatedStream, kept: StoredMessage) -> None:
        self._expire(stream, kept)
        if f"\n{Nats.SCHEDULE}:".encode() not in kept.raw_headers or not stream.config.get("allow_msg_schedules"):
            return
        due = datetime.fromisoformat(kept.headers[Nats.SCHEDULE].removeprefix("@at ")).timestamp() - self._epoch
        self.at(max(due, self.now()), lambda: self._fire(stream, kept))

    def _expire(self, stream: SimulatedStream, kept: StoredMessage) -> None:
        """Delete the message when its TTL is over."""
        if f"\n{Nats.TTL}:".encode() in kept.raw_headers and stream.config.get("allow_msg_ttl"):
            due = kept.time + ttl_seconds(kept.headers[Nats.TTL]) - self._epoch
            self.at(max(due, self.now()), lambda: stream.forget(kept))

    def _fire(self, stream: SimulatedStream, kept: StoredMessage) -> None:
        if stream.remove(kept.sequence) is None:
            return
        self._fired = [fired for fired in self._fired if fired[0] > self.now() - FLUSH_SECONDS]
        self._fired.append((self.now(), stream, kept))
        headers: Headers = {name: value for name, value in kept.headers.items() if not name.startswith(FIRED)}
        headers |= {Nats.SCHEDULER: kept.subject, Nats.SCHEDULE_NEXT: "purge"}
        before = stream.last_sequence
        target = kept.headers[Nats.SCHEDULE_TARGET]
        stream.keep(PublishedMessage(target, encode_headers(headers), headers, kept.data), self._wall_clock())
        self._stored(stream, before)

    def _wall_clock(self) -> float:
        return self._epoch + self.now()

    def _note(self, line: str, raw_headers: bytes, data: bytes) -> None:
        self.history.update(f"{self.now():.9f} {line}\n".encode())
        if not line.startswith("$JS.API."):  # a direct get of several keys names them in the order of a set
            self.history.update(raw_headers + data)
        if self.watch:
            self.watch(f"{self.now():9.4f} {line} {data[:160].decode('utf-8', 'replace')}")


def _as_read(stream: SimulatedStream, kept: StoredMessage, left: int) -> bytes:
    """The header block of one message in the answer to a direct get."""
    at = datetime.fromtimestamp(kept.time, UTC).isoformat().replace("+00:00", "Z")
    block = (
        f"{Nats.STREAM}: {stream.name}\r\n{Nats.SUBJECT}: {kept.subject}\r\n{Nats.SEQUENCE}: {kept.sequence}\r\n"
        f"{Nats.TIME_STAMP}: {at}\r\n{Nats.NUM_PENDING}: {left}\r\n\r\n"
    )
    return (kept.raw_headers[:-2] or b"NATS/1.0\r\n") + block.encode()
