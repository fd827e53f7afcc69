"""What is done outside is done once, however long the broker takes no record of it."""

import logging
import os
import re
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from jetmesh.jetstream import api
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import DirectGet, Stored
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.service import Service
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.support.jobs import Asked, Finished, work

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


@pytest.fixture(autouse=True)
def soon_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused again and again is told every half a second."""
    monkeypatch.setattr("jetmesh.common.throttled_log.FIRST_SECONDS", 0.25)
    monkeypatch.setattr("jetmesh.common.throttled_log.LONGEST_SECONDS", 0.25)


def refusals(caplog: pytest.LogCaptureFixture, code: int = 10077) -> int:
    """How many recordings were refused for this reason."""
    told = [message for message in caplog.messages if f"({code})" in message]
    return sum(1 if more is None else int(more[1]) for more in (re.search(r"\((\d+) more\)$", m) for m in told))


async def _limit(mesh: LocalMesh, messages: int) -> None:
    """So many messages fit into the stream of the service."""
    info = await api.request(mesh.context.connection, "STREAM.INFO.WORK", strict=True)
    await api.request(
        mesh.context.connection, "STREAM.UPDATE.WORK", {**info["config"], "max_msgs": messages}, strict=True
    )


async def _sent_while_full(mesh: LocalMesh, sent: Counter[str], caplog: pytest.LogCaptureFixture) -> None:
    """The stream takes one more; everything is sent, and its record was refused more than once."""
    caplog.set_level(logging.WARNING, "jetmesh.reaction")
    await _limit(mesh, 1)
    for key in JOBS:
        await mesh.record(Asked(job_id=key))
    await mesh.until(lambda: len(sent) == len(JOBS))
    await mesh.until(lambda: refusals(caplog) > 2 * len(JOBS))


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
    refused = refusals(caplog)
    await mesh.until(lambda: refusals(caplog) > refused + len(JOBS))
    await _limit(mesh, -1)
    await mesh.settled()
    assert await mesh.count("WORK") == len(JOBS) + 1
    assert sent == Counter([*JOBS, "j-last"])


@pytest.mark.parametrize("begins", [False, True], ids=["on", "begins"])
async def test_nor_does_a_lost_acknowledgement_beside_a_replica_that_lags(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch, begins: bool
) -> None:
    service, sent = work(), Counter[str]()

    async def tell(asked: Asked) -> Finished:
        """Somebody wants a job done: send a mail."""
        sent[asked.job_id] += 1
        return Finished(job_id=asked.job_id)

    (service.begins if begins else service.on)(tell)
    lost, lagging, say, last = [b"+ACK"], [True] * 3, InFlight._say, DirectGet.last

    def lossy(in_flight: InFlight, delivery: RawDelivery, word: bytes) -> None:
        if word in lost:
            lost.remove(word)
        else:
            say(in_flight, delivery, word)

    async def behind(reader: DirectGet, stream: str, subjects: Sequence[str]) -> list[Stored]:
        found = await last(reader, stream, subjects)
        return [] if stream == "WORK" and lagging and lagging.pop() else found

    monkeypatch.setattr(InFlight, "_say", lossy)
    monkeypatch.setattr(DirectGet, "last", behind)
    mesh = await mesh_of(service, JETMESH_ACK_WAIT_SECONDS="1")
    await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: not lost)
    await mesh.settled()
    assert sent == Counter(["j-1"])


QUOTA = """
accounts {
  MESH: {
    jetstream: {max_file: %s, max_mem: 0, max_streams: -1, max_consumers: -1}
    users: [{user: mesh, password: mesh}]
  }
}
"""


async def test_nor_does_an_account_whose_quota_is_used_up(
    tmp_path: Path, sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    """10002 was taken for a refusal of the message: a dead letter, which was refused as well, and the mail again."""
    caplog.set_level(logging.WARNING, "jetmesh.reaction")
    service, sent = sending
    config = tmp_path / "nats.conf"
    written(config, QUOTA % -1)
    with Broker(tmp_path / "broker", "-c", str(config)) as broker:
        url = broker.url.replace("//", "//mesh:mesh@")
        async with LocalMesh([service], [], {"NATS_URL": url, "JETMESH_ACK_WAIT_SECONDS": "1"}) as mesh:
            for key in JOBS:
                await mesh.record(Asked(job_id=key))
            written(config, QUOTA % "3KB")
            os.kill(broker.pid, signal.SIGHUP)
            await mesh.until(lambda: "Reloaded: accounts" in broker.log)
            await mesh.start(service)
            await mesh.until(lambda: refusals(caplog, 10002) > 2 * len(JOBS))
            written(config, QUOTA % -1)
            os.kill(broker.pid, signal.SIGHUP)
            await mesh.settled(30)
            assert await mesh.count("WORK") == len(JOBS)
            assert await mesh.dead_letters() == []
    assert sent == Counter(JOBS)


def written(file: Path, text: str) -> None:
    file.write_text(text)
