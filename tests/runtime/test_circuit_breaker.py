"""An outage of what reactions need pauses them: no attempts are used up, no dead letters, and the backlog drains."""

import asyncio
import logging

import pytest

from jetmesh import Deferred, Unavailable
from jetmesh.failure import BrokerUnavailable
from jetmesh.jetstream.api import request
from jetmesh.runtime.circuit_breaker import FAILURES, BreakerState, CircuitBreaker
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.support.tollgate import Bank, CarArrived, CarSeen, Gate, TollPaid, tollgate

CARS = 300


async def _fails(breaker: CircuitBreaker) -> None:
    async def call() -> None:
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        await breaker.watch(call())


async def _succeeds(breaker: CircuitBreaker) -> None:
    async def call() -> str:
        return "done"

    await breaker.watch(call())


async def _tells_nothing(breaker: CircuitBreaker) -> None:
    async def call() -> None: ...

    await breaker.watch(call())


async def _all_paid(mesh: LocalMesh, count: int) -> bool:
    return await mesh.count("TOLLS") == count


async def test_failures_in_a_row_open_it_and_a_success_between_them_does_not_let_them_add_up() -> None:
    breaker = CircuitBreaker("tolls", "bank", patience_seconds=0)
    for _ in range(FAILURES - 1):
        await _fails(breaker)
    await _succeeds(breaker)
    await _fails(breaker)
    assert breaker.state is BreakerState.CLOSED
    for _ in range(FAILURES - 1):
        await _fails(breaker)
    assert (breaker.state, breaker.reason) == (BreakerState.OPEN, "Unavailable: down")
    breaker.stop()


async def test_what_puts_off_one_delivery_says_that_the_dependency_is_there() -> None:
    breaker = CircuitBreaker("tolls", "bank", first_seconds=0.01, patience_seconds=0)

    async def put_off() -> None:
        raise Deferred("this car comes again later")

    for _ in range(10 * FAILURES):
        with pytest.raises(Deferred):
            await breaker.watch(put_off())
    assert breaker.is_closed
    for _ in range(FAILURES):
        await _fails(breaker)
    assert await breaker.admission()
    with pytest.raises(Deferred):
        await breaker.watch(put_off())
    assert breaker.is_closed


async def test_a_broker_that_is_away_is_no_failure_of_the_dependency() -> None:
    breaker = CircuitBreaker("tolls", "bank", patience_seconds=0)

    async def read() -> None:
        raise BrokerUnavailable("not connected to the broker")

    for _ in range(10 * FAILURES):
        with pytest.raises(BrokerUnavailable):
            await breaker.watch(read())
    assert breaker.is_closed


async def test_a_clump_of_failures_does_not_open_it() -> None:
    breaker = CircuitBreaker("tolls", "bank", patience_seconds=60)
    for _ in range(10 * FAILURES):
        await _fails(breaker)
    assert breaker.is_closed


async def test_while_it_is_open_one_at_a_time_probes_and_the_others_wait_for_its_success() -> None:
    breaker = CircuitBreaker("tolls", "bank", first_seconds=0.01, patience_seconds=0)
    states: list[BreakerState] = []

    async def attempt() -> None:
        assert await breaker.admission()
        states.append(breaker.state)
        await (_succeeds(breaker) if len(states) == 3 else _tells_nothing(breaker))
        breaker.ended(None)

    for _ in range(FAILURES):
        await _fails(breaker)
    others = [asyncio.create_task(attempt()) for _ in range(10)]
    await asyncio.wait_for(asyncio.gather(*others), 10)
    assert states == [BreakerState.HALF_OPEN] * 3 + [BreakerState.CLOSED] * 7


async def test_a_probe_that_fails_opens_it_again_with_a_longer_pause() -> None:
    breaker = CircuitBreaker("tolls", "bank", first_seconds=0.01, patience_seconds=0)
    for _ in range(FAILURES):
        await _fails(breaker)
    pauses = []
    for _ in range(3):
        pauses.append(breaker.probe_in_seconds)
        assert await breaker.admission()
        states = [breaker.state]
        await _fails(breaker)
        breaker.ended(Unavailable("down"))
        states.append(breaker.state)
        assert states == [BreakerState.HALF_OPEN, BreakerState.OPEN]
    assert pauses == sorted(pauses)
    breaker.stop()


