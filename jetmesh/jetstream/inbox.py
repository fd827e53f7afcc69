"""Many requests under way on one subscription: each has a reply subject of its own, and all the same time to answer."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, ValuesView
from typing import Generic, TypeVar

from jetmesh.jetstream.transport import Transport

SWEEP_SECONDS = 0.5

Request = TypeVar("Request")


class Inbox(Generic[Request]):
    """Hands what arrives to the request that it answers.

    `heard` gets the header block and the body of each answer, inside the read loop; `late` a request that was not
    closed in time, and `lost` one whose answer can't come any more, for the connection was lost.
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
        """Those that are under way."""
        return self._requests.values()

    async def start(self, name: str) -> None:
        """Listen; `name` is that of the task that looks after the deadlines."""
        self._subscription = await self._connection.listen(f"{self._prefix}*", self._on_frame)
        self._connection.on_reconnected(self.lose_all)
        self.sweeper = asyncio.create_task(self._sweep(), name=name)

    def stop(self) -> None:
        """Wait for nothing more."""
        if self.sweeper:
            self.sweeper.cancel()
        self.lose_all()

    async def leave(self) -> None:
        """Stop, and unsubscribe: for those who are done with it before their connection is closed."""
        self.stop()
        if self._subscription is not None:
            await self._connection.stop_listening(self._subscription)

    def open(self, request: Request) -> str:
        """Expect answers to a request, until it is closed; the subject on which they are to come."""
        self._count += 1
        reply = f"{self._prefix}{self._count}"
        self._requests[reply] = request
        self._deadlines.append((time.monotonic() + self._timeout_seconds, reply))
        return reply

    def close(self, reply: str) -> None:
        """Expect nothing more on this subject."""
        del self._requests[reply]

    def lose_all(self) -> None:
        """None of the requests is answered any more."""
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
