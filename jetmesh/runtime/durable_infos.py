"""What the broker says of durables, asked once for all that wait to know it."""

import asyncio
import math
import time
from typing import Any

from jetmesh.jetstream.api import request
from jetmesh.jetstream.transport import Transport
from jetmesh.runtime.durable_watch import Info


class DurableInfos:
    """The last answer about each durable."""

    def __init__(self, connection: Transport) -> None:
        self._connection = connection
        self._answers: dict[str, tuple[float, asyncio.Future[Any]]] = {}

    async def asked(self, place: str, since: float) -> Info | None:
        """The answer to a question about `stream.durable` that was asked since then (monotonic clock); None: the broker
        has no such durable.

        Raises:
            Unavailable: the broker does not answer.
            ApiError: it refuses.
        """
        asked, answer = self._answers.get(place, (-math.inf, None))
        if answer is None or asked < since or (answer.done() and answer.exception()):
            answer = asyncio.ensure_future(request(self._connection, f"CONSUMER.INFO.{place}"))
            self._answers[place] = time.monotonic(), answer
        info: Info | None = await asyncio.shield(answer)
        return info
