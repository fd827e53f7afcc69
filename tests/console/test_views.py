"""The other views: stories, messages, streams with pause and resume, contracts, health."""

import re
from datetime import UTC, datetime

import httpx
import pytest

from jetmesh import Service
from jetmesh.console import body
from jetmesh.console.streams_view import behind
from jetmesh.console.waterfall import bars
from jetmesh.jetstream.api import request
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.span_record import SpanRecord
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh_contracts import OrderCancelled
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

SECOND = 1_000_000_000


async def _tolls(mesh_of: MeshOf, console_of: ConsoleOf, **settings: str) -> tuple[LocalMesh, httpx.AsyncClient]:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={"car-2"}))])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.recorded(TollPaid, "car-1")
    return mesh, await console_of([service], **settings)


async def test_the_story_of_a_key_has_its_events_and_each_message_its_body(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    _, browser = await _tolls(mesh_of, console_of)
    page = (await browser.get("/mesh/story", params={"key": "car-1"})).text
    (link,) = set(re.findall(r'href="(/mesh/messages/TOLLS/\d+)"', page))
    assert re.search(r"2 events, from <time datetime=", page)
    assert "tolls.paid" in page
    message = (await browser.get(link)).text
    assert "&#34;plate&#34;: &#34;car-1&#34;" in message
    assert "against the contract of tolls.paid" in message
    assert (await browser.get("/mesh/messages/TOLLS/99")).status_code == 404
    assert (await browser.get("/mesh/messages/SECRETS/1")).status_code == 404


@pytest.mark.parametrize("key", ["nobody", "a b", "*", "<b>&", "\u202eevil", "x" * 2_000], ids=range(6))
async def test_a_key_that_is_not_there_says_what_to_do(mesh_of: MeshOf, console_of: ConsoleOf, key: str) -> None:
    _, browser = await _tolls(mesh_of, console_of)
    answer = await browser.get("/mesh/story", params={"key": key})
    assert answer.status_code == 200
    assert [words for words in ("Nothing is recorded", "This is no key") if words in answer.text]
    assert "<b>&" not in answer.text


async def test_a_reaction_is_paused_and_resumed_and_the_log_says_who(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    mesh, browser = await _tolls(mesh_of, console_of)
    page = await send(browser, "/mesh/streams", "/mesh/streams/pause", reaction="tolls.charge", length="10 minutes")
    assert "rests until" in page.text
    assert "is paused on CARS until" in page.text.replace("<bdi>", "").replace("</bdi>", "")
    info = await request(mesh.context.connection, "CONSUMER.INFO.CARS.tolls-charge")
    assert info["paused"]
    await send(browser, "/mesh/streams", "/mesh/streams/resume", reaction="tolls.charge")
    assert not (await request(mesh.context.connection, "CONSUMER.INFO.CARS.tolls-charge")).get("paused")
    entries = await DeadLetters(mesh.context.connection, mesh.context.publisher).log()
    assert [(entry.action, entry.reaction) for entry in entries] == [
        ("paused", "tolls.charge"),
        ("resumed", "tolls.charge"),
    ]
    wrong = await send(browser, "/mesh/streams", "/mesh/streams/pause", reaction="tolls.nothing", length="1 hour")
    assert (wrong.status_code, "there is no reaction" in wrong.text) == (422, True)


async def test_contracts_have_fields_and_readers(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    _, browser = await _tolls(mesh_of, console_of)
    catalogue = (await browser.get("/mesh/contracts")).text
    assert ("/mesh/contracts/cars.arrived" in catalogue, "This broker keeps no contracts" in catalogue) == (True, True)
    page = (await browser.get("/mesh/contracts/cars.arrived")).text
    assert [words for words in ("A car stands before the gate", "plate", "tolls", "string") if words not in page] == []
    assert "What a change would break" in page
    assert (await browser.get("/mesh/contracts/cars.gone")).status_code == 404


async def test_health_says_what_it_finds(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    _, browser = await _tolls(mesh_of, console_of)
    assert "tolls is ready" in (await browser.get("/mesh/health")).text


async def test_a_viewer_sees_no_bodies_of_messages(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    _, browser = await _tolls(mesh_of, console_of, token="o" * 32, viewer_token="v" * 32, hide_bodies="true")
    browser.headers["Authorization"] = f"Bearer {'v' * 32}"
    page = (await browser.get("/mesh/messages/TOLLS/1")).text
    assert ("hidden from viewers" in page, "&#34;plate&#34;" in page) == (True, False)
    assert (await browser.post("/mesh/streams/pause")).status_code == 403


def test_idle_time_takes_little_room_and_is_said() -> None:
    events = [
        StoryEvent("a.began", datetime.fromtimestamp(0, UTC), "a", "A", 1, "1", "", ""),
        StoryEvent("a.ended", datetime.fromtimestamp(900, UTC), "a", "A", 2, "2", "1", ""),
    ]
    spans = [
        SpanRecord("t", "s1", "", "publish a.began", "producer", "a", 0, SECOND),
        SpanRecord("t", "s2", "s1", "publish a.ended", "producer", "a", 900 * SECOND, 901 * SECOND),
    ]
    first, second = bars(events, spans)
    assert (first.pause, second.pause) == ("", "15 min")
    assert first.width > 400
    assert second.x - first.width < 100
    assert (first.hue, bars(events, spans, (), ["b", "a"])[0].hue) == (1, 2)
    assert bars(events, []) != []
    assert bars([], []) == []


DEEP = b'{"plate": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@pytest.mark.parametrize(
    "data",
    [
        b'{"plate": "<b>\\u202e\x1b"}',
        b"{",
        b"\xff\xfe",
        b"",
        DEEP,
        b'{"plate": "' + b"x" * (1 << 20) + b'"}',
        b"[1, 2]",
        b'{"plate": {"a": 1}}',
    ],
    ids=["control", "broken", "no-utf8", "empty", "deep", "large", "a-list", "nested"],
)
def test_a_hostile_body_is_shown_whole_with_what_is_wrong(data: bytes) -> None:
    shown = body.shown(data, CarArrived)
    text = "\n".join(line.text for line in shown.lines)
    assert all(character.isprintable() or character == "\n" for character in text)
    if data.startswith(b'{"plate": "x'):
        assert "x" * (1 << 20) in text
    assert shown.complaints or any(line.complaint for line in shown.lines)
    assert len(body.difference(data, b"{}")) > 0
    assert isinstance(body.editable(data), str)


async def test_a_contract_has_its_releases_and_whom_the_removal_of_a_field_breaks(console_of: ConsoleOf) -> None:
    """The events of the reference mesh have releases and registered teams."""
    shop = Service("orders")

    @shop.on
    async def apologize(order: OrderCancelled) -> None:
        """An order was cancelled."""

    page = (await (await console_of([shop])).get("/mesh/contracts/orders.cancelled")).text
    assert "fulfilment@example.com" in page
    assert re.search(r"0\.1\.0</th><td>(the same|another one)", page)
    (row,) = re.findall(r"<tr><td class=\"id\"><code>reason</code>.*?</tr>", page, re.DOTALL)
    assert [whom for whom in ("orders", "fulfilment", "marketplace") if whom not in row] == []
    (row,) = re.findall(r"<tr><td class=\"id\"><code>order_id</code>.*?</tr>", page, re.DOTALL)
    assert "bookkeeping" not in row


def test_copies_that_are_away_or_behind_are_named() -> None:
    copies = [
        {"name": "n1", "current": True},
        {"name": "n2", "current": False},
        {"name": "n3", "current": False, "offline": True},
    ]
    assert behind({"cluster": {"leader": "n0", "replicas": copies}}) == ["n2 is behind", "n3 is away"]
    assert behind({"cluster": {"leader": "n0"}}) == behind({}) == []


def test_a_body_that_would_take_too_many_lines_is_edited_as_it_is_stored() -> None:
    assert body.editable(b'{"plate":"car-1"}') == '{\n  "plate": "car-1"\n}'
    wide = b"[" + b"0," * body.LINES_MAX + b"0]"
    assert body.editable(wide) == wide.decode()
