"""Dead letters in the browser: their groups, one whole, and what becomes of them."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from jetmesh.jetstream.api import delete_message
from jetmesh.jetstream.direct_get import DirectGet, Page
from jetmesh.operate.dead_letters import DeadLetter, DeadLetters
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate


class Tolls:
    """A mesh with dead letters, and a browser at its console."""

    def __init__(self, mesh: LocalMesh, bank: Bank, browser: httpx.AsyncClient) -> None:
        self.mesh, self.bank, self.browser = mesh, bank, browser

    async def letters(self) -> list[DeadLetter]:
        post = DeadLetters(self.mesh.context.connection, self.mesh.context.publisher)
        return [letter async for letter in post.all()]

    async def is_empty(self) -> bool:
        return not await self.letters()

    async def group(self) -> str:
        """The address of the only group."""
        page = (await self.browser.get("/mesh/letters")).text
        (found,) = set(re.findall(r'href="(/mesh/letters/groups/[0-9a-f]+)"', page))
        return str(found)


async def _tolls(mesh_of: MeshOf, console_of: ConsoleOf, cars: int, **settings: str) -> Tolls:
    bank, service = Bank(blacklist={f"car-{number}" for number in range(cars)}), tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(bank)])
    await asyncio.gather(*(mesh.record(CarArrived(plate=plate)) for plate in sorted(bank.blacklist)))
    await mesh.dead_letters(cars)
    return Tolls(mesh, bank, await console_of([service], **settings))


async def test_letters_are_grouped_by_reaction_error_and_place(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 3)
    await tolls.mesh.publish("cars.arrived.car-9", '{"plate": 7}')
    await tolls.mesh.dead_letters(4)
    page = (await tolls.browser.get("/mesh/letters")).text
    assert "4 letters in 2 groups" in page
    assert "Permanent: …: on the blacklist" in page
    assert "tests.support.tollgate:Bank.charge" in page
    broken = (await tolls.browser.get("/mesh/letters?text=BrokenContract")).text
    assert "1 letter in 1 group that fit" in broken
    alone = (await tolls.browser.get(re.findall(r"/mesh/letters/groups/[0-9a-f]+", broken)[0])).text
    assert re.findall(r">((?:Replay|Discard)[^<]*)</(?:button|summary)>", alone) == [
        "Replay it", "Discard it", "Discard 1"
    ]  # fmt: skip
    assert "No letter fits" in (await tolls.browser.get("/mesh/letters?reaction=orders")).text


async def test_a_letter_is_shown_whole_with_the_complaint_at_its_field(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 1)
    await tolls.mesh.publish("cars.arrived.car-9", '{"plate": 7, "more": "<b>\u202e"}', {"X-Mine": "<i>"})
    await tolls.mesh.dead_letters(2)
    refused, broken = await tolls.letters()
    page = (await tolls.browser.get(f"/mesh/letters/{broken.sequence}")).text
    assert re.search(r"<mark>\s+&#34;plate&#34;: 7,\s+<span class=\"complaint\">✗ Input should be a valid string", page)
    assert "&lt;b&gt;\\u202e" in page
    assert "<b>" not in page.partition("<main")[2]
    assert "&lt;i&gt;" in page
    page = (await tolls.browser.get(f"/mesh/letters/{refused.sequence}")).text
    assert [words for words in ("Traceback", "on the blacklist", "tollgate.py") if words not in page] == []


async def test_a_canary_goes_first_and_then_the_rest(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 12)
    group = await tolls.group()
    await send(tolls.browser, group, f"{group}/replay", count="1")

    async def came_back() -> bool:
        return "failed again after a replay" in (await tolls.browser.get("/mesh/letters")).text

    await until(came_back)
    tolls.bank.blacklist.clear()
    for count in ("10", "all"):
        await send(tolls.browser, group, f"{group}/replay", count=count)

        async def is_over() -> bool:
            return "under way" not in (await tolls.browser.get(group)).text

        await until(is_over)
    await asyncio.gather(*(tolls.mesh.recorded(TollPaid, f"car-{number}") for number in range(12)))
    await tolls.mesh.settled()
    assert len(tolls.bank.calls) == len(await tolls.letters()) + 12 + 12 + 1
    log = (await tolls.browser.get("/mesh/log.csv")).text.splitlines()
    assert len(log) == 1 + 13 + 2 * 3
    assert log[0].startswith("action,by,at,letter")
    entries = (await tolls.browser.get("/mesh/log.json")).json()
    ended = [each["batch"] for each in entries if each["action"] == "batch" and each["batch"]["state"] == "ended"]
    assert [(each["total"], each["succeeded"]) for each in ended] == [(1, 1), (10, 10), (2, 2)]


async def test_a_discard_needs_a_reason_which_the_log_keeps(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 2)
    (first, _), group = await tolls.letters(), await tolls.group()
    one = f"/mesh/letters/{first.sequence}"
    assert (await send(tolls.browser, one, f"{one}/discard", reason=" ")).status_code == 422
    await send(tolls.browser, one, f"{one}/discard", reason="a test car")
    await send(tolls.browser, group, f"{group}/discard", reason="=all of them")

    async def gone() -> bool:
        return not await tolls.letters()

    await until(gone)
    assert "a test car" in (await tolls.browser.get("/mesh/log")).text
    assert "'=all of them" in (await tolls.browser.get("/mesh/log.csv")).text
    answer = await tolls.browser.get(one)
    assert (answer.status_code, "discarded it at" in answer.text) == (404, True)


async def test_a_letter_is_edited_checked_and_replayed_as_a_new_event(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 0)
    await tolls.mesh.publish("cars.arrived.car-9", '{"plate": 7}')
    await tolls.mesh.dead_letters(1)
    (letter,) = await tolls.letters()
    one = f"/mesh/letters/{letter.sequence}"
    told = await send(tolls.browser, f"{one}/edit", f"{one}/edit", body='{"plate": null}', step="send")
    assert "plate: Input should be a valid string" in told.text
    told = await send(tolls.browser, f"{one}/edit", f"{one}/edit", body='{"plate": "car-9"}', step="check")
    assert '<span class="plus">+   &#34;plate&#34;: &#34;car-9&#34;' in told.text
    assert await tolls.letters() == [letter]
    await send(tolls.browser, f"{one}/edit", f"{one}/edit", body='{"plate": "car-9"}', step="send", reason="typing")
    await tolls.mesh.recorded(TollPaid, "car-9")
    assert await tolls.letters() == []
    (entry,) = await DeadLetters(tolls.mesh.context.connection, tolls.mesh.context.publisher).log()
    assert (entry.action, entry.note, json.loads(entry.body)) == ("edited", "typing", {"plate": "car-9"})
    (paid,) = [stored for stored in await tolls.mesh.story("car-9") if stored.type == "tolls.paid"]
    assert paid.headers["ce-causationid"] == entry.event_id


async def test_of_two_operators_who_edit_the_same_letter_one_is_told(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 1)
    (letter,) = await tolls.letters()
    tolls.bank.blacklist.clear()
    edit = f"/mesh/letters/{letter.sequence}/edit"
    other = await console_of(tolls.mesh.services)
    body = '{"plate": "car-0"}'
    answers = await asyncio.gather(
        *(send(browser, edit, edit, body=body, step="send") for browser in (tolls.browser, other))
    )
    await tolls.mesh.recorded(TollPaid, "car-0")
    await tolls.mesh.settled()
    assert sorted("as a new event." in answer.text for answer in answers) == [False, True]
    assert tolls.bank.calls == ["car-0", "car-0"]
    assert len(await DeadLetters(tolls.mesh.context.connection, tolls.mesh.context.publisher).log()) == 1


async def test_a_viewer_sees_letters_without_bodies_and_changes_nothing(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 1, token="o" * 32, viewer_token="v" * 32, hide_bodies="true")
    tolls.browser.headers["Authorization"] = f"Bearer {'v' * 32}"
    (letter,) = await tolls.letters()
    one = f"/mesh/letters/{letter.sequence}"
    page = (await tolls.browser.get(one)).text
    assert "hidden from viewers" in page
    assert '"plate"' not in page.replace("&#34;", '"')
    assert [(await tolls.browser.post(f"{one}/{act}")).status_code for act in ("replay", "discard", "edit")] == [
        403
    ] * 3
    assert (await tolls.browser.get(f"{one}/edit")).status_code == 403
    tolls.browser.headers["Authorization"] = f"Bearer {'o' * 32}"
    assert "&#34;plate&#34;" in (await tolls.browser.get(one)).text


async def test_a_discard_is_undone_while_its_message_is_there(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    tolls = await _tolls(mesh_of, console_of, 3)
    (first, second, _), group = await tolls.letters(), await tolls.group()
    one, other = (f"/mesh/letters/{letter.sequence}" for letter in (first, second))
    page = (await send(tolls.browser, one, f"{one}/discard", reason="a mistake")).text
    (undo,) = re.findall(r'action="(/mesh/log/\d+/undo)"', page)
    assert "is brought back" in (await send(tolls.browser, other, undo)).text
    assert "since it was discarded" in (await send(tolls.browser, other, undo)).text
    back = next(letter for letter in await tolls.letters() if letter.source == first.source)
    same = ("subject", "data", "reason", "traceback", "attempts", "last_time", "trace_id")
    assert [name for name in same if getattr(back, name) != getattr(first, name)] == []
    await send(tolls.browser, group, f"{group}/discard", reason="all")

    async def gone() -> bool:
        return not await tolls.letters() and "Undo: bring 3 back" in (await tolls.browser.get(group)).text

    await until(gone)
    await delete_message(tolls.mesh.context.connection, "CARS", second.position[1])
    (undo,) = set(re.findall(r'action="(/mesh/letters/batches/[0-9a-f]+/undo)"', (await tolls.browser.get(group)).text))
    await send(tolls.browser, group, undo)

    async def there() -> bool:
        return len(await tolls.letters()) == 2 and "brought back, " in (await tolls.browser.get(group)).text

    await until(there)
    page = (await tolls.browser.get(group)).text
    assert "2 of 3 brought back, 1 refused" in page
    assert f"CARS has no message {second.position[1]} any more" in page
    tolls.bank.blacklist.clear()
    await send(tolls.browser, group, f"{group}/replay", count="all")
    await tolls.mesh.recorded(TollPaid, "car-0")
    await until(tolls.is_empty)
    log = (await tolls.browser.get("/mesh/log")).text
    assert "about the letters of batches" in log
    log = (await tolls.browser.get("/mesh/log?all=yes")).text
    assert "undone" in log
    assert "its reaction has got the message again" in log


async def test_a_batch_that_was_cut_off_goes_on_and_sends_nothing_twice(
    mesh_of: MeshOf, console_of: ConsoleOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    tolls = await _tolls(mesh_of, console_of, 6)
    group = await tolls.group()
    tolls.bank.blacklist.clear()
    tolls.bank.calls.clear()
    first = await tolls.letters()
    remove = DeadLetters._write
    done = 0

    async def killed_in_the_third(post: DeadLetters, letter: DeadLetter, action: str, **more: Any) -> int:
        """The message is sent, and the console ends before the log has its entry."""
        nonlocal done
        done += 1
        if done == 3:
            raise asyncio.CancelledError
        return await remove(post, letter, action, **more)

    with monkeypatch.context() as patched:
        patched.setattr(DeadLetters, "_write", killed_in_the_third)
        await send(tolls.browser, group, f"{group}/replay", count="all")
        await asyncio.gather(*(tolls.mesh.recorded(TollPaid, f"car-{number}") for number in range(3)))
    monkeypatch.setattr("jetmesh.console.batches.SILENT_SECONDS", 0.0)
    other = await console_of(tolls.mesh.services)
    listed = (await other.get("/mesh/letters")).text
    assert "A batch was cut off: replay of 6 letters" in listed
    assert ">cut off<" in (await other.get(group)).text
    (go_on,) = set(re.findall(r'action="(/mesh/letters/batches/[0-9a-f]+/continue)"', (await other.get(group)).text))
    await send(other, group, go_on)
    await asyncio.gather(*(tolls.mesh.recorded(TollPaid, f"car-{number}") for number in range(6)))

    async def is_over() -> bool:
        return "5 of 6 replayed, 1 refused" in (await other.get(group)).text

    await until(is_over)
    assert sorted(tolls.bank.calls) == [f"car-{number}" for number in range(6)]
    (left,) = await tolls.letters()
    assert left.sequence == first[2].sequence
    assert "may have been sent" in (await other.get("/mesh/log")).text
    assert "This batch is over" in (await send(other, group, go_on)).text


async def test_letters_are_shown_while_they_are_read(
    mesh_of: MeshOf, console_of: ConsoleOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    tolls = await _tolls(mesh_of, console_of, 40)
    group = await tolls.group()
    monkeypatch.setattr("jetmesh.console.letters.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("jetmesh.console.letters.PAGE", 10)
    page, reading = DirectGet.page, asyncio.Event()
    asked: list[int] = []

    async def slow(reader: DirectGet, stream: str, subject: str, first: int, batch: int, *more: int) -> Page:
        if batch == 10:
            asked.append(first)
            if len(asked) == 3:
                await reading.wait()
        return await page(reader, stream, subject, first, batch, *more)

    monkeypatch.setattr(DirectGet, "page", slow)
    other = await console_of(tolls.mesh.services)

    async def half() -> bool:
        return "20 of 40 messages are read so far" in (await other.get("/mesh/letters")).text

    await until(half)
    assert "20 letters in 1 group:" in (await other.get("/mesh/letters")).text
    assert "Replay all 20" in (await other.get(group)).text
    reading.set()

    async def whole() -> bool:
        return "Replay all 40" in (await other.get(group)).text

    await until(whole)
    assert asked == [1, 11, 21, 31]
    await other.get("/mesh/letters")
    assert asked == [1, 11, 21, 31]


async def test_where_bodies_are_hidden_no_view_and_no_export_shows_one_to_a_viewer(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    operator, viewer = "o" * 32, "v" * 32
    tolls = await _tolls(mesh_of, console_of, 2, token=operator, viewer_token=viewer, hide_bodies="true")
    await tolls.mesh.publish("cars.arrived.car-9", '{"plate": "car-9", "note": "secret-of-ada"}')
    await tolls.mesh.recorded(TollPaid, "car-9")
    letters = await tolls.letters()
    bearer = {"Authorization": f"Bearer {operator}"}
    edited, kept = (f"/mesh/letters/{each.sequence}" for each in letters)
    mended = {"body": '{"plate": "car-0", "note": "secret-of-ada"}', "reason": "x", "step": "send"}
    seen = re.search(r'name="seen" value="(\d+)"', (await tolls.browser.get(f"{edited}/edit", headers=bearer)).text)
    assert seen
    await tolls.browser.post(f"{edited}/edit", data={**mended, "seen": seen[1]}, headers=bearer)
    paths = [
        "", "/letters", kept, f"{kept}/edit", "/log", "/log.csv", "/story", "/story?key=car-9",
        "/story?type=cars.arrived",
        "/messages/TOLLS/1", "/reactions/tolls/charge", "/streams", "/books?run=",
    ]  # fmt: skip
    for who, token in (("operator", operator), ("viewer", viewer)):
        found = []
        for path in paths:
            answer = await tolls.browser.get(
                f"/mesh{path.removeprefix('/mesh')}",
                headers={"Authorization": f"Bearer {token}"},
                follow_redirects=True,
            )
            assert answer.status_code in (200, 403), (path, answer.status_code)
            found += [path] if "secret-of-ada" in answer.text or "&#34;plate&#34;" in answer.text else []
        assert bool(found) == (who == "operator"), (who, found)
