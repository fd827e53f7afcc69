"""Whatever arrives where a stranger may send ends as an outcome or one dead letter; the next order goes through, on the
same connection."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from jetmesh.jetstream.api import request
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import encode_headers
from jetmesh.jetstream.message import Message, Unknown
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.handle import begin
from jetmesh.telemetry.spans import Attempt
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh_contracts import OrderPlaced, StockLevel
from jetmesh_shop.inventory.service import inventory
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.service import Orders, orders
from tests.mesh.hostile import BODIES
from tests.mesh.raw import hpub, pub, say
from tests.support.samples import body, restocked

SERVER_MAX = 1 << 20
HEADERS_MAX = (1 << 16) - 1


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    """Orders, on a mesh whose intake is as open as it can be."""
    mesh = await mesh_of(orders, dependencies=[Orders(PRICES)], start=False)
    await stream_takes(mesh, "INTAKE", max_msg_size=SERVER_MAX)
    await mesh.start(orders)
    return mesh


async def stream_takes(mesh: LocalMesh, stream: str, **limits: int) -> None:
    """A stream's limits as an operator may have set them, or an older version."""
    info = await request(mesh.context.connection, f"STREAM.INFO.{stream}")
    await request(mesh.context.connection, f"STREAM.UPDATE.{stream}", {**info["config"], **limits}, strict=True)


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


async def goes_on(mesh: LocalMesh, order_id: str = "o-next") -> None:
    """The next order goes through, nothing is left to do, and no process has ended or lost its connection."""
    await mesh.publish("orders.placed", body(order_id))
    await mesh.recorded(OrderPlaced, order_id)
    await mesh.settled()
    for replica in mesh.replicas:
        assert not replica.task.done()
        assert replica.health.why_not == ""


SUBJECTS = {
    "no UTF-8": b"orders.\xff",
    "a surrogate": b"orders.\xed\xa0\x80",
    "a vertical tab inside": b"orders.a\x0bb",
    "a form feed": b"orders.\x0c",
    "a file separator": b"orders.a\x1cb",
    "a null": b"orders.\x00",
    "a C1 control and a hard space": b"orders.\x85\xc2\xa0",
    "almost a line": b"orders." + b"x" * 4_000,
    "a star": b"orders.\xe2\x98\x85",
}


@pytest.mark.parametrize("name", SUBJECTS)
async def test_a_subject_of_any_bytes_is_one_letter(mesh: LocalMesh, broker: Broker, name: str) -> None:
    await say(broker, pub(SUBJECTS[name], b"{}"))
    (letter,) = await mesh.dead_letters(1)
    assert "type: orders knows no orders." in letter.headers["Jetmesh-Reason"]
    await goes_on(mesh)
    assert await mesh.count("DEAD_LETTERS") == 1


async def test_requests_from_a_subject_of_any_bytes_do_no_harm(mesh: LocalMesh, broker: Broker) -> None:
    """nats-py handles these itself: the service answers to nobody, and goes on."""
    await say(broker, *[pub(b"$SRV.PING", b"", reply) for reply in (b"\xff", b"a\x0bb", b"y" * 4_000)])
    await goes_on(mesh)
    answer = await mesh.context.connection.ask("jetmesh.orders.health", b"")
    assert json.loads(answer)["ready"]


