"""A program that is no service publishes: what it is told, what it is refused, and whose trace it is in."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import jetmesh
from jetmesh import AlreadyThere, EventModel, NotTaken, Permanent, Taken, Token, Unavailable
from jetmesh.event import INTAKE
from jetmesh.jetstream.headers import TRACEPARENT, CloudEvents
from jetmesh.testing import Broker, MeshOf
from jetmesh.topology import accounts, nkeys
from tests.support.jobs import SERVICES, Asked, Dropped, desk
from tests.support.questions import StateOf

ASKED = Asked(job_id="j-1")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans of the program, whose own OpenTelemetry is set up."""
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield kept
    provider.shutdown()


async def test_what_its_owner_decides_is_told(mesh_of: MeshOf, nats_broker: Broker) -> None:
    await mesh_of(desk())
    async with jetmesh.connect(nats_broker.url) as mesh:
        first = await mesh.publish(ASKED, wait_seconds=10)
        again = await mesh.publish(ASKED, wait_seconds=10)
        other = await mesh.publish(Asked(job_id="j-1", effort=2), wait_seconds=10)
    assert isinstance(first, Taken)
    assert [stored.type for stored in first.recorded] == ["jobs.asked"]
    assert isinstance(again, AlreadyThere)
    assert again.event_id == first.event_id
    assert isinstance(other, NotTaken)
    assert other.reason == "j-1: jobs.asked was recorded before with other contents"


async def test_nobody_waits_who_does_not_ask_for_it(mesh_of: MeshOf, nats_broker: Broker) -> None:
    await mesh_of(desk(), start=False)
    async with jetmesh.connect(nats_broker.url, name="nightly") as mesh:
        assert isinstance(taken := await mesh.publish(ASKED), Taken)
        assert (await mesh.publish(ASKED, wait_seconds=0.1)) == Taken(taken.event_id)


async def test_the_settings_of_the_environment_say_where(
    mesh_of: MeshOf, nats_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = await mesh_of(desk())
    monkeypatch.setenv("NATS_URL", nats_broker.url)
    async with jetmesh.connect(name="nightly") as mesh:
        await mesh.publish(ASKED)
    await local.recorded(Asked, "j-1")
    (stored,) = await local.context.direct_get.last(INTAKE, ["jobs.asked"])
    assert stored.headers[CloudEvents.SOURCE] == "/nightly"


class Fetched(EventModel, type="vans.fetched", owner="vans", key_field="van_id", from_outside=True):
    """An event that no stream takes here."""

    van_id: Token


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"job_id": "j-1"}, "{'job_id': 'j-1'} is no event: publish an instance of an event's class"),
        (Asked, "Asked'> is no event"),
        (Dropped(job_id="j-1"), "Dropped: only jobs records jobs.dropped; publish an event that is declared `from_out"),
    ],
    ids=["a dictionary", "a class", "an event from inside"],
)
async def test_what_nobody_may_publish_is_an_error(nats_broker: Broker, event: Any, words: str) -> None:
    async with jetmesh.connect(nats_broker.url) as mesh:
        with pytest.raises(TypeError) as refused:
            await mesh.publish(event)
    assert words in str(refused.value)


async def test_while_the_broker_is_away_asking_again_is_safe(mesh_of: MeshOf, nats_broker: Broker) -> None:
    local = await mesh_of(desk(), start=False)
    async with jetmesh.connect(nats_broker.url) as mesh:
        nats_broker.kill()
        with pytest.raises(Unavailable):
            await mesh.publish(ASKED)
        nats_broker.start()

        async def taken() -> bool:
            try:
                return isinstance(await mesh.publish(ASKED), Taken)
            except Unavailable:
                return False

        await local.until(taken)
    await local.start(local.services[0])
    await local.recorded(Asked, "j-1")
    await local.settled()
    assert await local.dead_letters() == []


async def test_without_a_broker_the_error_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETMESH_CONNECT_SECONDS", "0.2")
    with pytest.raises(Unavailable, match=r"nats://127\.0\.0\.1:1 .*NATS_URL says where it is"):
        async with jetmesh.connect("nats://127.0.0.1:1"):
            pytest.fail("there is none")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker with an account for each user; the keys are beside its store."""
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.configuration(SERVICES, nkeys.ensure(tmp_path / "keys", nkeys.users(SERVICES))))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


async def test_a_user_that_may_not_publish_it_is_told_who_may(
    guarded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JETMESH_NATS_INBOX_PREFIX", "_INBOX_client")
    async with jetmesh.connect(guarded.url, nkey_seed=tmp_path / "keys" / "client.nk") as mesh:
        with pytest.raises(PermissionError, match=r"may not publish vans.fetched: .* kind `client`.*NKEY_SEED"):
            await mesh.publish(Fetched(van_id="v-1"))


async def test_a_user_that_could_hear_no_answer_is_told_the_setting(guarded: Broker, tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match=r"JETMESH_NATS_INBOX_PREFIX must be .* _INBOX_client"):
        async with jetmesh.connect(guarded.url, nkey_seed=tmp_path / "keys" / "client.nk"):
            pytest.fail("it may not listen")


async def test_what_is_published_is_part_of_the_callers_trace(
    mesh_of: MeshOf, nats_broker: Broker, spans: InMemorySpanExporter
) -> None:
    local = await mesh_of(desk(), start=False)
    tracer = trace.get_tracer("program")
    async with jetmesh.connect(nats_broker.url) as mesh:
        with tracer.start_as_current_span("nightly") as nightly:
            await mesh.publish(ASKED)
    published, _ = spans.get_finished_spans()
    assert published.name == "publish jobs.asked"
    assert published.parent is not None
    assert published.parent.span_id == nightly.get_span_context().span_id
    assert published.context is not None
    (stored,) = await local.context.direct_get.last(INTAKE, ["jobs.asked"])
    assert stored.headers[TRACEPARENT][3:52] == f"{published.context.trace_id:032x}-{published.context.span_id:016x}"


async def test_after_its_block_and_on_another_loop_it_says_so(mesh_of: MeshOf, nats_broker: Broker) -> None:
    await mesh_of(desk())
    async with jetmesh.connect(nats_broker.url) as mesh:

        def elsewhere() -> None:
            asyncio.run(mesh.publish(ASKED))

        with pytest.raises(RuntimeError, match=r"belongs to another event loop: .* `jetmesh\.connect_sync`"):
            await asyncio.to_thread(elsewhere)
        assert isinstance(await mesh.publish(ASKED), Taken)
    for call in (mesh.publish(ASKED), mesh.request(StateOf(job_id="j-1"))):
        with pytest.raises(RuntimeError, match="this mesh is closed: use it inside its block"):
            await call
    with pytest.raises(RuntimeError, match="this mesh is closed: use it inside its block"):
        mesh.follow("j-1", Asked)


async def test_what_breaks_its_contract_is_not_published(mesh_of: MeshOf, nats_broker: Broker) -> None:
    await mesh_of(desk())
    async with jetmesh.connect(nats_broker.url) as mesh:
        for event in (Asked.model_construct(job_id="a b"), ASKED.model_copy(update={"efort": 2})):
            with pytest.raises(Permanent, match=r"jobs\.asked would break its contract: (job_id|efort)"):
                await mesh.publish(event)
