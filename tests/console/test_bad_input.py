"""Whatever stands in a stream is shown safely and whole, in a real browser: markup, control characters, text that runs
from right to left, a megabyte, broken and deep JSON, types that nobody knows."""

import csv
import io
import json
import re
from html import unescape
from urllib.parse import quote

import pytest

from jetmesh.console import body
from jetmesh.jetstream.api import request
from jetmesh.operate.dead_letters import KEPT_MAX, DeadLetter, DeadLetters
from jetmesh.testing import Broker, LocalMesh, MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.browser import PHONE, Browsing, require_accessible, require_no_sideways_scrolling
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

KEY = "<img/src=x/onerror=alert(1)>\u202e\u200bcar"
LARGE = 1_000_000
HOSTILE = {
    "markup": b'{"plate": "<script>alert(1)</script>", "__proto__": "{{7*7}}"}',
    "control": json.dumps({"plate": "\x1b[31m\0\x07\u202egnirts\u2066"}).encode(),
    "broken": b'{"plate": "car',
    "bytes": bytes(range(256)),
    "deep": b"[" * 10_000 + b"]" * 10_000,
    "large": b'{"plate": "' + b"x" * LARGE + b'"}',
    "wide": json.dumps(list(range(30_000))).encode(),
    "empty": b"",
}
SEEN = {
    "markup": '"<script>alert(1)</script>"',
    "control": "\\u202egnirts",
    "broken": '{"plate": "car',
    "bytes": "\\xff",
    "deep": "[" * 10_000 + "]" * 10_000,
    "large": "x" * LARGE,
    "wide": "29998, 29999]",
    "empty": "",
}


BODY = re.compile(r'<pre tabindex="0" aria-label="Body">(.*?)</pre>', re.DOTALL)
FORM = re.compile(r'<textarea id="body"[^>]*>\n(.*?)</textarea>', re.DOTALL)
CHANGES = re.compile(r'<pre tabindex="0" aria-label="What changes">(.*?)</pre>', re.DOTALL)
TAG = re.compile("<[^>]*>")


async def _mesh(mesh_of: MeshOf, key: str) -> tuple[LocalMesh, dict[str, DeadLetter]]:
    """A toll gate that gave up on all of them, and what is in its own stream without a type that anybody knows; the
    letters."""
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    for number, data in enumerate(HOSTILE.values()):
        headers = {"X-<b>": "\u202e<i>", "traceparent": "no trace"}
        await mesh.publish(f"cars.arrived.{key}{number or ''}", data, headers)
    await mesh.publish(f"tolls.<b>unknown.{KEY}", HOSTILE["markup"])
    await mesh.dead_letters(len(HOSTILE))
    letters = DeadLetters(mesh.context.connection, mesh.context.publisher)
    of = {letter.position[1]: letter async for letter in letters.all()}
    return mesh, {name: of[number] for number, name in enumerate(HOSTILE, 1)}


def _text(part: re.Pattern[str], page: str) -> str:
    """What a reader sees of this part of a page."""
    found = part.search(page)
    assert found, page[:2_000]
    return unescape(TAG.sub("", found[1]))


async def test_what_is_hostile_is_shown_safely_and_whole(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing
) -> None:
    _, letters = await _mesh(mesh_of, KEY)
    console, page = await console_of([tollgate()]), await browsing.page(size=PHONE)
    for number, (name, letter) in enumerate(letters.items(), 1):
        for path in (f"/mesh/messages/CARS/{number}", f"/mesh/letters/{letter.sequence}"):
            shown = _text(BODY, (await console.get(path)).text)
            assert SEEN[name] in shown, (name, path, shown[:200])
    one = f"/mesh/letters/{letters['markup'].sequence}"
    control, large = (f"/mesh/messages/CARS/{letters[name].position[1]}" for name in ("control", "large"))
    looked = ("/mesh/letters", one, control, large, f"/mesh/story?key={quote(KEY)}", "/mesh/messages/TOLLS/1")
    for path in (*looked, "/mesh/story?header=x"):
        await page.goto(f"{console.base_url}{path}")
        await page.wait_for_selector("h1")
        await require_no_sideways_scrolling(page)
        assert await page.locator("main img, main script, main b, main i").count() == 0
    await require_accessible(page)
    assert "\u202e" not in await page.locator("main").inner_text()


