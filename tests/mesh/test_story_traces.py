"""What is added to a story joins its trace, whoever asked for it and however late; one event has one id."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from jetmesh import Service, Snapshot
from jetmesh.operate.span_record import SpanRecord
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh_contracts import Event
from tests.mesh.spans import spans_in, traced
from tests.support.jobs import Asked, Failed, Finished, JobEvent, Work, work

THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{THEIRS}-00f067aa0ba902b7-01"


class Withdrawn(JobEvent, type="jobs.withdrawn", from_outside=True):
    """Somebody outside wants it no more."""


class Story:
    """What jobs has recorded."""

    def __init__(self, types: tuple[str, ...] = ()) -> None:
        self.types = types

    def evolve(self, event: Event) -> "Story":
        return Story((*self.types, event.type))


def jobs() -> Service:
    """Takes jobs from outside, and their withdrawals."""
    service = Service("jobs")

    @service.intake
    async def take(asked: Asked) -> Asked:
        """Somebody asked: take it."""
        return asked

    @service.intake
    async def withdraw(withdrawn: Withdrawn, story: Story) -> Withdrawn | None:
        """Somebody does not want it: note it once."""
        return None if withdrawn.type in story.types else withdrawn

    return service


def cloud(event: Event, event_id: str = "e-1", **more: str) -> dict[str, str]:
    return {"ce-specversion": "1.0", "ce-id": event_id, "ce-type": event.type, "ce-source": "/shop", **more}


async def traces_of(mesh: LocalMesh, key: str) -> set[str]:
    """The traces that the events about a key say they are of."""
    return {stored.headers["traceparent"][3:35] for stored in await mesh.story(key)}


def named(spans: Sequence[SpanRecord], reaction: str) -> list[SpanRecord]:
    return [span for span in spans if span.attributes.get("jetmesh.reaction") == reaction]


@pytest.mark.parametrize("trusted", ["", "true"], ids=["a stranger", "a gateway"])
async def test_a_later_event_from_outside_joins_the_trace_of_the_story(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str
) -> None:
    async with traced(tmp_path, monkeypatch) as kept:
        service = jobs()
        mesh = await mesh_of(service, JETMESH_TRUST_TRACES=trusted)
        await mesh.publish("jobs.asked", Asked(job_id="j-1").model_dump_json())
        await mesh.recorded(Asked, "j-1")
        withdrawn = Withdrawn(job_id="j-1")
        await mesh.publish(withdrawn.type, withdrawn.model_dump_json(), cloud(withdrawn, traceparent=CALLER))
        await mesh.recorded(Withdrawn, "j-1")
        (trace_id,) = await traces_of(mesh, "j-1")
        await mesh.stop(service)
    (attempt,) = named(spans_in(kept), "withdraw")
    assert attempt.trace_id == trace_id != THEIRS
    assert {link.trace_id for link in attempt.links} == {THEIRS}
    published = [span for span in spans_in(kept) if span.name == "publish jobs.withdrawn"]
    assert [(span.trace_id, span.parent_id) for span in published] == [(trace_id, attempt.span_id)]


async def test_it_joins_where_nobody_here_exports_spans(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(jobs(), JETMESH_TRUST_TRACES="true")
    asked, withdrawn = Asked(job_id="j-1"), Withdrawn(job_id="j-1")
    await mesh.publish(asked.type, asked.model_dump_json(), {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    await mesh.recorded(Asked, "j-1")
    await mesh.publish(withdrawn.type, withdrawn.model_dump_json(), {"traceparent": CALLER})
    await mesh.recorded(Withdrawn, "j-1")
    assert await traces_of(mesh, "j-1") == {"1" * 32}


async def test_a_batch_joins_the_trace_of_each_story_that_it_adds_to(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service("jobs")

    @service.on_many
    async def note(arrived: Sequence[Asked | Withdrawn], snapshot: Snapshot) -> list[Asked | Withdrawn]:
        """Jobs are asked for and withdrawn: note each."""
        stories = await snapshot.stories(Story, Asked, [event.job_id for event in arrived])
        return [event for event in arrived if event.type not in stories[event.job_id].types]

    async with traced(tmp_path, monkeypatch) as kept:
        mesh = await mesh_of(service)
        for key in ("j-1", "j-2"):
            await mesh.publish("jobs.asked", Asked(job_id=key).model_dump_json())
            await mesh.recorded(Asked, key)
        for key in ("j-1", "j-2"):
            await mesh.publish("jobs.withdrawn", Withdrawn(job_id=key).model_dump_json(), {"traceparent": CALLER})
        for key in ("j-1", "j-2"):
            await mesh.recorded(Withdrawn, key)
        traces = [await traces_of(mesh, key) for key in ("j-1", "j-2")]
        await mesh.stop(service)
    assert [len(each) for each in traces] == [1, 1]
    assert traces[0] != traces[1]
    attempts = [span for span in spans_in(kept) if span.attributes["cloudevents.event_type"] == "jobs.withdrawn"]
    assert {span.trace_id for span in attempts} == traces[0] | traces[1]


async def test_a_deadline_that_finds_nothing_to_do_is_no_part_of_the_story(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = work()

    @service.begins
    async def finish(asked: Asked) -> Finished | None:
        """Somebody asked: do it, unless it takes long."""
        return Finished(job_id=asked.job_id) if asked.effort == 1 else None

    @service.after(minutes=15)
    async def time_out(asked: Asked, story: Work) -> Failed | None:
        """The time is up: it failed, unless it is finished."""
        return None if story.finished else Failed(job_id=asked.job_id)

    async with traced(tmp_path, monkeypatch) as kept:
        mesh = await mesh_of(service, JETMESH_AFTER_WORK_TIME_OUT_SECONDS="0.3")
        headers = {"traceparent": CALLER}
        for asked in (Asked(job_id="j-done"), Asked(job_id="j-late", effort=2)):
            await mesh.publish(f"jobs.asked.{asked.job_id}", asked.model_dump_json(), headers)
        await mesh.recorded(Failed, "j-late")
        await mesh.settled()
        (failed,) = [stored for stored in await mesh.story("j-late") if stored.type == Failed.type]
        await mesh.stop(service)
    by_key = {span.attributes["messaging.message.conversation_id"]: span for span in named(spans_in(kept), "time_out")}
    assert by_key["j-late"].trace_id == failed.headers["traceparent"][3:35] == THEIRS
    assert by_key["j-done"].trace_id != THEIRS
    assert not by_key["j-done"].parent_id
    assert {link.trace_id for link in by_key["j-done"].links} == {THEIRS}


async def test_two_messages_from_outside_with_one_id_are_two_events(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(jobs())
    for key in ("j-1", "j-2"):
        asked = Asked(job_id=key)
        await mesh.publish(asked.type, asked.model_dump_json(), cloud(asked, "chosen"))
        await mesh.recorded(Asked, key)
    stored = [await mesh.story("j-1"), await mesh.story("j-2")]
    assert len({message.headers["ce-id"] for story in stored for message in story}) == 2
    assert {message.headers["ce-causationid"] for story in stored for message in story} == {"chosen"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"traceparent": CALLER, "tracestate": "vendor=1"}, {}),
        ({"ce-traceparent": CALLER, "ce-tracestate": "vendor=1"}, {}),
        ({}, {"traceparent": CALLER, "tracestate": "vendor=1"}),
    ],
    ids=["headers", "binary attributes", "structured attributes"],
)
async def test_the_trace_state_goes_on_from_every_mode(
    mesh_of: MeshOf, headers: dict[str, str], body: dict[str, str]
) -> None:
    mesh = await mesh_of(jobs(), JETMESH_TRUST_TRACES="true")
    asked = Asked(job_id="j-1")
    if body:
        document = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": asked.type, **body}
        document["data"] = asked.model_dump()  # type: ignore[assignment]
        await mesh.publish(asked.type, document, {"Content-Type": "application/cloudevents+json"})
    else:
        await mesh.publish(asked.type, asked.model_dump_json(), cloud(asked, **headers))
    await mesh.recorded(Asked, "j-1")
    (stored,) = await mesh.story("j-1")
    assert (stored.headers["traceparent"][3:35], stored.headers.get("tracestate")) == (THEIRS, "vendor=1")
