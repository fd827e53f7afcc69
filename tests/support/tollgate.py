"""A service for the runtime's tests: a car arrives, and is charged at a bank that can be down."""

import asyncio
from dataclasses import dataclass, field

from jetmesh import Permanent, Retry, Service, Unavailable
from jetmesh_contracts.event import Event, Token


class CarArrived(Event, type="cars.arrived", owner="cars", key_field="plate"):
    """A car stands before the gate."""

    plate: Token


class TollPaid(Event, type="tolls.paid", owner="tolls", key_field="plate"):
    """The toll is paid."""

    plate: Token


class CarSeen(Event, type="gates.seen", owner="tolls", key_field="plate"):
    """Recorded by a reaction that needs nothing."""

    plate: Token


@dataclass
class Bank:
    """Counts its calls. While it is down each of them raises, as do those for the cars it `fails_for`; cars on
    `blacklist` are refused for good."""

    is_down: bool = False
    calls: list[str] = field(default_factory=list)
    blacklist: set[str] = field(default_factory=set)
    fails_for: set[str] = field(default_factory=set)

    async def charge(self, plate: str) -> None:
        self.calls.append(plate)
        await asyncio.sleep(0)
        if self.is_down or plate in self.fails_for:
            raise Unavailable("the bank does not answer", 0.01)
        if plate in self.blacklist:
            raise Permanent(f"{plate}: on the blacklist")


@dataclass(frozen=True)
class Gate:
    """What the service needs."""

    bank: Bank


def tollgate(attempts: int = 3, *, watches: bool = False) -> Service:
    """The service, new for each test; `attempts` is how often the charge may be tried. With `watches`, a second
    reaction that needs nothing notes each car at its second attempt, after a pause so long that it is delayed."""
    tolls = Service("tolls", Gate)

    @tolls.begins(needs=Bank, retry=Retry(attempts=attempts, first_seconds=0.01))
    async def charge(car: CarArrived, gate: Gate) -> TollPaid:
        """A car arrived: charge the toll."""
        await gate.bank.charge(car.plate)
        return TollPaid(plate=car.plate)

    if not watches:
        return tolls
    seen: set[str] = set()

    @tolls.on(retry=Retry(attempts=3))
    async def note(car: CarArrived) -> CarSeen:
        """A car arrived: note it, the second time."""
        if car.plate not in seen:
            seen.add(car.plate)
            raise Unavailable("not yet", 2.1)
        return CarSeen(plate=car.plate)

    return tolls


SERVICES = (tollgate(),)
