"""What is done outside is done once, however long the broker takes no record of it."""

import logging
from collections import Counter

import pytest

from jetmesh import provision
from jetmesh.service import Service
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.runtime.jobs import Asked, Finished, work

JOBS = [f"j-{number}" for number in range(30)]
Sending = tuple[Service, Counter[str]]


@pytest.fixture
def sending() -> Sending:
    """A service that sends a mail about each job, and how many went out by job."""
    service, sent = work(), Counter[str]()

    @service.on
    async def tell(asked: Asked) -> Finished:
        """Somebody wants a job done: send a mail, which nobody can take back."""
        sent[asked.job_id] += 1
        return Finished(job_id=asked.job_id)

    return service, sent


async def _limit(mesh: LocalMesh, messages: int) -> None:
    """So many messages fit into the stream of the service."""
    info = await provision.request(mesh.mesh.connection, "STREAM.INFO.WORK", strict=True)
    await provision.request(
        mesh.mesh.connection, "STREAM.UPDATE.WORK", {**info["config"], "max_msgs": messages}, strict=True
    )


async def _sent_while_full(mesh: LocalMesh, sent: Counter[str], caplog: pytest.LogCaptureFixture) -> None:
    """The stream takes one more; everything is sent, and its record was refused more than once."""
    caplog.set_level(logging.WARNING, "jetmesh.reaction")
    await _limit(mesh, 1)
    for key in JOBS:
        await mesh.record(Asked(job_id=key))
    await mesh.until(lambda: len(sent) == len(JOBS))
    await mesh.until(lambda: sum("10077" in message for message in caplog.messages) > 2 * len(JOBS))


async def test_a_stream_that_is_full_sends_no_mail_again(
    mesh_of: MeshOf, sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    service, sent = sending
    mesh = await mesh_of(service)
    await _sent_while_full(mesh, sent, caplog)
    await _limit(mesh, -1)
    await mesh.settled()
    assert await mesh.count("WORK") == len(JOBS)
    assert sent == Counter(JOBS)
    assert await mesh.dead_letters() == []


async def test_nor_does_a_broker_that_goes_away_meanwhile_and_delivers_everything_again(
    mesh_of: MeshOf, sending: Sending, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    service, sent = sending
    mesh = await mesh_of(service, JETMESH_ACK_WAIT_SECONDS="1")
    await _sent_while_full(mesh, sent, caplog)
    broker.restart()
    await mesh.record(Asked(job_id="j-last"))
    await mesh.deliver_again(service)
    refused = len(caplog.messages)
    await mesh.until(lambda: len(caplog.messages) > refused + 2 * len(JOBS))
    await _limit(mesh, -1)
    await mesh.settled()
    assert await mesh.count("WORK") == len(JOBS) + 1
    assert sent == Counter([*JOBS, "j-last"])
