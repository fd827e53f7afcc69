"""How long the broker takes to store a message, by its own clock: whether batches are of use.

It stamps a message when it begins to store it. Of messages that stood in its queue together, two neighbours' stamps are
as far apart as it took to store the first: 2 to 7 µs, or 90 to 500 where it syncs each (`sync_interval: always`). No
network, no pause of this process and no other load is in that, as they are in the time until an answer.
"""

from itertools import pairwise
from statistics import median

from jetmesh.failure import Unavailable
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.direct_get import DirectGet
from jetmesh.jetstream.transport import API, Transport

RUN = 16
"""So many messages in a row are looked at; half of them are enough."""
BYTES_MAX = 64 << 10
"""What is read for it, at most."""
QUICK_NS = 40_000
"""A batch costs the broker as much for each of its members."""


class StorePace:
    """Looks at what was stored."""

    def __init__(self, connection: Transport, direct_get: DirectGet) -> None:
        self.connection, self._direct_get = connection, direct_get

    async def is_quick(self, stream: str, last: int) -> bool:
        """Whether the `RUN` messages up to `last` were stored so quickly that batches would cost more than they save.
        In a cluster they are stamped before the servers agree about them, so that nobody knows."""
        if self.connection.server.info.get("cluster") or self.connection.api("") != f"{API}.":
            return False
        try:
            page = await self._direct_get.page(stream, ">", last - RUN + 1, RUN, BYTES_MAX)
        except Unavailable:
            return False
        stamps = [unix_nano(message.time) for message in page.messages]
        return 2 * len(stamps) > RUN and median([b - a for a, b in pairwise(stamps)]) < QUICK_NS