async def test_whoever_waits_when_the_service_stops_is_not_admitted() -> None:
    breaker = CircuitBreaker("tolls", "bank", patience_seconds=0)
    for _ in range(FAILURES):
        await _fails(breaker)
    waiting = asyncio.create_task(breaker.admission())
    await asyncio.sleep(0)
    breaker.stop()
    assert not await waiting
    assert not await breaker.admission()


async def test_an_outage_in_a_burst_costs_few_calls_no_dead_letter_and_no_event(
    mesh_of: MeshOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "jetmesh.circuit_breaker")
    tolls, bank = tollgate(attempts=3), Bank(is_down=True)
    mesh = await mesh_of(tolls, dependencies=[Gate(bank)])
    cars = [f"car-{number}" for number in range(CARS)]
    await asyncio.gather(*(mesh.record(CarArrived(plate=plate)) for plate in cars))
    probes = "one delivery finds out"
    await until(lambda: sum(probes in message for message in caplog.messages) >= 2, 30)
    during = len(bank.calls)
    bank.is_down = False
    await until(lambda: _all_paid(mesh, CARS), 30)
    assert during < 5 * CARS
    assert await mesh.dead_letters() == []
    assert sum("is closed" in message for message in caplog.messages) == 1


async def test_one_delivery_alone_outlives_an_outage_longer_than_its_attempts(mesh_of: MeshOf) -> None:
    tolls, bank = tollgate(attempts=3), Bank(is_down=True)
    mesh = await mesh_of(tolls, dependencies=[Gate(bank)])
    await mesh.record(CarArrived(plate="car-1"))
    await until(lambda: len(bank.calls) > FAILURES + 1, 30)
    bank.is_down = False
    await mesh.recorded(TollPaid, "car-1", 30)
    assert await mesh.dead_letters() == []


async def test_a_stop_during_an_outage_gives_back_what_is_held(mesh_of: MeshOf) -> None:
    tolls, bank = tollgate(attempts=3), Bank(is_down=True)
    mesh = await mesh_of(tolls, dependencies=[Gate(bank)])
    await asyncio.gather(*(mesh.record(CarArrived(plate=f"car-{number}")) for number in range(20)))
    await until(lambda: len(bank.calls) >= 20, 30)
    await mesh.stop(tolls)
    bank.is_down = False
    await mesh.start(tolls)
    await until(lambda: _all_paid(mesh, 20), 30)
    assert await mesh.dead_letters() == []


async def test_an_outage_does_not_hold_up_what_shares_a_lane_with_it(mesh_of: MeshOf) -> None:
    tolls, bank, cars = tollgate(attempts=3, watches=True), Bank(is_down=True), [f"car-{n}" for n in range(20)]
    mesh = await mesh_of(tolls, dependencies=[Gate(bank)], JETMESH_SLOTS="4")
    await asyncio.gather(*(mesh.record(CarArrived(plate=plate)) for plate in cars))
    await asyncio.gather(*(mesh.recorded(CarSeen, plate, 60) for plate in cars))
    assert await mesh.dead_letters() == []
    bank.is_down = False
    await asyncio.gather(*(mesh.recorded(TollPaid, plate, 60) for plate in cars))


async def test_a_delivery_that_fails_alone_does_not_hold_up_the_others(mesh_of: MeshOf) -> None:
    tolls, bank = tollgate(attempts=3), Bank(fails_for={"car-bad"})
    mesh = await mesh_of(tolls, dependencies=[Gate(bank)])
    await mesh.record(CarArrived(plate="car-bad"))

    async def nothing_is_asked_for() -> bool:
        durable = await request(mesh.context.connection, "CONSUMER.INFO.CARS.tolls-charge", strict=True)
        return len(bank.calls) > FAILURES + 1 and durable["num_waiting"] == 0

    await until(nothing_is_asked_for, 60)
    good = [f"car-{number}" for number in range(20)]
    await asyncio.gather(*(mesh.record(CarArrived(plate=plate)) for plate in good))
    await asyncio.gather(*(mesh.recorded(TollPaid, plate, 60) for plate in good))
