"""A reaction to the time in a field of its event runs then, and not once its story is over."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import AwareDatetime

from jetmesh import DeclarationError, EventModel, Service, Token
from jetmesh.jetstream import api
from jetmesh.operate import flow
from jetmesh.testing import Broker, MeshOf, given
from jetmesh.topology import names


class VisitEvent(EventModel, owner="visits", key_field="visit_id"):
    """An event about a visit."""

    visit_id: Token


class Planned(VisitEvent, type="visits.planned"):
    """A visit is planned."""

    remind_at: AwareDatetime | None = None
    noted_at: datetime | None = None


class Cancelled(VisitEvent, type="visits.cancelled", ending=True):
    """It does not take place."""


class Unwanted(VisitEvent, type="visits.unwanted"):
    """Nobody wants it any more."""


class Reminded(VisitEvent, type="visits.reminded"):
    """The visitor was reminded."""


visits = Service("visits")


@visits.at("remind_at")
async def remind(planned: Planned) -> Reminded:
    """It is time: remind the visitor."""
    return Reminded(visit_id=planned.visit_id)


@visits.on
async def cancel(wish: Unwanted) -> Cancelled:
    """Nobody wants the visit any more: cancel it."""
    return Cancelled(visit_id=wish.visit_id)


def soon(seconds: float) -> datetime:
    """A time to come."""
    return datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(seconds=seconds)


async def test_it_runs_at_the_time_in_the_field_and_waits_in_no_slot(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(visits)
    at = soon(3)
    await mesh.record(Planned(visit_id="v-1", remind_at=at))
    await mesh.record(Planned(visit_id="v-2", remind_at=soon(3600)))
    await mesh.record(Planned(visit_id="v-3"))
    await mesh.recorded(Reminded, "v-1")
    assert datetime.now(UTC) >= at
    await mesh.settled(timers=False)
    info = await api.request(mesh.context.connection, "STREAM.INFO.VISITS_TIMERS", {"subjects_filter": names.TIMERS})
    assert info is not None
    (waiting,) = info["state"]["subjects"]
    assert waiting.startswith("timers.visits.remind.VISITS.2.")
    assert await mesh.types("v-3") == {"visits.planned"}


async def test_it_does_not_run_once_the_story_is_over(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(visits)
    await mesh.record(Planned(visit_id="v-1", remind_at=soon(2)))
    await mesh.record(Unwanted(visit_id="v-1"))
    await mesh.settled()
    assert await mesh.types("v-1") == {"visits.planned", "visits.unwanted", "visits.cancelled"}
    assert await mesh.dead_letters() == []


async def test_it_survives_a_crash_of_the_broker_and_runs_once(mesh_of: MeshOf, nats_broker: Broker) -> None:
    mesh = await mesh_of(visits)
    await mesh.start(visits)
    await mesh.record(Planned(visit_id="v-1", remind_at=soon(2)))
    nats_broker.kill()
    nats_broker.restart()
    await mesh.recorded(Reminded, "v-1")
    await mesh.settled()
    assert await mesh.count("VISITS") == 2


async def test_in_a_scenario_the_time_has_come() -> None:
    await given().when(remind, Planned(visit_id="v-1", remind_at=soon(86_400))).then(Reminded(visit_id="v-1"))
    await given().when(remind, Planned(visit_id="v-1")).then()
    await given(Cancelled(visit_id="v-1")).when(remind, Planned(visit_id="v-1", remind_at=soon(9))).then()


@pytest.mark.parametrize("field", ["visit_id", "noted_at", "never"])
def test_a_field_that_is_no_time_with_a_zone_is_refused(field: str) -> None:
    words = f"visits.remind is due at '{field}', which is no field of Planned that is a time with a zone; declare"
    with pytest.raises(DeclarationError, match=words):
        Service("visits").at(field)(remind)


def test_the_flow_names_the_field() -> None:
    assert "| visits.planned at `remind_at` | **visits.remind**" in flow.markdown([visits])
