"""Messages of foreign streams in the console: found, shown, and what the app's reactions make of them."""

import json
import re
from pathlib import Path
from typing import Any

import httpx

from jetmesh import Service
from jetmesh.console.places import Places
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive.row import Row
from jetmesh.operate.foreign_messages import read_of_others
from jetmesh.testing import LocalMesh, MeshOf
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.plant import Alarm, Reading, alarming, measuring
from tests.support.tollgate import Bank, Gate, tollgate

SUBJECT = "telemetry.eu.plant7.line3.temp"


async def _plant(mesh_of: MeshOf, console_of: ConsoleOf, service: Service) -> tuple[LocalMesh, httpx.AsyncClient]:
    """Readings of which one raises an alarm and one is broken, beside what nobody listens to."""
    mesh = await mesh_of(service)
    for celsius in (21, 99):
        await _say(mesh, SUBJECT, {"celsius": celsius})
    await _say(mesh, "telemetry.eu.plant8.line1.temp", {"celsius": "<b>warm"})
    await mesh.dead_letters(1)
    await mesh.settled()
    return mesh, await console_of([service])


async def _say(mesh: LocalMesh, subject: str, body: dict[str, Any]) -> None:
    await mesh.publish(subject, json.dumps(body))


async def _search(browser: httpx.AsyncClient, **asked: str) -> tuple[list[str], str]:
    page = (await browser.get("/mesh/story", params=asked)).text
    (looked,) = re.findall(r"<strong>([\d,]+)</strong> messages", page)
    return re.findall(r'class="row" href="/mesh/([^"]+)"', page), looked


async def test_a_search_looks_into_foreign_streams_by_type_key_and_field(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    _, browser = await _plant(mesh_of, console_of, alarming())
    foreign = {"in": "others"}
    all_of_them = [f"messages/TELEMETRY/{sequence}" for sequence in (3, 2, 1)]
    assert await _search(browser, **foreign) == (all_of_them, "3")
    assert await _search(browser, about="plant7", **foreign) == (all_of_them[1:], "3")
    assert await _search(browser, type="climate.reading", about="plant7", **foreign) == (all_of_them[1:], "3")
    assert await _search(browser, path="celsius > 50", **foreign) == (["messages/TELEMETRY/2"], "3")
    assert await _search(browser, type="climate.alarm", **foreign) == ([], "0")
    rows, _ = await _search(browser, about="plant7")
    assert sorted(each.split("/")[1] for each in rows) == ["CLIMATE"] * 3 + ["TELEMETRY"] * 2
    assert await _search(browser, type="climate.reading", **{"in": "letters"}) == (["letters/1"], "1")


async def test_a_foreign_message_is_shown_with_what_each_reaction_makes_of_it(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    _, browser = await _plant(mesh_of, console_of, alarming())
    page = (await browser.get("/mesh/messages/TELEMETRY/2")).text
    assert [words for words in (SUBJECT, "climate.read", "?key=plant7") if words not in page] == []
    assert "&#34;line_id&#34;: &#34;line3&#34;" in page
    broken = (await browser.get("/mesh/messages/TELEMETRY/3")).text
    assert "celsius: Input should be a valid number" in broken
    assert "<b>warm" not in broken
    for nobodys in ("TELEMETRY/99", "SECRETS/1"):
        assert (await browser.get(f"/mesh/messages/{nobodys}")).status_code == 404


async def test_a_letter_about_a_foreign_message_is_held_against_its_decoder(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    mesh, browser = await _plant(mesh_of, console_of, alarming())
    page = (await browser.get("/mesh/letters/1")).text
    assert "celsius: Input should be a valid number" in page
    assert 'href="/mesh/messages/TELEMETRY/3"' in page
    edit = "/mesh/letters/1/edit"
    refused = await send(browser, edit, edit, step="send", body='{"celsius": "hot"}')
    assert "celsius: Input should be a valid number" in refused.text
    await send(browser, edit, edit, step="send", body='{"celsius": 90}', reason="a typing error")
    await mesh.settled()
    assert [each.celsius for each in await mesh.occurrences(Reading, "plant8")] == [90.0]
    assert [each.celsius for each in await mesh.occurrences(Alarm, "plant8")] == [90.0]


async def test_of_an_archive_that_apps_share_what_is_read_is_found_and_nothing_else(
    mesh_of: MeshOf, console_of: ConsoleOf, tmp_path: Path
) -> None:
    await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    _archive(tmp_path, "CARS cars.arrived", "CARS cars.sold", "SECRETS secrets.told")
    browser = await console_of([tollgate()], places=Places(archive=tmp_path))
    assert await _search(browser, about="car-7", **{"in": "archive"}) == (["messages/CARS/1"], "1")
    assert ">archive</span>" in (await browser.get("/mesh/messages/CARS/1")).text
    story = (await browser.get("/mesh/story?key=car-7")).text
    assert set(re.findall(r"/mesh/messages/([A-Z]+/\d)", story)) == {"CARS/1"}
    for kept_from_others in ("CARS/2", "SECRETS/3"):
        assert (await browser.get(f"/mesh/messages/{kept_from_others}")).status_code == 404


def _archive(folder: Path, *places: str) -> None:
    """Archive a message about one car for each stream and type."""
    named = [place.split() for place in places]
    rows = [
        Row("car-7", stream, number, number * 10**9, f"{name}.car-7", b"", b'{"plate": "car-7"}')
        for number, (stream, name) in enumerate(named, 1)
    ]
    archive = Archive(folder)
    with archive.held():
        archive.keep([(row, row.day) for row in rows])


async def test_bytes_are_shown_whatever_they_are(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    service = measuring()
    mesh = await mesh_of(service)
    await mesh.publish("pressure.raw.plant7", b"\x3f\xc0\x00\x00")
    await mesh.settled()
    browser = await console_of([service])
    page = (await browser.get("/mesh/messages/PRESSURE/1")).text
    assert "&#34;bar&#34;: 1.5" in page
    assert "\\xc0" in page


def test_what_is_read_of_others_is_named_by_stream() -> None:
    assert read_of_others([alarming()]) == {"TELEMETRY": ["telemetry.*.*.*.temp"]}
    assert read_of_others([tollgate()]) == {"CARS": ["cars.arrived.*"]}