async def test_what_is_hostile_is_edited_compared_and_exported_whole(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    mesh, letters = await _mesh(mesh_of, "car-")
    console, sent = await console_of([tollgate()]), {}
    for name, letter in letters.items():
        edit, data = f"/mesh/letters/{letter.sequence}/edit", HOSTILE[name]
        assert _text(FORM, (await console.get(edit)).text) == body.editable(data)
        plate = letter.source.rpartition(".")[2]
        sent[letter.sequence] = json.dumps({"plate": plate, "more": f"={data.decode('utf-8', 'replace')}"})
        told = (await send(console, edit, edit, body=sent[letter.sequence], step="check")).text
        changes = _text(CHANGES, told)
        assert SEEN[name] in changes or "too long for a diff" in changes
        await send(console, edit, edit, body=sent[letter.sequence], step="send", reason="=<script>")
        await mesh.recorded(TollPaid, plate)
    log = {entry["letter"]: entry for entry in (await console.get("/mesh/log.json")).json()}
    assert {letter: entry["body"] for letter, entry in log.items()} == {
        letter: text[:KEPT_MAX] for letter, text in sent.items()
    }
    csv.field_size_limit(10 * KEPT_MAX)
    rows = list(csv.DictReader(io.StringIO((await console.get("/mesh/log.csv")).text, newline="")))
    assert {int(row["letter"]): (row["body"], row["note"]) for row in rows} == {
        letter: (text[:KEPT_MAX], "'=<script>") for letter, text in sent.items()
    }
    assert "<script>alert" not in (await console.get("/mesh/log")).text


async def test_a_story_comes_by_itself_once_the_broker_is_back(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, broker: Broker
) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.recorded(TollPaid, "car-1")
    page, console = await browsing.page(), await console_of([tollgate()])
    await page.goto(f"{console.base_url}/mesh/story?key=nobody")
    await page.get_by_text("Nothing is recorded about this key").wait_for()
    broker.kill()

    async def is_away() -> bool:
        return (await console.get("/mesh/story?key=car-1")).status_code == 503

    await until(is_away)
    with browsing.complaints.expected():
        await page.goto(f"{console.base_url}/mesh/story?key=car-1")
        await page.get_by_text("The mesh does not answer").wait_for()
        assert "is away" in await page.locator("main").inner_text()
        broker.start()
        await page.get_by_role("link", name="→ tolls.paid").wait_for()


async def test_a_stream_that_is_away_is_named_and_the_rest_is_shown(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    mesh, console = await mesh_of(tollgate(), dependencies=[Gate(Bank())]), await console_of([tollgate()])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.recorded(TollPaid, "car-1")
    await request(mesh.context.connection, "STREAM.DELETE.CARS")
    for path in ("/mesh/story", "/mesh/story?key=car-1"):
        page = (await console.get(path)).text
        assert "The stream CARS is not on the broker" in page
        assert "/mesh/messages/TOLLS/1" in page
    assert "✗ missing" not in (await console.get("/mesh/streams")).text.partition("Durables")[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_body_is_prepared_in_lines_that_hold_all_of_it(name: str) -> None:
    shown = body.shown(HOSTILE[name])
    assert SEEN[name] in "\n".join(line.text for line in shown.lines)
    assert len(shown.lines) <= body.LINES_MAX


def test_a_diff_of_two_long_bodies_is_made_at_once() -> None:
    old, new = (json.dumps([number * step for number in range(1_900)]).encode() for step in (3, 5))
    signs = [line.sign for line in body.difference(old, new)]
    assert {"+", "-", ""} == set(signs)
