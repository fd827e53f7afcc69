"""A mail goes out once, however often the broker is killed, for as long as no process dies."""

import asyncio
from collections import Counter
from functools import partial

import pytest

from jetmesh import Service, Unavailable
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.subject import subject_of
from jetmesh.testing import Broker, LocalMesh, MeshOf, until
from tests.support.jobs import Asked, Finished, work

JOBS, REPLICAS, KILLS = 800, 3, 6
SENDERS, SECONDS_BETWEEN_JOBS = 12, 0.005


def telling(sent: Counter[str], seconds_a_mail: float) -> Service:
    """A service that sends a mail about each job, so many at once; which nobody can take back."""
    service, senders = work(), asyncio.Semaphore(SENDERS)

    @service.on
    async def tell(asked: Asked) -> Finished:
        """Somebody wants a job done: send a mail."""
        async with senders:
            await asyncio.sleep(seconds_a_mail)
            sent[asked.job_id] += 1
        return Finished(job_id=asked.job_id)

    return service


async def ask(mesh: LocalMesh) -> None:
    """A steady stream of jobs, each asked for once: its guard refuses it where a broker stored it and died before it
    could say so."""
    for number in range(JOBS):
        asked = Asked(job_id=f"j-{number}")
        subject = subject_of(Asked, asked.job_id)
        message = Message(subject, asked.model_dump_json().encode(), {}, Guard(subject, 0))
        await until(partial(is_stored, mesh, message), 60)
        await asyncio.sleep(SECONDS_BETWEEN_JOBS)


async def is_stored(mesh: LocalMesh, message: Message) -> bool:
    """Whether the broker has the message."""
    try:
        await mesh.context.publisher.record(message)
    except Refused:
        return True
    except Unavailable:
        return False
    return True


async def reach(sent: Counter[str], share: int) -> None:
    """Return once so many different mails are out."""
    while len(sent) < share:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("seconds_a_mail", "slots"), [(0.015, "512"), (0.1, "64")], ids=["at once", "full hands"])
async def test_a_mail_goes_out_once_while_the_broker_is_killed(
    mesh_of: MeshOf, broker: Broker, seconds_a_mail: float, slots: str
) -> None:
    sent = Counter[str]()
    service = telling(sent, seconds_a_mail)
    mesh = await mesh_of(service, start=False, JETMESH_ACK_WAIT_SECONDS="3", JETMESH_SLOTS=slots)
    for _ in range(REPLICAS):
        await mesh.start(service)
    asking = asyncio.create_task(ask(mesh))
    for number in range(1, KILLS + 1):
        await asyncio.wait_for(reach(sent, number * JOBS // (KILLS + 2)), 60)
        await asyncio.to_thread(broker.restart)
    await asking
    await mesh.settled(60)
    assert await mesh.count("JOBS") == JOBS
    assert sent == Counter(f"j-{number}" for number in range(JOBS))
    assert await mesh.count("WORK") == JOBS
