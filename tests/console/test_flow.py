"""The flow in the browser: drawn from the declarations, its figures from the mesh, also while the broker is away."""

import json
from collections.abc import Sequence
from typing import Any

import httpx

from jetmesh import Recorded
from jetmesh.console.picture import picture
from jetmesh.console.state import cells, state_of
from jetmesh.operate.overview import Lag, Overview, ReactionRow
from jetmesh.testing import Broker, MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate


async def _event(browser: httpx.AsyncClient, wanted: str) -> dict[str, Any]:
    """The first event that says this."""
    async with browser.stream("GET", "/mesh/live") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and wanted in line:
                found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return found
    raise AssertionError(f"no event said {wanted}")


async def test_the_page_has_the_picture_and_the_figures_without_a_script(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={"car-2"}))])
    browser = await console_of([service])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.record(CarArrived(plate="car-2"))
    await mesh.recorded(TollPaid, "car-1")
    await mesh.dead_letters(1)

    async def seen() -> bool:
        page = (await browser.get("/mesh")).text
        return (
            'data-reaction="tolls.charge" data-state="doubt"' in page and 'data-cell="tolls.charge|letters">1<' in page
        )

    await until(seen)
    assert "<svg" in (await browser.get("/mesh")).text


async def test_the_figures_come_as_events(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    service = tollgate()
    await mesh_of(service, dependencies=[Gate(Bank())])
    browser = await console_of([service])
    told = await _event(browser, "tolls.charge")
    assert told["cells"]["tolls.charge"]["state"] == "good"
    assert told["totals"]["processes"] == "1"


async def test_a_broker_that_is_away_is_said_and_its_return_too(
    mesh_of: MeshOf, console_of: ConsoleOf, broker: Broker
) -> None:
    service = tollgate()
    await mesh_of(service, dependencies=[Gate(Bank())])
    browser = await console_of([service])
    await _event(browser, "tolls.charge")
    broker.kill()
    told = await _event(browser, '"trouble":"')
    assert told["trouble"]
    page = await browser.get("/mesh")
    assert (page.status_code, "does not answer" in page.text) == (200, True)
    broker.start()
    await _event(browser, '"state":"good"')


async def test_a_console_begins_before_its_broker(console_of: ConsoleOf, broker: Broker) -> None:
    broker.kill()
    browser = await console_of([tollgate()])
    assert "does not answer" in (await browser.get("/mesh")).text
    broker.start()
    await _event(browser, "no process of its service answers")


def test_the_worst_of_a_reaction_is_its_state() -> None:
    row = ReactionRow("tolls", "charge", Lag(), failed_per_second=1.0, dead_letters=2, breaker="open")
    assert state_of(row, running=True).name == "bad"
    assert state_of(row, running=False).words == "no process of its service answers"
    assert state_of(ReactionRow("tolls", "charge", Lag(pending=5_000), waits=True), running=True).name == "good"
    assert state_of(ReactionRow("tolls", "charge", Lag(paused="paused for good")), running=True).name == "paused"


def test_what_rests_before_a_deadline_is_no_lag_and_not_in_flight() -> None:
    row = ReactionRow("tolls", "remind", Lag(pending=4, ack_pending=290), waits=True)
    told = cells(Overview(0.0, (row,), (), {"tolls": 1}))["tolls.remind"]
    assert (told["lag"], told["flight"], told["resting"], told["state"]) == ("–", "294 resting", "294", "good")


def test_the_texts_of_a_box_stand_on_lines_of_their_own() -> None:
    """A sink and a reaction with a circuit breaker have a line more."""
    tolls = tollgate()

    @tolls.sink
    async def keep(deliveries: Sequence[Recorded]) -> None:
        """Everything."""

    @tolls.after(minutes=5)
    async def remind(paid: TollPaid) -> None:
        """The toll was paid a while ago."""

    charged, kept, reminded = picture([tolls]).reactions
    assert (charged.needs, charged.takes, charged.is_deadline) == ("bank", "", False)
    assert (kept.needs, kept.takes) == ("", "takes everything")
    assert (reminded.needs, reminded.is_deadline) == ("", True)
    assert charged.place.height == kept.place.height > reminded.place.height
