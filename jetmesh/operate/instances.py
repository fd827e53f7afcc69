"""What every process of the services says of itself, asked for again and again over one inbox."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from jetmesh.jetstream.status import Status, StatusKind
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.service_answers import ANSWERS_SECONDS, ServiceReport, Stats, read
from jetmesh.process.micro import REPORT

GRACE_SECONDS = 0.15
"""How long the first question waits for further processes, once one of each service has answered."""

Reports = dict[str, list[ServiceReport]]
"""The reports of each service's instances."""
Instance: TypeAlias = tuple[str, str]
"""A service, and the id of one of its processes."""


class Instances:
    """The processes of the services. Those that answered the last time are waited for, and no others: one that is new
    is heard of, and counts from the next time on."""

    def __init__(self, connection: Transport, services: Sequence[str], grace_seconds: float = GRACE_SECONDS) -> None:
        self._connection, self._services, self._grace_seconds = connection, services, grace_seconds
        self._prefix = f"{connection.new_inbox()}."
        self._subscription: int | None = None
        self._turn = 0
        self._awaited: set[Instance] = set()
        self._heard: set[Instance] = set()
        self._answers: dict[Instance, Stats] = {}
        self._empty: set[str] = set()
        self._complete = asyncio.Event()

    async def ask(self) -> Reports:
        """The reports of now (`$SRV.STATS.<service>`, which no other service may subscribe to).

        Raises:
            Unavailable: there is no connection.
        """
        if self._subscription is None:
            self._subscription = await self._connection.listen(f"{self._prefix}*", self._on_frame)
        self._turn += 1
        self._awaited, self._heard, self._answers, self._empty = self._heard, set(), {}, set()
        self._complete.clear()
        for name in self._services:
            self._connection.send(f"$SRV.STATS.{name}", b"", reply=f"{self._prefix}{self._turn}-{name}")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._complete.wait(), ANSWERS_SECONDS)
            if not self._awaited:
                await asyncio.sleep(self._grace_seconds)
        return self._reports()

    async def stop(self) -> None:
        """Hear no more answers."""
        if self._subscription is not None:
            await self._connection.stop_listening(self._subscription)

    def _on_frame(self, subject: str, _reply: str, headers: bytes, data: bytes) -> None:
        turn, _, service = subject.removeprefix(self._prefix).partition("-")
        is_of_now, status = turn == str(self._turn), Status.of(headers)
        if status is None and (answer := read(Stats, data)):
            self._heard.add((service, answer.id))
            if is_of_now:
                self._answers[service, answer.id] = answer
        elif status and status.kind is StatusKind.NO_RESPONDERS and is_of_now:
            self._empty.add(service)
        if self._has_all:
            self._complete.set()

    @property
    def _has_all(self) -> bool:
        if self._awaited:
            return self._awaited <= self._answers.keys()
        return {*self._services} <= {service for service, _ in self._answers} | self._empty

    def _reports(self) -> Reports:
        found: Reports = {}
        for (service, _), answer in self._answers.items():
            found.setdefault(service, []).extend(_reports_in(answer))
        return {name: found[name] for name in self._services if found.get(name)}


def _reports_in(answer: Stats) -> Iterator[ServiceReport]:
    for endpoint in answer.endpoints or ():
        if endpoint.name == REPORT and (report := read(ServiceReport, endpoint.data)):
            yield report
