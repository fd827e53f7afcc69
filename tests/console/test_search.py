"""Searching: by type, key, header, field of the body, trace and time, in streams, dead letters and archive."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive.row import Row
from jetmesh.operate.archive_place import ArchivePlace
from jetmesh.operate.json_path import Condition, WrongPath
from jetmesh.operate.message_search import SearchPart, Wanted, search
from jetmesh.testing import LocalMesh, MeshOf
from tests.console.conftest import ConsoleOf
from tests.support.browser import Browsing, require_accessible
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

DOCUMENT = {"total": 1200, "city": "Kiel", "lines": [{"sku": "mug"}, {"sku": "cup", "n": 2}], "a.b": None, "ok": True}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("total", [1200]),
        ("$.total >= 1000", [1200]),
        ('$.city == "Kiel"', ["Kiel"]),
        ("total < 1000", []),
        ('lines[*].sku = "cup"', ["cup"]),
        ("lines[*].sku != cup", ["mug"]),
        ("lines[0].sku", ["mug"]),
        ("lines[7].sku", []),
        ("lines[*].n", [2]),
        ("city ~ IE", ["Kiel"]),
        ("city > 3", []),
        ('["a.b"] = null', [None]),
        ("ok = true", [True]),
        ("*", [1200, "Kiel", DOCUMENT["lines"], None, True]),
    ],
    ids=range(14),
)
def test_a_condition_finds_the_values_at_its_path(text: str, values: list[Any]) -> None:
    assert Condition.parse(text).found_in(DOCUMENT) == values


@pytest.mark.parametrize("text", ["", "= 1", "a b", "a[", "a[x]", "a..b", "x" * 501], ids=range(7))
def test_what_is_no_condition_says_how_to_write_one(text: str) -> None:
    with pytest.raises(WrongPath, match="write a path"):
        Condition.parse(text)


async def _cars(
    mesh_of: MeshOf, console_of: ConsoleOf, count: int, **settings: str
) -> tuple[LocalMesh, httpx.AsyncClient]:
    """Cars of which the last is refused, on the broker."""
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={f"car-{count}"}))])
    await asyncio.gather(*(mesh.record(CarArrived(plate=f"car-{number}")) for number in range(1, count + 1)))
    await asyncio.gather(*(mesh.recorded(TollPaid, f"car-{number}") for number in range(1, count)))
    await mesh.dead_letters(1)
    return mesh, await console_of([service], **settings)


async def _search(browser: httpx.AsyncClient, **asked: str | list[str]) -> str:
    answer = await browser.get("/mesh/story", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.text


def _rows(page: str) -> list[str]:
    return re.findall(r'class="row" href="/mesh/([^"]+)"', page)


async def test_messages_are_found_by_each_field_and_where_they_are(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    mesh, browser = await _cars(mesh_of, console_of, 4)
    assert len(_rows(await _search(browser))) == 3 + 4 + 1
    assert len(_rows(await _search(browser, type="cars.arrived", **{"in": "others"}))) == 4
    (other,) = _rows(await _search(browser, about="car-2", **{"in": "others"}))
    assert other.startswith("messages/CARS/")
    assert "against the contract of cars.arrived" in (await browser.get(f"/mesh/{other}")).text
    assert len(_rows(await _search(browser, type="tolls.paid"))) == 3
    assert _rows(await _search(browser, path="plate = car-2", type="tolls.paid")) == _rows(
        await _search(browser, about="car-2", **{"in": "streams"})
    )
    assert "letters/1" in _rows(await _search(browser, path="plate ~ CAR-4"))
    assert _rows(await _search(browser, header="jetmesh-reason: blacklist")) == ["letters/1"]
    assert _rows(await _search(browser, header="ce-id: nothing")) == []
    assert _rows(await _search(browser, **{"in": "letters"})) == ["letters/1"]
    assert _rows(await _search(browser, about="car-4", **{"in": "streams"})) == []
    await mesh.publish("cars.arrived.car-9", "{}", {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
    await mesh.dead_letters(2)
    assert _rows(await _search(browser, trace="AB" * 16, **{"in": ["letters", "archive"]})) == ["letters/2"]


async def test_a_search_in_time_looks_at_what_is_in_it(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    mesh, browser = await _cars(mesh_of, console_of, 4)
    times = sorted(datetime.fromisoformat(stored.time) for stored in await mesh.story("car-1"))
    assert "Looked at all <strong>0</strong>" in await _search(browser, until=times[0].isoformat())
    assert "Looked at all <strong>8</strong>" in await _search(browser, since="1h")
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert "Looked at all <strong>0</strong>" in await _search(browser, since=later)
    assert "Looked at all <strong>8</strong>" in await _search(browser, until=later)


async def test_a_search_goes_on_until_all_was_looked_at_and_says_how_much(
    mesh_of: MeshOf, console_of: ConsoleOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetmesh.operate.message_search.LOOKED_MAX", 5)
    monkeypatch.setattr("jetmesh.operate.message_search.PAGE", 3)
    monkeypatch.setattr("jetmesh.operate.message_search.WINDOW", 2)
    _, browser = await _cars(mesh_of, console_of, 13)
    found, looked, path = list[str](), list[str](), "/mesh/story?path=plate"
    while path:
        page = (await browser.get(path)).text
        found += _rows(page)
        looked += re.findall(r"<strong>([^<]+)</strong> messages", page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = f"/mesh/story{following[1].replace('&amp;', '&')}" if following else ""
    assert looked == ["5 of 26", "10 of 26", "15 of 26", "20 of 26", "25 of 26", "26"]
    assert len(found) == len(set(found)) == 26


WRONG = (
    ("path", "a b", "field of the body: write a path"),
    ("trace", "12", "trace id: write 32"),
    ("since", "yesterday", "from: write 2026"),
    ("since", "999999999d", "from: write 2026"),
    ("since", "0001-01-01T00:00+14:00", "from: write 2026"),
    ("until", "9" * 400, "to: write 2026"),
    ("about", "a*", "key: it has no"),
    ("type", "a b", "type: it has no"),
    ("header", ": shop", "header: write its name"),
    ("header", "<b>\u202e", "Looked at all"),
    ("at", "x,-1,99999999999999999999999", "Looked at all"),
    ("looked", "x", "Looked at all"),
    ("at", ",".join(["9" * 30] * 5), "Looked at all"),
)


async def test_a_field_that_cant_be_read_is_named(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    _, browser = await _cars(mesh_of, console_of, 1)
    for name, text, words in WRONG:
        page = await _search(browser, **{name: text})
        assert (text, words in page, "<b>\u202e" in page) == (text, True, False)


async def test_a_viewer_who_sees_no_bodies_does_not_search_in_them(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    _, browser = await _cars(mesh_of, console_of, 1, token="o" * 32, viewer_token="v" * 32, hide_bodies="true")
    browser.headers["Authorization"] = f"Bearer {'v' * 32}"
    for name in ("path", "header"):
        answer = await browser.get("/mesh/story", params={name: "plate"})
        assert (answer.status_code, "hidden from viewers" in answer.text) == (403, True)
    form = await _search(browser)
    assert re.findall(r'name="(\w+)"[^>]*placeholder="hidden from viewers" disabled', form) == ["header", "path"]
    assert len(_rows(await _search(browser, about="car-1", **{"in": "letters"}))) == 1


async def test_a_search_goes_on_by_itself_is_stopped_and_kept_under_a_name(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetmesh.operate.message_search.LOOKED_MAX", 3)
    _, console = await _cars(mesh_of, console_of, 12)
    page = await browsing.page()
    await page.goto(f"{console.base_url}/mesh/story")
    await page.fill('[name="path"]', "plate ~ car")
    await page.click('form[data-saved] button:has-text("Find")')
    await page.locator("#looked").filter(has_text="3 of 24").wait_for()
    await page.click("#look-on")
    await page.locator("#looked").filter(has_text="all 24").wait_for()
    assert await page.locator("tbody tr").count() == 24
    await require_accessible(page)
    await page.fill("#save-name", "my cars")
    await page.click("#save")
    await page.goto(f"{console.base_url}/mesh/story")
    await page.click('.saved a:has-text("my cars")')
    assert await page.input_value('[name="path"]') == "plate ~ car"
    await page.click('.saved button[aria-label="Forget my cars"]')
    await page.reload()
    assert await page.locator(".saved a").count() == 0


async def test_the_archive_is_searched_too_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetmesh.operate.message_search.HITS_MAX", 2)
    monkeypatch.setattr("jetmesh.operate.archive_place.PAGE", 3)
    archive = Archive(tmp_path / "archive")
    second = 1_000_000_000
    rows = [
        Row(f"car-{number}", "TOLLS", number, (10 + number // 3) * second, f"tolls.paid.car-{number}", b"", b'{"n": 1}')
        for number in range(1, 9)
    ]
    with archive.held():
        archive.keep([(row, row.day) for row in rows])
    found, at, looked = list[int](), "", list[str]()
    wanted = Wanted(type="tolls.paid", path=Condition.parse("n = 1"), until=datetime.fromtimestamp(12, UTC))
    part = SearchPart(goes_on=[""])
    while part.goes_on:
        part = await search([ArchivePlace(archive, wanted, at)], wanted, part.looked, _never)
        found += [hit.message.sequence for hit in part.hits]
        looked.append(f"{part.looked} of {part.total}")
        at = part.goes_on[0] if part.goes_on else ""
    assert (found, looked) == ([5, 4, 3, 2, 1], ["2 of 5", "4 of 5", "5 of 5"])
    assert archive.at("TOLLS", 4) == rows[3]
    assert archive.at("TOLLS", 9) is None
    one = await search([ArchivePlace(archive, Wanted(key="car-6"), "<b>")], Wanted(key="car-6"), 0, _never)
    assert [hit.message.sequence for hit in one.hits] == [6]


async def _never() -> bool:
    return False