BLOCKS = {
    "a number of 4,400 digits": encode_headers({"Jetmesh-Replay": "9" * 4_400}),
    "digits of another script": encode_headers({"Jetmesh-Replay": "٣"}),
    "our own headers, forged": encode_headers(
        {"Jetmesh-Attempts": "x", "Jetmesh-First-Time": "nan", "Jetmesh-Sequence": "-1", "Jetmesh-Reaction": "place"}
    ),
    "letters of our own kind": encode_headers({"Jetmesh-Omitted-Bytes": "7", "jetmesh-service": "payments"}),
    "a trace that is none": encode_headers({"traceparent": "0" * 9_000, "tracestate": "a=b," * 9_000}),
    "no version": b"GARBAGE\r\n\r\n",
    "no end": b"NATS/1.0\r\nA: b",
    "a status": b"NATS/1.0 404 Not Found\r\n\r\n",
    "bytes": b"NATS/1.0\r\n\xff\xfe: \xff\r\n\r\n",
    "65,400 bytes": encode_headers({"X": "y" * (65_400 - 17)}),
    "all that there may be": encode_headers({"X": "y" * (HEADERS_MAX - 17)}),
    "many": encode_headers({f"X-{number}": "" for number in range(6_000)}),
}


@pytest.mark.parametrize("name", BLOCKS)
async def test_headers_of_any_bytes_are_an_order_or_one_letter(mesh: LocalMesh, broker: Broker, name: str) -> None:
    """With a body that is an order, and with one that is none."""
    await say(broker, hpub(b"orders.placed", BLOCKS[name], json.dumps(body()).encode()))
    await mesh.recorded(OrderPlaced, "o-1")
    await say(broker, hpub(b"orders.placed", BLOCKS[name], b"two pizzas"))
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Attempts"] == "1"
    assert letter.headers["Jetmesh-Service"] == "orders"
    await goes_on(mesh)
    assert await mesh.count("DEAD_LETTERS") == 1


async def test_a_letter_without_room_for_the_headers_says_that_they_are_left_out(
    mesh: LocalMesh, broker: Broker
) -> None:
    await say(broker, hpub(b"orders.placed", BLOCKS["65,400 bytes"], b"two pizzas"))
    (letter,) = await mesh.dead_letters(1)
    assert letter.data == b"two pizzas"
    assert "X" not in letter.headers
    assert int(letter.headers["Jetmesh-Omitted-Bytes"]) == 65_400


async def test_a_field_twice_behind_many_others_holds_nobody_up(mesh: LocalMesh) -> None:
    """Who looks through all of them for each of them looks for minutes, and answers nothing meanwhile."""
    await mesh.publish("orders.placed", BODIES["twice, behind many"])
    (letter,) = await mesh.dead_letters(1)
    assert '"a" stands twice' in letter.headers["Jetmesh-Reason"]
    await goes_on(mesh)


async def test_types_that_nobody_knows_cost_the_broker_one_question(mesh: LocalMesh, broker: Broker) -> None:
    """However many a stranger thinks of: the answer is the same, and nothing is kept for each."""
    asked: list[str] = []
    await mesh.context.connection.listen("$JS.API.CONSUMER.INFO.INTAKE.>", lambda subject, *_: asked.append(subject))
    await say(broker, *[pub(f"orders.stranger-{number}".encode(), b"{}") for number in range(200)])
    await mesh.dead_letters(200)
    assert len(asked) <= 10  # the watch over the durables asks as well, now and then
    await goes_on(mesh)


