"""The page of a letter shows its attempts, as the traces have them, and says what it does not know."""

import re
from contextlib import closing
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from jetmesh import Retry, Service
from jetmesh.console.places import Places
from jetmesh.jetstream.delivery import Position
from jetmesh.local.state import StateFolder
from jetmesh.operate.dead_letters import DeadLetter, DeadLetters
from jetmesh.operate.span_record import CONVERSATION_ID
from jetmesh.operate.span_store import TraceWriter
from jetmesh.telemetry.spans import OUTCOME
from jetmesh.testing import MeshOf
from tests.console.conftest import ConsoleOf
from tests.support.tollgate import CarArrived, TollPaid

OF_THE_MESSAGE, ANOTHER = "ab" * 16, "cd" * 16
BEGAN, MILLISECOND = 1_790_000_000 * 10**9, 10**6
ROW = re.compile(r'<td class="n">(\d+)</td><td><time datetime="([^"]+)".*?<td class="n">([^<]+)</td><td>(.*?)</td>')


def _span(number: int, place: Position, trace: str, outcome: str, words: str) -> bytes:
    """An attempt, of as many milliseconds as its number, a second after the one before."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "tolls"
    span = resource.scope_spans.add().spans.add(trace_id=bytes.fromhex(trace), span_id=bytes([number] * 8), kind=5)
    span.start_time_unix_nano = BEGAN + number * 1_000 * MILLISECOND
    span.end_time_unix_nano = span.start_time_unix_nano + number * MILLISECOND
    span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=words))
    said = {
        CONVERSATION_ID: "car-1", "jetmesh.reaction": "charge", OUTCOME: outcome,
        "messaging.nats.stream.name": place[0], "messaging.nats.message.stream_sequence": str(place[1]),
        "messaging.nats.message.delivery_count": str(number),
    }  # fmt: skip
    for name, value in said.items():
        span.attributes.add(key=name).value.string_value = value
    return request.SerializeToString()


def _tolls() -> Service:
    """A service that fails three times."""
    tolls = Service("tolls")

    @tolls.on(retry=Retry(attempts=3, first_seconds=0.01))
    async def charge(car: CarArrived) -> TollPaid:
        """A car arrived: charge the toll."""
        raise ValueError("the line is busy")

    return tolls


async def _refused(mesh_of: MeshOf) -> DeadLetter:
    """A letter about a car that was tried three times."""
    mesh = await mesh_of(_tolls())
    headers = {"traceparent": f"00-{OF_THE_MESSAGE}-{'ef' * 8}-01"}
    await mesh.publish("cars.arrived.car-1", '{"plate": "car-1"}', headers)
    await mesh.dead_letters(1)
    (letter,) = [each async for each in DeadLetters(mesh.context.connection, mesh.context.publisher).all()]
    assert letter.attempts == 3
    return letter


async def test_a_letter_has_its_attempts_with_their_times_and_what_failed(
    mesh_of: MeshOf, console_of: ConsoleOf, tmp_path: Path
) -> None:
    letter = await _refused(mesh_of)
    settings = {"token": "o" * 32, "viewer_token": "v" * 32, "hide_bodies": "true"}
    browser = await console_of([_tolls()], places=Places(state=tmp_path), **settings)
    bearer = {"Authorization": f"Bearer {'o' * 32}"}
    path = f"/mesh/letters/{letter.sequence}"
    assert "No spans are kept here" in (await browser.get(path, headers=bearer)).text
    with closing(TraceWriter(StateFolder(tmp_path).traces)) as traces:
        traces.add(_span(1, letter.position, OF_THE_MESSAGE, "retry", "the line is busy"))
        traces.add(_span(4, (letter.position[0], 99), OF_THE_MESSAGE, "retry", "of another message"))
    page = (await browser.get(path, headers=bearer)).text
    assert "The traces have 1 of the 3 attempts" in page
    with closing(TraceWriter(StateFolder(tmp_path).traces)) as traces:
        traces.add(_span(2, letter.position, ANOTHER, "later", "no answer"))
        traces.add(_span(3, letter.position, ANOTHER, "dead_letter", "it gave up"))
    page = (await browser.get(path, headers=bearer)).text
    rows = ROW.findall(page)
    assert [(number, at[17:19], took) for number, at, took, _ in rows] == [
        ("1", "21", "1.0 ms"),
        ("2", "22", "2.0 ms"),
        ("3", "23", "3.0 ms"),
    ]
    told = [re.sub(r"<[^>]+>", " ", words).split() for *_, words in rows]
    assert [" ".join(words) for words in told] == [
        "retry the line is busy",
        "later no answer",
        "dead letter it gave up",
    ]
    assert "The traces have" not in page
    hidden = (await browser.get(path, headers={"Authorization": f"Bearer {'v' * 32}"})).text
    assert len(ROW.findall(hidden)) == 3
    assert "the line is busy" not in hidden
