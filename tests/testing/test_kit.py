"""The test kit itself: what it refuses, and what it says."""

import pytest

from jetmesh import DeclarationError, Deferred, NotYet, Permanent, Retry, Service, SettingsError
from jetmesh.testing import Broker, MeshOf, given
from tests.support.jobs import Asked, Failed, Finished, Work, work
from tests.support.samples import authorized, placed

service = work()
ASKED, FINISHED = Asked(job_id="j-1"), Finished(job_id="j-1")
calls: list[int] = []


@service.on
async def careless(asked: Asked, story: Work) -> Finished | Failed:
    """Does not expect to see what it recorded itself."""
    return Failed(job_id=asked.job_id) if story.finished else Finished(job_id=asked.job_id)


@service.on
async def heedless(asked: Asked, story: Work) -> Finished:
    """Decides without a look at the story."""
    return Finished(job_id=asked.job_id)


@service.on
async def careful(asked: Asked, story: Work) -> Finished | None:
    """Decides by the story."""
    return None if story.finished else Finished(job_id=asked.job_id)


@service.begins
async def begin(asked: Asked) -> Finished:
    """Begins the story."""
    return Finished(job_id=asked.job_id)


@service.on
async def wrong(asked: Asked) -> Finished:
    """Returns what it does not declare."""
    return Failed(job_id=asked.job_id)  # type: ignore[return-value]


@service.on
async def elsewhere(asked: Asked) -> Finished:
    """Records about another key than its own."""
    return Finished(job_id="j-2")


@service.on
async def never(asked: Asked) -> Finished:
    """Waits."""
    raise NotYet("not now")


async def test_a_reaction_that_records_twice_is_found() -> None:
    with pytest.raises(AssertionError, match=r"ran again and recorded more: \s+Failed.*expect everything twice"):
        await given().when(careless, ASKED).then(FINISHED)


async def test_what_one_delivery_recorded_is_not_recorded_again() -> None:
    await given().when(heedless, ASKED).then(FINISHED)


async def test_a_reaction_that_minds_its_story_passes() -> None:
    await given().when(careful, ASKED).then(FINISHED)
    await given(FINISHED).when(careful, ASKED).then()
    await given().when(begin, ASKED).then(FINISHED)


async def test_the_text_shows_given_when_and_then() -> None:
    with pytest.raises(AssertionError) as shown:
        await given().when(careful, ASKED).then(Failed(job_id="j-1"))
    text = " ".join(str(shown.value).split())
    assert "given nothing when work.careful reacts to Asked(job_id='j-1', effort=1)" in text
    assert "then Failed(job_id='j-1'), but it recorded Finished(job_id='j-1')" in text


async def test_an_undeclared_event_is_refused_before_it_is_recorded() -> None:
    await (
        given()
        .when(wrong, ASKED)
        .then_raises(Permanent, r"work.wrong returned Failed, but declares Finished; it was not recorded")
    )


async def test_an_event_about_another_key_is_refused() -> None:
    await given().when(elsewhere, ASKED).then_raises(Permanent, "is about j-2, but the story is that of j-1")


async def test_an_expected_error_that_does_not_come_is_told() -> None:
    await given().when(never, ASKED).then_raises(NotYet, "not now")
    with pytest.raises(AssertionError, match=r"then it raises NotYet\(''\), but it recorded"):
        await given().when(careful, ASKED).then_raises(NotYet)
    with pytest.raises(AssertionError, match=r"then nothing, but it raised NotYet\('not now'\)"):
        await given().when(never, ASKED).then()


def test_what_cannot_happen_is_a_mistake_of_the_test() -> None:
    with pytest.raises(ValueError, match=r"payments records it; work.careful reads the story of work"):
        given(authorized(placed())).when(careful, ASKED)
    with pytest.raises(ValueError, match=r"work.careful does not react to it"):
        given().when(careful, FINISHED)
    with pytest.raises(ValueError, match="one event at a time, not to 2"):
        given().when(careful, [ASKED, ASKED])
    with pytest.raises(LookupError, match="is no reaction of a service in its module"):
        given().when(placed, ASKED)


async def test_a_service_without_reactions_does_not_start(mesh_of: MeshOf) -> None:
    with pytest.raises(DeclarationError, match="service idle has no reaction: declare one"):
        await mesh_of(Service("idle"))


async def test_what_waits_for_the_mesh_goes_on_while_the_broker_is_away(mesh_of: MeshOf, broker: Broker) -> None:
    mesh = await mesh_of(service)
    broker.kill()
    with pytest.raises(AssertionError, match=r"not settled within 0\.1 s: "):
        await mesh.settled(0.1)
    with pytest.raises(AssertionError, match=r"not within 0\.1 s: there are 0 dead letters"):
        await mesh.dead_letters(within_seconds=0.1)
    broker.start()
    await mesh.settled()
    assert await mesh.dead_letters() == []


async def test_a_mesh_of_a_test_knows_its_settings(mesh_of: MeshOf) -> None:
    with pytest.raises(SettingsError, match="JETMESH_ACK_WAIT: there is no such setting; JETMESH_ACK_WAIT_SECONDS is"):
        await mesh_of(work(), start=False, JETMESH_ACK_WAIT="1")


async def test_settled_means_that_nothing_waits_for_its_time_either(mesh_of: MeshOf) -> None:
    waiting = Service("work")

    @waiting.on(retry=Retry(attempts=None, first_seconds=3600.0, longest_seconds=3600.0))
    async def finish(asked: Asked) -> Finished:
        """Waits until it may."""
        raise Deferred("later")

    mesh = await mesh_of(waiting)
    await mesh.record(ASKED)

    async def is_delayed() -> bool:
        try:
            await mesh.settled(0.1)
        except AssertionError as left:
            return "WORK_TIMERS: 1 delayed" in str(left)
        return False

    await mesh.until(is_delayed, what="the delivery waits in the timers")
    await mesh.settled(timers=False)
