"""Callbacks of a connection: after a reconnection, and when the server denies a subject."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

log = logging.getLogger("jetmesh.connection")

DENIALS_KEPT = 8


class Notices:
    """The callbacks of one connection, called in the order in which they came."""

    def __init__(self) -> None:
        self._reconnected: list[Callable[[], None]] = [self._end_pauses]
        self._denied: list[Callable[[str], None]] = []
        self._denials: deque[str] = deque(maxlen=DENIALS_KEPT)
        self._pausing: set[asyncio.Future[None]] = set()

    def on_reconnected(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every reconnection: pulls and unanswered publishes are gone by then."""
        self._reconnected.append(callback)

    def on_denied(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the server's words whenever it denies this user a subject, and for the last denials."""
        self._denied.append(callback)
        for text in self._denials:
            callback(text)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until a lost connection is back."""
        back = asyncio.get_running_loop().create_future()
        self._pausing.add(back)
        try:
            await asyncio.wait([back], timeout=seconds)
        finally:
            self._pausing.discard(back)

    def reconnected(self) -> None:
        """Call the callbacks after a reconnection; one that fails does not stop the others."""
        for callback in self._reconnected:
            try:
                callback()
            except Exception:
                log.exception("%s could not go on after the reconnection", callback)

    def denied(self, text: str) -> None:
        """The server denied a subject, in these words."""
        self._denials.append(text)
        for callback in self._denied:
            callback(text)

    def _end_pauses(self) -> None:
        for back in self._pausing:
            if not back.done():
                back.set_result(None)
