"""Recording once: the guard refuses a second writer, a lost answer is unknown, a batch is all or nothing."""

import asyncio

import pytest

from jetmesh import Permanent, Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.subject import story_subject
from jetmesh.testing import Broker, LocalMesh, MeshOf, Proxy
from tests.support.jobs import Asked, Failed, Finished, Work, finishing, work


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    return await mesh_of(finishing(), start=False)


@pytest.fixture
def publisher(mesh: LocalMesh) -> Publisher:
    return mesh.context.publisher


def message(name: str = "finished", sequence: int | None = 0, key: str = "j-1") -> Message:
    guard = None if sequence is None else Guard(story_subject("work", key), sequence)
    return Message(f"work.{name}.{key}", Finished(job_id=key).model_dump_json().encode(), {}, guard)


async def test_the_second_writer_of_a_story_is_refused(publisher: Publisher) -> None:
    assert await publisher.record(message()) == 1
    for again in (message(), message("failed")):
        with pytest.raises(Refused, match="10071"):
            await publisher.record(again)
    assert await publisher.record(message("failed", 1)) == 2
    assert publisher.refused == 2


async def test_of_many_writers_at_once_one_wins(publisher: Publisher, mesh: LocalMesh) -> None:
    answers = await asyncio.gather(*(publisher.record(message()) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(answer, int) for answer in answers) == 1
    assert await mesh.count("WORK") == 1


async def test_guards_of_different_keys_do_not_meet(publisher: Publisher) -> None:
    sequences = await asyncio.gather(*(publisher.record(message(key=f"j-{n}")) for n in range(20)))
    assert sorted(sequences) == list(range(1, 21))


async def test_a_batch_is_stored_whole_or_not_at_all(publisher: Publisher, mesh: LocalMesh) -> None:
    await publisher.record_all([message(key=f"j-{n}") for n in range(5)])
    assert await mesh.count("WORK") == 5
    with pytest.raises(Refused):
        await publisher.record_all([message(key=f"j-{n}") for n in range(4, 8)])
    assert await mesh.count("WORK") == 5


async def test_a_message_that_would_not_fit_a_dead_letter_is_refused_here(publisher: Publisher) -> None:
    with pytest.raises(Permanent, match=f"more than the {MESSAGE_BYTES_MAX}"):
        await publisher.record(Message("work.finished.j-1", b"x" * MESSAGE_BYTES_MAX, {}))


async def test_a_subject_that_no_stream_takes_is_unavailable(publisher: Publisher) -> None:
    with pytest.raises(Unavailable, match="no stream takes this subject"):
        await publisher.record(Message("nobody.knows.this", b"", {}))


async def test_an_answer_that_is_lost_with_the_connection_is_unknown(mesh_of: MeshOf, broker: Broker) -> None:
    watching = await mesh_of(finishing(), start=False)
    async with Proxy(broker.port) as proxy:
        mesh = await mesh_of(finishing(), start=False, NATS_URL=proxy.url)
        proxy.swallow_answers()
        asked = asyncio.ensure_future(mesh.context.publisher.record(message()))
        await watching.recorded(Finished, "j-1")
        proxy.cut()
        with pytest.raises(Unknown):
            await asked


async def test_a_lost_answer_ends_in_one_event(mesh_of: MeshOf, broker: Broker) -> None:
    """The event is stored, the answer is lost: the reaction reads its story, and takes it for done."""
    service = work()
    ran: list[str] = []
    async with Proxy(broker.port) as proxy:

        @service.begins
        async def unheard(asked: Asked) -> Finished:
            """Loses the broker's answer to its first recording."""
            ran.append(asked.job_id)
            if len(ran) == 1:
                proxy.swallow_answers()
            return Finished(job_id=asked.job_id)

        mesh = await mesh_of(service, start=False, JETMESH_ACK_WAIT_SECONDS="1")
        replica = await mesh.start(service, NATS_URL=proxy.url)
        await mesh.record(Asked(job_id="j-2"))
        await mesh.recorded(Finished, "j-2")
        proxy.cut()
        await mesh.settled()
        await replica.stop()
    assert await mesh.count("WORK") == 1
    assert await mesh.dead_letters() == []


async def test_a_crash_between_recording_and_acknowledging_doubles_nothing(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every acknowledgement is lost: the deliveries come again and meet what they recorded."""
    service = finishing()
    mesh = await mesh_of(service, start=False, JETMESH_ACK_WAIT_SECONDS="1")
    settle, lost = InFlight.ack, list[RawDelivery]()

    def lose(in_flight: InFlight, delivery: RawDelivery) -> None:
        lost.append(delivery)
        _, pull, place = in_flight._held.pop(delivery.reply)
        del in_flight._positions[pull, place]
        pull.release(delivery)

    monkeypatch.setattr(InFlight, "ack", lose)
    await mesh.start(service)
    for number in range(20):
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.until(lambda: len(lost) >= 40, what="everything came twice")
    monkeypatch.setattr(InFlight, "ack", settle)
    await mesh.settled()
    assert await mesh.count("WORK") == 20
    assert await mesh.dead_letters() == []


async def test_two_replicas_at_once_and_everything_delivered_again_double_nothing(mesh_of: MeshOf) -> None:
    service = work()
    ran: list[str] = []

    @service.on
    async def slowly(asked: Asked, story: Work) -> Finished | None:
        """Gives the other replica time to do the same."""
        ran.append(asked.job_id)
        await asyncio.sleep(0.01)
        return None if story.finished else Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await mesh.start(service)
    for number in range(30):
        await mesh.record(Asked(job_id=f"j-{number}"))
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.settled()
    await mesh.deliver_again(service)
    await mesh.until(lambda: len(ran) >= 120, what="everything was delivered again")
    await mesh.settled()
    assert await mesh.count("WORK") == 30
    assert await mesh.dead_letters() == []


async def test_an_undeclared_outcome_is_buried_and_not_recorded(mesh_of: MeshOf) -> None:
    service = work()

    @service.begins
    async def wrong(asked: Asked) -> Finished:
        """Returns what it does not declare."""
        return Failed(job_id=asked.job_id)  # type: ignore[return-value]

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reason"] == "work.wrong returned Failed, but declares Finished; it was not recorded"
    await mesh.settled()
    assert await mesh.count("WORK") == 0


async def test_the_leader_tells_the_last_sequence_of_a_story_and_stores_nothing(
    mesh: LocalMesh, publisher: Publisher
) -> None:
    assert await publisher.last_sequence("work.*.j-1", "work.finished.j-1") == 0
    sequence = await publisher.record(message())
    assert await publisher.last_sequence("work.*.j-1", "work.failed.j-1") == sequence
    assert await mesh.count("WORK") == 1
    assert publisher.refused == 0
