"""Middlewares: in the order of their lists, around every attempt, and their errors are the reaction's own."""

from collections.abc import Sequence

import pytest

from jetmesh import App, CallNext, Delivery, Middleware, NotYet, Outcome, Permanent, Recorded, Retry, Service, Snapshot
from jetmesh.testing import MeshOf, given
from tests.support.jobs import Asked, Finished, Work, finishing, work


def named(name: str, seen: list[str]) -> Middleware:
    """Notes when it begins and ends, and how."""

    async def middleware(delivery: Delivery, call_next: CallNext) -> Outcome:
        seen.append(f"{name} {delivery.key}")
        outcome = await call_next(delivery)
        seen.append(f"{name} {outcome.name}")
        return outcome

    return middleware


def together(seen: list[list[str]]) -> Service:
    """A service that finishes jobs together."""
    service = work()

    @service.on_many(retry=Retry(attempts=3, first_seconds=0.01))
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Jobs are asked for: do them together."""
        seen.append([one.job_id for one in asked])
        stories = await snapshot.stories(Work, Finished, [one.job_id for one in asked])
        return [Finished(job_id=one.job_id) for one in asked if not stories[one.job_id].finished]

    return service


async def test_the_app_the_service_and_the_reaction_have_lists_which_run_in_this_order(mesh_of: MeshOf) -> None:
    seen: list[str] = []
    service = Service("work", middlewares=[named("service", seen), named("second", seen)])

    @service.begins(middlewares=[named("reaction", seen)])
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        seen.append("finish")
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service, middlewares=[named("app", seen)])
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    around = ["app", "service", "second", "reaction"]
    assert seen == [*(f"{name} j-1" for name in around), "finish", *(f"{name} recorded" for name in around[::-1])]


async def test_one_that_raises_is_tried_again_and_names_itself_in_the_dead_letter(mesh_of: MeshOf) -> None:
    attempts: list[tuple[str, int]] = []

    async def picky(delivery: Delivery, call_next: CallNext) -> Outcome:
        attempts.append((delivery.key, delivery.delivered))
        if delivery.key == "never":
            raise OSError("no luck")
        if delivery.delivered == 1:
            raise NotYet("not at once")
        return await call_next(delivery)

    service = work()

    @service.begins(retry=Retry(attempts=2, first_seconds=0.01), middlewares=[picky])
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    for key in ("soon", "never"):
        await mesh.record(Asked(job_id=key))
    await mesh.recorded(Finished, "soon")
    (letter,) = await mesh.dead_letters(1)
    assert sorted(attempts) == [("never", 1), ("never", 2), ("soon", 1), ("soon", 2)]
    assert letter.headers["Jetmesh-Error-Type"] == "OSError"
    assert "no luck (raised by the middleware" in letter.headers["Jetmesh-Reason"]
    assert "picky" in letter.headers["Jetmesh-Reason"]


async def test_an_error_of_the_reaction_passes_through_and_is_nobody_elses(mesh_of: MeshOf) -> None:
    service = Service("work", middlewares=[named("service", [])])

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: it can't be."""
        raise Permanent("out of order")

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reason"] == "out of order"


async def nothing(delivery: Delivery, call_next: CallNext) -> Outcome:
    """Forgets to return what came of it."""
    await call_next(delivery)
    return None  # type: ignore[return-value]


async def another(_delivery: Delivery, call_next: CallNext) -> Outcome:
    """Goes on with something that is no delivery."""
    return await call_next("j-1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [(nothing, "the middleware nothing returned None"), (another, "the middleware another passed 'j-1' to")],
)
async def test_what_a_middleware_does_wrong_is_named(mesh_of: MeshOf, wrong: Middleware, reason: str) -> None:
    mesh = await mesh_of(finishing(), middlewares=[wrong])
    await mesh.record(Asked(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    assert reason in letter.headers["Jetmesh-Reason"]


async def test_around_a_reaction_to_many_it_sees_each_delivery_and_the_batch_stays_one(mesh_of: MeshOf) -> None:
    seen: list[str] = []
    batches: list[list[str]] = []
    service = together(batches)
    mesh = await mesh_of(service, middlewares=[named("app", seen)], start=False)
    keys = [f"j-{number}" for number in range(20)]
    for key in keys:
        await mesh.record(Asked(job_id=key))
    await mesh.start(service)
    await mesh.settled()
    assert {await mesh.recorded(Finished, key) for key in keys} == {Finished(job_id=key) for key in keys}
    assert sorted(seen) == sorted([*(f"app {key}" for key in keys), *["app recorded"] * len(keys)])
    assert len(batches) < len(keys)


async def test_one_that_raises_takes_its_own_delivery_out_of_a_batch_and_no_other(mesh_of: MeshOf) -> None:
    async def strict(delivery: Delivery, call_next: CallNext) -> Outcome:
        if delivery.key == "j-3":
            raise Permanent("not this one")
        return await call_next(delivery)

    batches: list[list[str]] = []
    service = together(batches)
    mesh = await mesh_of(service, middlewares=[strict], start=False)
    for number in range(6):
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.start(service)
    (letter,) = await mesh.dead_letters(1)
    await mesh.settled()
    assert letter.headers["Jetmesh-Reason"].startswith("not this one (raised by the middleware")
    assert {key for batch in batches for key in batch} == {"j-0", "j-1", "j-2", "j-4", "j-5"}


async def test_calling_on_twice_is_settled_by_what_was_recorded_or_refused_in_a_batch(mesh_of: MeshOf) -> None:
    seen: list[str] = []

    async def twice(delivery: Delivery, call_next: CallNext) -> Outcome:
        seen.append((await call_next(delivery)).name)
        return await call_next(delivery)

    mesh = await mesh_of(finishing(), middlewares=[twice])
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    assert await mesh.count("WORK") == 1
    assert seen == ["recorded"]
    assert not await mesh.dead_letters()


async def test_a_story_test_runs_inside_the_middlewares_of_the_service() -> None:
    seen: list[str] = []
    service = Service("work", middlewares=[named("service", seen)])

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        return Finished(job_id=asked.job_id)

    await given().when(finish, Asked(job_id="j-1"), of=service).then(Finished(job_id="j-1"))
    assert seen[:2] == ["service j-1", "service recorded"]


async def test_a_sink_has_no_middleware_around_it(mesh_of: MeshOf) -> None:
    kept: list[str] = []
    seen: list[str] = []
    sink, worker = Service("archive"), finishing()

    @sink.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Whatever happened: keep it."""
        kept.extend(event.key for event in events)

    mesh = await mesh_of(worker, sink, middlewares=[named("app", seen)])
    await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: kept, what="the sink has it")
    await mesh.settled()
    assert seen == ["app j-1", "app recorded"]


def test_an_app_is_its_services() -> None:
    one = finishing()
    app = App([one], middlewares=[nothing])
    assert (tuple(app), app.middlewares) == ((one,), (nothing,))
