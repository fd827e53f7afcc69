"""NATS micro (ADR-32) over a Transport: what `nats micro ls`, `info`, `stats` and `ping` ask a service."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from jetmesh.failure import TooLarge, Unavailable
from jetmesh.jetstream.headers import Headers, Nats, decode_headers, encode_headers
from jetmesh.jetstream.transport import OnFrame, Transport

TYPE = "io.nats.micro.v1.{}_response"
QUEUE = "q"
"""Which of the processes answers does not matter."""

CONCURRENCY = 64
"""How many requests to an endpoint with a contract are answered at the same time, in one process."""

Responder = Callable[[bytes], Awaitable[bytes]]
Handle = Callable[[Headers, bytes], Awaitable[tuple[Headers, bytes]]]
"""From the headers and the body of a request to those of its answer."""


@dataclass(slots=True)
class Endpoint:
    """Answers requests on one subject; `data`, if given, returns what its statistics show beside the numbers."""

    name: str
    subject: str
    handle: Handle
    queue: str = QUEUE
    data: Callable[[], Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = 1
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    nanoseconds: int = 0

    @property
    def about(self) -> dict[str, Any]:
        """What INFO says of it."""
        return {"name": self.name, "subject": self.subject, "queue_group": self.queue, "metadata": dict(self.metadata)}

    @property
    def stats(self) -> dict[str, Any]:
        """What STATS says of it."""
        stated = {
            "name": self.name,
            "subject": self.subject,
            "queue_group": self.queue,
            "last_error": self.last_error,
        }
        numbers = {"num_requests": self.requests, "num_errors": self.errors, "processing_time": self.nanoseconds}
        average = {"average_processing_time": self.nanoseconds // max(1, self.requests)}
        data = self.data() if self.data else None
        return stated | numbers | average | ({"data": data} if data is not None else {})

    async def answered(self, headers: bytes, request: bytes) -> tuple[bytes, bytes]:
        """The headers and the body of the answer."""
        begun = time.perf_counter_ns()
        self.requests += 1
        try:
            answer_headers, answer = await self.handle(decode_headers(headers) if headers else {}, request)
            if Nats.SERVICE_ERROR in answer_headers:
                self.errors += 1
                self.last_error = answer_headers[Nats.SERVICE_ERROR]
            return encode_headers(answer_headers) if answer_headers else b"", answer
        except Exception as error:
            self.errors += 1
            self.last_error = repr(error)
            name = type(error).__name__
            return encode_headers({Nats.SERVICE_ERROR: name, Nats.SERVICE_ERROR_CODE: "500"}), b""
        finally:
            self.nanoseconds += time.perf_counter_ns() - begun


def plain(respond: Responder) -> Handle:
    """What answers from body to body."""

    async def handle(_: Headers, request: bytes) -> tuple[Headers, bytes]:
        return {}, await respond(request)

    return handle


class MicroService:
    """One process of a service, from `start` to `stop`."""

    def __init__(
        self,
        transport: Transport,
        name: str,
        version: str,
        description: str,
        metadata: Mapping[str, str],
        endpoints: list[Endpoint],
    ) -> None:
        self._transport, self._endpoints = transport, endpoints
        self._identity = {"name": name, "id": uuid4().hex, "version": version, "metadata": dict(metadata)}
        self._description = description
        self._started = datetime.now(UTC)
        self._subscriptions: list[int] = []
        self.answering: set[asyncio.Task[None]] = set()
        """Requests that were taken and are not answered yet."""

    async def start(self) -> None:
        """Answer requests, from the return on."""
        for verb, answer in {"PING": self._ping, "INFO": self._info, "STATS": self._stats}.items():
            for subject in self._control_subjects(verb):
                self._subscriptions.append(await self._transport.listen(subject, self._control(answer)))
        for endpoint in self._endpoints:
            frame = self._serving(endpoint)
            self._subscriptions.append(await self._transport.listen(endpoint.subject, frame, endpoint.queue))
        await self._transport.flush()

    async def stop(self) -> None:
        """Take no more requests, and return when those that were taken are answered."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*map(self._transport.stop_listening, subscriptions))
        await asyncio.gather(*self.answering)

    def _control_subjects(self, verb: str) -> list[str]:
        """All services, those of this name, this process."""
        name, number = self._identity["name"], self._identity["id"]
        return [f"$SRV.{verb}", f"$SRV.{verb}.{name}", f"$SRV.{verb}.{name}.{number}"]

    def _ping(self) -> dict[str, Any]:
        return {"type": TYPE.format("ping"), **self._identity}

    def _info(self) -> dict[str, Any]:
        endpoints = [endpoint.about for endpoint in self._endpoints]
        about = {"description": self._description, "endpoints": endpoints}
        return {"type": TYPE.format("info"), **self._identity, **about}

    def _stats(self) -> dict[str, Any]:
        started = self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        endpoints = [endpoint.stats for endpoint in self._endpoints]
        return {"type": TYPE.format("stats"), **self._identity, "started": started, "endpoints": endpoints}

    def _control(self, answer: Callable[[], dict[str, Any]]) -> OnFrame:
        return lambda _subject, reply, _headers, _data: self._reply(reply, b"", json.dumps(answer()).encode())

    def _serving(self, endpoint: Endpoint) -> OnFrame:
        """The requests in the order in which they come, so many at a time."""
        turn = asyncio.Semaphore(endpoint.concurrency)

        async def serve(reply: str, headers: bytes, request: bytes) -> None:
            async with turn:
                self._reply(reply, *await endpoint.answered(headers, request))

        def frame(_subject: str, reply: str, headers: bytes, data: bytes) -> None:
            task = asyncio.get_running_loop().create_task(serve(reply, headers, data))
            self.answering.add(task)
            task.add_done_callback(self.answering.discard)

        return frame

    def _reply(self, reply: str, headers: bytes, data: bytes) -> None:
        """Answer a request if it has a reply subject and there is a connection."""
        if reply:
            with suppress(TooLarge, Unavailable):
                self._transport.send(reply, data, headers=headers)
