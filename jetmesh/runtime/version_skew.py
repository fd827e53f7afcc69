"""Events that only another version of the service knows: given back for it, and dead-lettered if it does not come. What
no version's reaction reads any more is settled.

While services are upgraded, and after they are rolled back, processes of two versions pull the same durables. The
broker says what the newest of them takes: the durable's filters, and the types in the metadata of an intake's.
"""

import logging
import random
import time

from jetmesh.common.throttled_log import Conditions
from jetmesh.event import INTAKE
from jetmesh.failure import TooLarge, UnknownType
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.subject import covers
from jetmesh.jetstream.transport import Transport
from jetmesh.outcome import GivenBack, Settled
from jetmesh.reaction import Reaction
from jetmesh.runtime import delayed_redelivery
from jetmesh.runtime.durable_infos import DurableInfos
from jetmesh.topology.difference import filters_of, takes_of

log = logging.getLogger("jetmesh.versions")

FRESH_SECONDS = 10.0
"""For how long the broker's answer counts."""
NAKS = 3
NAK_SECONDS = 1.0
PAUSE_SECONDS_MAX = 60.0


class Versions:
    """Gives back what this process does not know, for as long as `wait_seconds`."""

    def __init__(self, connection: Transport, publisher: Publisher, wait_seconds: float) -> None:
        self._connection, self._publisher = connection, publisher
        self._wait_seconds = wait_seconds
        self._infos = DurableInfos(connection)
        self._conditions = Conditions(log)

    async def give_back(
        self, reaction: Reaction, delivery: RawDelivery, error: UnknownType
    ) -> GivenBack | Settled | None:
        """Leave the delivery to another version; None: there is none that takes it, or none came in time. It is settled
        if it was on its way when its filter was taken away (`topology apply --prune`).

        A few short naks, since the next process that pulls may be a newer one. Then it is delayed, which counts as no
        attempt and blocks no other delivery.

        Raises:
            Unavailable: the broker does not answer, or does not take it now.
        """
        durable = f"{reaction.service}-intake" if delivery.stream == INTAKE else reaction.durable
        config = await self._config(f"{delivery.stream}.{durable}", delivery)
        if config is None or not _takes(config, delivery):
            return None if config is None or delivery.stream == INTAKE else Settled()
        if self._wait_seconds <= 0:
            return None
        self._conditions.log(
            (durable, delivery.type), logging.WARNING,
            "%s takes no %s, and the durable %s/%s does: it is given back for another version; if there is none, "
            "`jetmesh topology apply --prune` takes the filter away",
            reaction.durable, delivery.type, delivery.stream, durable,
        )  # fmt: skip
        if self._naks(reaction, delivery):
            return GivenBack(error, random.uniform(0.1, NAK_SECONDS))
        return await self.leave(reaction.service, reaction.name, delivery, error)

    def _naks(self, reaction: Reaction, delivery: RawDelivery) -> bool:
        """Whether it stays on its consumer: for a while; what is in order for as long as it waits at all."""
        if reaction.in_order:
            return delivery.delivered * NAK_SECONDS / 2 < self._wait_seconds
        return delivery.delivered <= NAKS and not delivery.unknown_since

    async def leave(
        self, service: str, reaction: str, delivery: RawDelivery, error: Exception, attempts: int = 0
    ) -> GivenBack | None:
        """Delay the delivery for a version that knows it; None: none came in time, or it does not fit.

        Raises:
            Unavailable: the broker does not take it now.
        """
        now = self._connection.clock.now()
        if not 0.0 < delivery.unknown_since <= now:  # it begins to wait, or says what can't be
            delivery.unknown_since = now
        waited = now - delivery.unknown_since
        if waited >= self._wait_seconds:
            return None
        pause = min(PAUSE_SECONDS_MAX, max(2 * NAK_SECONDS, waited / 2)) * random.uniform(0.5, 1.0)
        log.info("%s: %r waits %.1f s for a version that knows it", service, delivery.subject[:200], pause)
        try:
            await delayed_redelivery.delay(self._publisher, service, reaction, delivery, pause, attempts)
        except TooLarge:
            return None
        return GivenBack(error, pause, is_delayed=True)

    async def _config(self, place: str, delivery: RawDelivery) -> Config | None:
        """What the broker says of a durable; None where it has none. That it does not take the delivery counts only if
        the broker was asked since that arrived: it may have been widened in between."""
        info = await self._infos.asked(place, time.monotonic() - FRESH_SECONDS)
        if info is None or not _takes(info["config"], delivery):
            info = await self._infos.asked(place, delivery.held_since or time.monotonic())
        return info["config"] if info else None


def _takes(config: Config, delivery: RawDelivery) -> bool:
    if delivery.stream == INTAKE:
        return delivery.type in takes_of(config)
    return any(covers(pattern, delivery.subject) for pattern in filters_of(config) or [">"])