ATTRIBUTES = {
    "a lone surrogate": json.dumps(
        {"specversion": "1.0", "id": "\ud800", "type": "orders.placed", "source": "/", "data": body()}
    ).encode(),
    "a deep one": b'{"specversion":"1.0","id":' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    "a long id": json.dumps(
        {"specversion": "1.0", "id": "i" * 2_000, "type": "orders.placed", "source": "/", "data": body()}
    ).encode(),
    "a long list": json.dumps(
        {"specversion": "1.0", "id": ["i"] * 200_000, "type": "orders.placed", "source": "/", "data": body()}
    ).encode(),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
async def test_a_structured_event_of_any_kind_is_one_letter(mesh: LocalMesh, name: str) -> None:
    await mesh.publish("orders.placed", ATTRIBUTES[name], {"Content-Type": "application/cloudevents+json"})
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Attempts"] == "1"
    assert len(letter.headers["Jetmesh-Reason"]) <= 1_000
    await goes_on(mesh)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed delivery is delayed at the first pause that is not the shortest."""
    monkeypatch.setattr("jetmesh.runtime.failure_policy.NAK_SECONDS_MAX", 0.01)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("size", [SERVER_MAX, SERVER_MAX - 8, SERVER_MAX - 300])
async def test_a_cancellation_of_the_servers_limit_stops_nobody(
    mesh: LocalMesh, broker: Broker, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """One names no order, and is a letter at once. The other waits for its order, which is not there yet, and does not
    fit with where it came from beside it."""
    request = json.dumps({"order_id": "o-1", "reason": "changed_mind"}).encode()
    for data in (b"{}", request):
        await say(broker, pub(b"orders.cancellation_requested", data.ljust(size)))
    (letter,) = await mesh.dead_letters(1)
    assert "names no key" in letter.headers["Jetmesh-Reason"]
    await mesh.until(lambda: "not delayed" in caplog.text)
    await mesh.publish("orders.placed", body("o-next"))
    await mesh.recorded(OrderPlaced, "o-next")
    assert mesh.replicas[0].health.why_not == ""
    assert "maximum payload" not in broker.log.lower()
    await mesh.publish("orders.placed", body("o-1"))
    await mesh.until(lambda: _is_cancelled(mesh), within_seconds=60)


async def _is_cancelled(mesh: LocalMesh) -> bool:
    return "orders.cancelled" in await mesh.types("o-1")


@pytest.mark.usefixtures("at_once")
async def test_a_restock_of_the_servers_limit_waits_while_the_shelf_is_full(
    mesh_of: MeshOf, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = await mesh_of(inventory)
    await stream_takes(mesh, "INTAKE", max_msg_size=SERVER_MAX)
    await stream_takes(mesh, "INVENTORY", max_bytes=1)
    data = restocked("r-1", "cola", 7).model_dump_json().encode().ljust(SERVER_MAX - 8)
    await say(broker, pub(b"stock.restocked", data))
    await mesh.until(lambda: mesh.replicas[0].health.why_not == "")
    await mesh.until(lambda: "not delayed" in caplog.text)
    await stream_takes(mesh, "INVENTORY", max_bytes=-1)
    assert (await mesh.recorded(StockLevel, "cola", within_seconds=60)).available == 7
    await mesh.settled()
    assert await mesh.dead_letters() == []
    assert "maximum payload" not in broker.log.lower()


@pytest.mark.parametrize("room", [50, 300])
async def test_an_order_that_fits_and_whose_record_does_not_is_a_letter_that_names_the_sizes(
    tmp_path: Path, room: int
) -> None:
    """`max_payload` is a little above the order's body: the record's headers find no room, and the letter is cut."""
    line = body()["lines"][0]
    data = json.dumps(body(lines=[line] * 60), separators=(",", ":")).encode()
    settings = tmp_path / "nats-server.conf"
    settings.write_text(f"max_payload: {len(data) + room}\n")
    with Broker(tmp_path / "small", "-c", str(settings)) as broker:
        async with LocalMesh([orders], [Orders(PRICES)], {"NATS_URL": broker.url}) as mesh:
            await mesh.start(orders)
            await say(broker, pub(b"orders.placed", data))
            (letter,) = await mesh.dead_letters(1)
            assert f"max_payload of {len(data) + room}" in letter.headers["Jetmesh-Reason"]
            assert int(letter.headers["Jetmesh-Omitted-Bytes"]) > 0
            await goes_on(mesh)
        assert "maximum payload" not in broker.log.lower()


async def test_a_stream_of_dead_letters_that_takes_little_gets_a_letter_that_is_cut(mesh: LocalMesh) -> None:
    await stream_takes(mesh, "DEAD_LETTERS", max_msg_size=1_500)
    await mesh.publish("orders.placed", b"x" * 5_000, {"X": "y" * 5_000})
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Service"] == "orders"
    assert int(letter.headers["Jetmesh-Omitted-Bytes"]) > 8_000
    await goes_on(mesh)


async def test_while_the_dead_letters_are_full_what_shall_be_one_holds_nothing_up(
    mesh: LocalMesh, broker: Broker
) -> None:
    """More of it than the durable has slots; each is a letter as soon as there is room."""
    await stream_takes(mesh, "DEAD_LETTERS", max_bytes=2_000)
    info = await request(mesh.context.connection, "CONSUMER.INFO.INTAKE.orders-intake")
    few = {"stream_name": "INTAKE", "config": {**info["config"], "max_ack_pending": 20}, "action": "update"}
    await request(mesh.context.connection, "CONSUMER.DURABLE.CREATE.INTAKE.orders-intake", few, strict=True)
    await say(broker, *[pub(b"orders.placed", b"pizza number %d" % number) for number in range(60)])
    await mesh.publish("orders.placed", body("o-next"))
    await mesh.recorded(OrderPlaced, "o-next", within_seconds=60)
    await stream_takes(mesh, "DEAD_LETTERS", max_bytes=-1)
    await mesh.dead_letters(60, within_seconds=60)
    await goes_on(mesh)
    assert await mesh.count("DEAD_LETTERS") == 60


DUE: dict[str, tuple[dict[str, str], str]] = {
    "nothing": ({}, "names no reaction"),
    "numbers that are none": (
        {"Jetmesh-Reaction": "place", "Jetmesh-Sequence": "9" * 5_000, "Jetmesh-First-Time": "inf"},
        "",
    ),
    "a stream that is no name": ({"Jetmesh-Reaction": "place", "Jetmesh-Stream": "a b.>", "Jetmesh-Sequence": "1"}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", DUE)
async def test_what_comes_back_without_having_left_is_one_letter(mesh: LocalMesh, name: str) -> None:
    headers, reason = DUE[name]
    await mesh.publish("due.orders.x.y", b"two pizzas", headers)
    (letter,) = await mesh.dead_letters(1)
    assert reason in letter.headers["Jetmesh-Reason"]
    await goes_on(mesh)


@pytest.mark.parametrize("subject", ["due.orders.nope.INTAKE.1", "due.orders.nope.*.1", "due.orders.>.INTAKE.1"])
@pytest.mark.parametrize("since", ["", "99999999999"])
async def test_what_waits_for_a_version_that_never_comes_is_one_letter(
    mesh_of: MeshOf, broker: Broker, subject: str, since: str
) -> None:
    """Also where it says that it has waited since the year 5138, or goes back to what can't be a place."""
    mesh = await mesh_of(orders, dependencies=[Orders(PRICES)], JETMESH_UNKNOWN_SECONDS="1")
    headers = encode_headers({"Jetmesh-Unknown-Since": since} if since else {"X": "y"})
    await say(broker, hpub(subject.encode(), headers, b"{}"))
    (letter,) = await mesh.dead_letters(1)
    assert " no reaction " in letter.headers["Jetmesh-Reason"]
    assert not {"*", ">"} & set(letter.subject.split("."))
    await goes_on(mesh)


async def test_a_frame_that_surprises_costs_no_slot(mesh: LocalMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the runtime itself, before the reaction: the delivery is buried, and the lane stays open."""
    runner_accepts = "jetmesh.runtime.one_by_one.OneByOne.accept"

    def defect(*_: Any) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(runner_accepts, defect)
        await mesh.publish("orders.placed", body("o-1"))
        (letter,) = await mesh.dead_letters(1)
    assert "a defect" in letter.headers["Jetmesh-Reason"]
    await goes_on(mesh)


async def test_a_defect_between_two_attempts_leaves_no_delivery_in_hand(
    mesh: LocalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails where no attempt is under way comes again all the same."""
    failed: list[str] = []

    def defect(binding: Binding, delivery: RawDelivery) -> Attempt:
        if not failed:
            failed.append(delivery.subject)
            raise RuntimeError("a defect")
        return begin(binding, delivery)

    monkeypatch.setattr("jetmesh.runtime.handle.begin", defect)
    await mesh.publish("orders.placed", body("o-1"))
    await mesh.recorded(OrderPlaced, "o-1")
    assert failed == ["orders.placed"]
    await goes_on(mesh)


@pytest.mark.parametrize("answer", [b"no JSON", b"[]", b"{}", b'{"error": 7}', b'{"seq": "x"}', b"[" * 100_000])
async def test_an_answer_that_is_none_of_jetstreams_is_no_answer(mesh: LocalMesh, answer: bytes) -> None:
    """Somebody else takes the subject, and says what he likes."""
    stranger = mesh.context.connection
    await stranger.listen("odd", lambda _subject, reply, _headers, _data: stranger.send(reply, answer))
    with pytest.raises(Unknown):
        await mesh.context.publisher.record(Message("odd", b"", {}))


@pytest.mark.parametrize("seed", range(4))
async def test_messages_of_random_bytes_are_one_letter_each(mesh: LocalMesh, broker: Broker, seed: int) -> None:
    """Subjects, headers and bodies, each of bytes that a program would not write, or nearly what it would."""
    chance = random.Random(seed)
    commands = [_odd(chance) for _ in range(60)]
    await say(broker, *commands)
    await mesh.until(lambda: _are_letters(mesh, len(commands)), within_seconds=30)
    await goes_on(mesh)
    assert await mesh.count("DEAD_LETTERS") == len(commands)
    assert mesh.replicas[0].health.why_not == ""


async def _are_letters(mesh: LocalMesh, count: int) -> bool:
    return await mesh.count("DEAD_LETTERS") >= count


def _odd(chance: random.Random) -> bytes:
    """A message that is no order: one thing about it at least is wrong."""
    token = bytes(
        chance.choice([*range(0x01, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x80, 0x100)]) for _ in "ab"
    )
    subject = chance.choice([b"orders.placed", b"orders." + token, b"orders.cancellation_requested"])
    noise = chance.randbytes(chance.choice([0, 1, 30, 3_000]))
    data = chance.choice([noise, b"{" + noise, b'"' + noise.hex().encode() + b'"', b"[" * len(noise), b"{}"])
    if chance.random() < 0.4:
        return pub(subject, data)
    names = ["ce-id", "ce-type", "Jetmesh-Replay", "Jetmesh-Reaction", "traceparent", "Content-Type", "Status", ""]
    lines = [f"{chance.choice(names)}: ".encode() + noise.replace(b"\r\n", b"") + b"\r\n" for _ in range(3)]
    return hpub(subject, b"NATS/1.0\r\n" + b"".join(lines) + b"\r\n", data)


async def test_the_connection_refuses_what_the_server_would_end_it_for(broker: Broker) -> None:
    connection = Connection()
    await connection.open(broker.url, "test")
    lost = asyncio.Event()
    connection.on_reconnected(lost.set)
    too_large: list[dict[str, Any]] = [
        {"subject": "a", "data": b"x" * (SERVER_MAX + 1)},
        {"subject": "a", "data": b"x" * SERVER_MAX, "headers": b"NATS/1.0\r\n\r\n"},
        {"subject": "a", "data": b"", "headers": b"NATS/1.0\r\nX: " + b"y" * HEADERS_MAX + b"\r\n\r\n"},
        {"subject": "a" * 4_100, "data": b""},
        {"subject": "a" * 2_000, "data": b"", "reply": "b" * 2_100},
    ]
    for message in too_large:
        with pytest.raises(Exception, match=r"more than|longer than"):
            connection.send(**message)
    with pytest.raises(Exception, match="more than"):
        await connection.ask("a", b"x" * SERVER_MAX, headers=b"NATS/1.0\r\nX: y\r\n\r\n")
    await connection.flush()
    assert not lost.is_set()
    await connection.close()
