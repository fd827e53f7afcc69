"""A small service that reacts to the clock, for the runtime's own tests."""

from jetmesh import EventModel, Service, Tick, Token
from jetmesh.schedule import Missed


class Closed(EventModel, type="ledger.closed", owner="ledger", key_field="at"):
    """The books were closed at a time."""

    at: Token
    missed: int = 0


def closing(cron: str, missed: Missed = "once") -> Service:
    """The service with its one reaction to the clock."""
    service = Service("ledger")

    @service.every(cron, zone="Europe/Berlin", missed=missed)
    async def close(tick: Tick) -> Closed:
        """It is time: close the books."""
        return Closed(at=tick.id, missed=tick.missed)

    return service
