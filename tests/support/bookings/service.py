"""Each job that is asked for is booked once, however often it is asked for and whoever dies meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jetmesh import Delivery, Service
from jetmesh.sql import Inbox, Outbox
from jetmesh_contracts import Event, Token
from tests.support.jobs import Asked, Dropped, desk

TABLE = "CREATE TABLE IF NOT EXISTS bookings (job_id text PRIMARY KEY, times int NOT NULL)"
BOOK = "INSERT INTO bookings VALUES ('{}', 1) ON CONFLICT (job_id) DO UPDATE SET times = bookings.times + 1"


class BookingEvent(Event, owner="bookings", key_field="job_id"):
    """An event about a booking."""

    job_id: Token


class Booked(BookingEvent, type="bookings.booked"):
    """The job has its place."""

    place: int = 1


class Moved(BookingEvent, type="bookings.moved", id_field="step"):
    """It has another place."""

    step: Token


class Free(Event, type="places.free", owner="bookings", key_field="name", state=True):
    """How many places there are."""

    name: Token
    count: int


class Gone(BookingEvent, type="bookings.gone"):
    """What no reaction says that it may record."""


@dataclass(frozen=True)
class Bookings:
    """What the service needs."""

    inbox: Inbox[Any]
    outbox: Outbox[Any]
    reached: Callable[[str], None]
    """Told which line was reached: the process may die there."""


bookings = Service("bookings", Bookings)


@bookings.on
async def book(asked: Asked, delivery: Delivery, deps: Bookings) -> Booked | None:
    """A job was asked for: book it."""
    async with deps.inbox.transaction(delivery) as transaction:
        if transaction:
            await transaction.execute(BOOK.format(asked.job_id))
            deps.reached("written")
            await deps.outbox.add(transaction, Booked(job_id=asked.job_id), because=delivery)
            deps.reached("added")
    deps.reached("committed")
    return None


@bookings.on
async def move(_dropped: Dropped) -> tuple[Moved, Free] | None:
    """What the tests add by hand."""
    return None


SERVICES = (desk(), bookings)
APP = "tests.support.bookings.service:SERVICES"
