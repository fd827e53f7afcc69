"""A small service that reacts to the clock, for the runtime's own tests."""

from jetmesh import EventModel, Service, Token


class Closed(EventModel, type="ledger.closed", owner="ledger", key_field="at"):
    """The books were closed at a time."""

    at: Token
    missed: int = 0


class DayClosed(EventModel, type="days.closed", owner="ledger", key_field="day"):
    """The books of a day were closed."""

    day: Token


def ledger() -> Service:
    """The service `ledger` without reactions yet."""
    return Service("ledger")
