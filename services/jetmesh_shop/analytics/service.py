"""Keep everything that happens, to be counted and asked about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jetmesh import Recorded, Service


class Store(Protocol):
    """Keeps events exactly once, with its own position, in any order of arrival."""

    async def store(self, batch: Sequence[Recorded]) -> int:
        """Keep what is new in `batch`, in one transaction; how many that were."""


@dataclass(frozen=True)
class Analytics:
    """What analytics needs: a store."""

    warehouse: Store


analytics = Service("analytics", Analytics)


@analytics.sink
async def keep(events: Sequence[Recorded], deps: Analytics) -> None:
    """Something happened: keep it."""
    await deps.warehouse.store(events)
