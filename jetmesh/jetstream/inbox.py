"""Many requests under way on one subscription: each has a reply subject of its own, and all have the same time-out."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, ValuesView
from typing import Generic, TypeVar

from jetmesh.jetstream.transport import Transport

SWEEP_SECONDS = 0.5

Request = TypeVar("Request")


class Inbox(Generic[Request]):
    """Passes each answer to its request.

    `heard` gets the header block and the body of each answer, inside the read loop; `late` gets a request that was not
    closed in time, and `lost` one whose answer can't come because the connection was lost.
    """

    def __init__(
        self,
        connection: Transport,
        timeout_seconds: float,
        heard: Callable[[Request, bytes, bytes], None],
        late: Callable[[Request], None],
        lost: Callable[[Request], None],
    ) -> None:
        self._connection, self._timeout_seconds = connection, timeout_seconds
        self._heard, self._late, self._lost = heard, late, lost
        self._prefix = f"{connection.new_inbox()}."
        self._requests: dict[str, Request] = {}
        self._deadlines: deque[tuple[float, str]] = deque()
        self._count = 0
        self._subscription: int | None = None
        self.sweeper: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def requests(self) -> ValuesView[Request]:
        """The requests under way."""
        return self._requests.values()

    async def start(self, name: str) -> None:
        """Subscribe; `name` is the name of the task that checks the time-outs."""
        self._subscription = await self._connection.listen(f"{self._prefix}*", self._on_frame)
        self._connection.on_reconnected(self.lose_all)
        self.sweeper = asyncio.create_task(self._sweep(), name=name)

    def stop(self) -> None:
        """Expect no more answers."""
        if self.sweeper:
            self.sweeper.cancel()
        self.lose_all()

    async def leave(self) -> None:
        """Stop, and unsubscribe: for use before the connection is closed."""
        self.stop()
        if self._subscription is not None:
            await self._connection.stop_listening(self._subscription)

    def open(self, request: Request) -> str:
        """Expect answers to a request until it is closed; returns the reply subject."""
        self._count += 1
        reply = f"{self._prefix}{self._count}"
        self._requests[reply] = request
        self._deadlines.append((time.monotonic() + self._timeout_seconds, reply))
        return reply

    def close(self, reply: str) -> None:
        """Expect no more answers on this subject."""
        del self._requests[reply]

    def lose_all(self) -> None:
        """End all requests: none can be answered any more."""
        for request in list(self._requests.values()):
            self._lost(request)

    def _on_frame(self, subject: str, _reply: str, headers: bytes, data: bytes) -> None:
        request = self._requests.get(subject)
        if request is not None:
            self._heard(request, headers, data)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            while self._deadlines and self._deadlines[0][0] < now:
                request = self._requests.get(self._deadlines.popleft()[1])
                if request is not None:
                    self._late(request)
