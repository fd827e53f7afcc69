"""Dead letters are read, grouped, replayed to the failing reaction alone and discarded, and who did it is kept."""

import asyncio
import json
import os
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from jetmesh.commands.target import settings_of_target
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import delete_message, request
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.publisher import Publisher
from jetmesh.operate import replay
from jetmesh.operate.dead_letters import AlreadyHandled, DeadLetter, DeadLetters, Filter, grouped
from jetmesh.operate.replay import Unfit
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

EVERYTHING = Filter()
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def _letters(mesh: LocalMesh, which: Filter = EVERYTHING) -> list[DeadLetter]:
    return [letter async for letter in _post(mesh).all(which)]


def _post(mesh: LocalMesh) -> DeadLetters:
    return DeadLetters(mesh.context.connection, mesh.context.publisher, by="ada@desk")


async def _refuse(mesh: LocalMesh, bank: Bank, *plates: str) -> list[DeadLetter]:
    """Cars that the bank refuses for good: one dead letter each."""
    bank.blacklist |= set(plates)
    await asyncio.gather(*(mesh.record(CarArrived(plate=plate)) for plate in plates))
    await mesh.dead_letters(len(plates))
    return await _letters(mesh)


async def test_letters_fall_into_groups_by_reaction_and_reason_whatever_their_keys(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    await _refuse(mesh, bank, "car-1", "car-2", "car-3")
    await mesh.publish("cars.arrived.car-4", "not JSON")
    await mesh.dead_letters(4)
    groups = grouped(await _letters(mesh))
    assert [(group.reaction, group.count) for group in groups] == [("tolls.charge", 3), ("tolls.charge", 1)]
    assert groups[0].kind == "Permanent: …: on the blacklist"
    assert groups[1].kind.startswith("BrokenContract: ")
    assert len(await _letters(mesh, Filter("tolls.charge", "blacklist"))) == 3
    assert len(await _letters(mesh, Filter("tolls", "brokencontract"))) == 1
    assert await _letters(mesh, Filter("tolls.other")) == []


async def test_more_letters_than_a_page_are_all_read(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    letters = await _refuse(mesh, bank, *(f"car-{number}" for number in range(600)))
    assert len({letter.sequence for letter in letters}) == 600


async def test_a_replay_reaches_its_reaction_with_identity_and_trace_and_leaves_the_list(mesh_of: MeshOf) -> None:
    bank = Bank(blacklist={"car-1"})
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    headers = {"ce-specversion": "1.0", "ce-id": "id-1", "ce-type": "cars.arrived", "ce-source": "/test",
               "traceparent": TRACEPARENT}  # fmt: skip
    await mesh.publish("cars.arrived.car-1", CarArrived(plate="car-1").model_dump_json(), headers)
    await mesh.dead_letters(1)
    (letter,) = await _letters(mesh)
    assert (letter.trace_id, letter.source, letter.attempts) == (TRACEPARENT[3:35], "cars.arrived.car-1", 1)
    assert letter.original == headers
    bank.blacklist.clear()
    await _post(mesh).replay(letter)
    await mesh.recorded(TollPaid, "car-1")
    (paid,) = [stored for stored in await mesh.story("car-1") if stored.type == "tolls.paid"]
    assert paid.headers["ce-causationid"] == "id-1"
    assert await _letters(mesh) == []
    (entry,) = await _post(mesh).log()
    assert (entry.action, entry.by, entry.letter) == ("replayed", "ada@desk", letter.sequence)


async def test_a_replay_that_fails_again_is_a_new_letter(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (first,) = await _refuse(mesh, bank, "car-1")
    for _ in range(3):
        (letter,) = await _letters(mesh)
        await _post(mesh).replay(letter)

        async def again(old: int = letter.sequence) -> bool:
            return [one.sequence > old for one in await _letters(mesh)] == [True]

        await until(again)
    (last,) = await _letters(mesh)
    assert (last.source, last.position, last.data) == (first.source, first.position, first.data)


async def test_a_replay_that_fails_before_its_letter_is_removed_is_not_lost(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    found = await replay.original(mesh.context.connection, letter.subject, letter.headers, letter.data)
    origin = await replay.reader(mesh.context.connection, letter.subject, found)
    again = replay.again(letter.sequence, origin, found, letter.traceparent)
    await mesh.context.publisher.record(again, limited=False)
    both = await until(lambda: _two(mesh))
    await _post(mesh).discard(letter)
    assert [one.sequence for one in await _letters(mesh)] == [both[1].sequence]


async def _two(mesh: LocalMesh) -> list[DeadLetter]:
    letters = await _letters(mesh)
    return letters if len(letters) == 2 else []


async def test_a_replay_of_what_was_handled_meanwhile_does_nothing(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    bank.blacklist.clear()
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.recorded(TollPaid, "car-1")
    await _post(mesh).replay(letter)
    await mesh.settled()
    assert await mesh.count("TOLLS") == 1
    assert await _letters(mesh) == []


async def test_two_replays_of_one_letter_at_once_are_one(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    bank.blacklist.clear()
    await asyncio.gather(_post(mesh).replay(letter), _post(mesh).replay(letter))
    await mesh.recorded(TollPaid, "car-1")
    await mesh.settled()
    assert await mesh.count("TOLLS") == 1
    assert await _letters(mesh) == []


async def test_a_replay_waits_for_the_delivery_that_became_its_letter(mesh_of: MeshOf) -> None:
    bank = Bank()
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    bank.blacklist.clear()
    await mesh.stop(service)
    found = await replay.original(mesh.context.connection, letter.subject, letter.headers, letter.data)
    origin = await replay.reader(mesh.context.connection, letter.subject, found)
    before = replay.again(letter.sequence - 1, origin, found, letter.traceparent)
    unsettled = await mesh.context.publisher.record(before, limited=False)
    with pytest.raises(Unavailable, match=f"letter {letter.sequence} is not settled yet: replay it again"):
        await _post(mesh).replay(letter)
    with pytest.raises(AlreadyHandled, match="the edit was not sent"):
        await _post(mesh).edit(letter, b'{"plate": "car-1", "note": "mended"}', 0)
    assert [entry.action for entry in await _post(mesh).log()] == ["edited", "refused"]
    assert await _letters(mesh) == [letter]
    replaying = asyncio.create_task(_post(mesh).replay(letter))
    await delete_message(mesh.context.connection, "TOLLS_TIMERS", unsettled)
    await replaying
    assert await _letters(mesh) == []
    await mesh.start(service)
    await mesh.recorded(TollPaid, "car-1")


@pytest.mark.parametrize("killed_at", ["record", "_delete"], ids=["before it is sent", "after it was sent"])
async def test_an_edit_that_was_cut_off_is_done_again_and_recorded_once(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    bank.blacklist.clear()
    body = b'{"plate": "car-1", "note": "mended"}'

    record = Publisher.record

    async def killed(publisher: Publisher, message: Message, **more: Any) -> int:
        if message.data == body:
            raise asyncio.CancelledError
        return await record(publisher, message, **more)

    async def killed_afterwards(*_: object) -> None:
        raise asyncio.CancelledError

    post = _post(mesh)
    with monkeypatch.context() as patched:
        if killed_at == "record":
            patched.setattr(Publisher, "record", killed)
        else:
            patched.setattr(DeadLetters, "_delete", killed_afterwards)
        with pytest.raises(asyncio.CancelledError):
            await post.edit(letter, body, 0)
    if killed_at == "_delete":
        await mesh.recorded(TollPaid, "car-1")
    assert await _letters(mesh) == [letter]
    seen = await post.last_entry(letter)
    event_id = await post.edit(letter, body, seen)
    await mesh.recorded(TollPaid, "car-1")
    await mesh.settled()
    (paid,) = [stored for stored in await mesh.story("car-1") if stored.type == "tolls.paid"]
    assert paid.headers["ce-causationid"] == event_id
    assert (await mesh.count("TOLLS"), await _letters(mesh)) == (1, [])


async def test_the_command_shows_where_an_error_was_raised(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    frame = "tests.support.tollgate:Bank.charge"
    _, shown = await _dlq(mesh, "show", str(letter.sequence))
    expected = (frame, "Traceback (most recent call last)", "on the blacklist")
    assert [words for words in expected if words not in shown.decode()] == []
    _, listed = await _dlq(mesh, "list", "--json")
    assert [group["raised_in"] for group in json.loads(listed)] == [frame]


async def test_a_discarded_letter_is_gone_and_the_record_says_who_did_it(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    assert await _post(mesh).one(letter.sequence) == letter
    await _post(mesh).discard(letter)
    assert await _post(mesh).one(letter.sequence) is None
    assert [(entry.action, entry.source) for entry in await _post(mesh).log()] == [("discarded", letter.source)]


def test_a_command_finds_the_mesh_that_runs_here_and_nats_url_goes_before_it(tmp_path: Path) -> None:
    arguments = ["-s", "tls://127.0.0.1:9", "--nkey", "operator.nk", "--tlsca", "ca.pem"]
    (tmp_path / "endpoints.json").write_text(json.dumps({"nats_args": arguments}))
    here = settings_of_target({"JETMESH_STATE": str(tmp_path)})
    found = here.settings
    assert (found.nats_url, found.nats_nkey_seed, found.nats_tls_ca) == ("tls://127.0.0.1:9", "operator.nk", "ca.pem")
    assert here.found == f"the mesh in {tmp_path}"
    named = settings_of_target({"JETMESH_STATE": str(tmp_path), "NATS_URL": "nats://b:1"})
    assert (named.settings.nats_url, named.found) == ("nats://b:1", "NATS_URL")


async def test_the_command_asks_before_it_discards_and_wants_to_know_which(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    assert (await _dlq(mesh, "discard"))[0] == 2
    assert (await _dlq(mesh, "discard", "--all"))[0] == 1
    assert [one.sequence for one in await _letters(mesh)] == [letter.sequence]
    status, output = await _dlq(mesh, "discard", str(letter.sequence), "--yes", "--json")
    assert (status, json.loads(output)["discarded"]) == (0, 1)
    assert await _letters(mesh) == []


async def test_a_discard_is_undone_by_the_command_as_in_the_console(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    first, second = await _refuse(mesh, bank, "car-1", "car-2")
    assert (await _dlq(mesh, "discard", "--all", "--yes", "--why", "test cars"))[0] == 0
    status, output = await _dlq(mesh, "undo", str(first.sequence), "99", "--json")
    assert (status, json.loads(output)["brought_back"]) == (1, 1)
    (back,) = await _letters(mesh)
    assert (back.subject, back.data, back.reason) == (first.subject, first.data, first.reason)
    status, output = await _dlq(mesh, "undo", "--reason", "blacklist")
    assert (status, b"1 letter brought back" in output) == (0, True)
    assert {one.subject for one in await _letters(mesh)} == {first.subject, second.subject}
    done = [(entry.action, entry.note, entry.letter, bool(entry.undoes)) for entry in await _post(mesh).log()]
    assert done == [
        *[("discarded", "test cars", letter.sequence, False) for letter in (first, second)],
        *[("brought back", "", letter.sequence, True) for letter in (first, second)],
    ]
    assert await _post(mesh).discards() == {}


async def test_what_the_log_would_undo_is_told_before_it_is_done(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (letter,) = await _refuse(mesh, bank, "car-1")
    await _post(mesh).discard(letter)
    assert list(await _post(mesh).discards(Filter("tolls.charge", "BLACKLIST"))) == [letter.sequence]
    assert await _post(mesh).discards(Filter("tolls.note")) == {}
    status, output = await _dlq(mesh, "undo", "--all", "--dry-run")
    assert (status, b"1 letter would be brought back" in output) == (0, True)
    assert await _letters(mesh) == []


async def _dlq(mesh: LocalMesh, *arguments: str) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jetmesh", "dlq", *arguments),
        env={**os.environ, **mesh.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output


FORGED: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "another reaction's": ({"Jetmesh-Service": "payments", "Jetmesh-Reaction": "capture"}, {}, "is tolls: the letter"),
    "another subject's": ({"Jetmesh-Subject": "orders.confirmed.o-1"}, {}, "it is cars.arrived.car-1: the letter"),
    "of another body": ({}, {"data": b'{"plate": "car-2"}'}, "its body is not that of CARS 1"),
    "cut to something else": ({"Jetmesh-Omitted-Bytes": "2"}, {"data": b"no"}, "its body is not that of CARS 1"),
    "of a message that is not there": ({}, {"subject": "dead.tolls.charge.CARS.99"}, "CARS has no message 99"),
    "of a stream that is not there": ({}, {"subject": "dead.tolls.charge.BOATS.1"}, "BOATS has no message 1"),
    "of what the reaction does not read": ({}, {"subject": "dead.tolls.note.CARS.1"}, "does not read cars.arrived"),
    "without a place": ({}, {"subject": "dead.tolls.charge"}, "is not the subject of a dead letter"),
    "with a place that is none": ({}, {"subject": "dead.tolls.charge.CARS.²"}, "is not the subject of a dead letter"),
}  # fmt: skip


@pytest.mark.parametrize("how", FORGED)
async def test_a_letter_that_is_not_about_the_message_it_names_is_refused(mesh_of: MeshOf, how: str) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (honest,) = await _refuse(mesh, bank, "car-1")
    headers, changes, words = FORGED[how]
    subject = changes.get("subject", honest.subject)
    said = {**honest.headers, "Jetmesh-Reaction": subject.split(".")[2], **headers}
    bank.blacklist.clear()
    with pytest.raises(Unfit, match=words):
        await _post(mesh).replay(DeadLetter(honest.sequence, subject, said, changes.get("data", honest.data)))
    assert bank.calls == ["car-1"]
    assert await mesh.count("TOLLS_TIMERS") == 0


async def test_the_command_leaves_a_forged_letter_and_replays_the_others(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    await _refuse(mesh, bank, "car-1")
    headers = {"Jetmesh-Service": "payments", "Jetmesh-Reaction": "capture", "Jetmesh-Subject": "orders.confirmed.o-1"}
    await mesh.publish("dead.tolls.charge.CARS.7", "{}", headers)
    bank.blacklist.clear()
    status, output = await _dlq(mesh, "replay", "--all", "--json")
    assert (status, json.loads(output)["replayed"]) == (1, 1)
    await mesh.recorded(TollPaid, "car-1")
    (left,) = await _letters(mesh)
    assert (left.service, left.reaction, left.position) == ("tolls", "tolls.charge", ("CARS", 7))


async def test_a_letter_that_was_cut_is_replayed_whole(mesh_of: MeshOf) -> None:
    bank = Bank()
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    (whole,) = await _refuse(mesh, bank, "car-1")
    cut = DeadLetter(whole.sequence, whole.subject, {**whole.headers, "Jetmesh-Omitted-Bytes": "9"}, whole.data[:-9])
    bank.blacklist.clear()
    await _post(mesh).replay(cut)
    assert (await mesh.recorded(TollPaid, "car-1")).plate == "car-1"


async def test_what_a_stranger_says_about_the_mesh_is_not_believed(mesh_of: MeshOf) -> None:
    """Neither that his message is a replay, nor that it was cut, nor which trace it belongs to; delayed or not."""
    bank = Bank(blacklist={"car-1"})
    mesh = await mesh_of(tollgate(watches=True), dependencies=[Gate(bank)])
    said = {
        "Jetmesh-Replay": "1", "jetmesh-replay": "1", "Jetmesh-Omitted-Bytes": "5", "Jetmesh-Traceparent": TRACEPARENT,
        "Jetmesh-Attempts": "7", "Jetmesh-Reaction": "none", "Nats-Expected-Stream": "CARS", "x-of-his-own": "stays",
    }  # fmt: skip
    await mesh.publish("cars.arrived.car-1", CarArrived(plate="car-1").model_dump_json(), said)
    await mesh.dead_letters(1)
    (letter,) = await _letters(mesh)
    assert letter.original == {"x-of-his-own": "stays"}
    assert (letter.attempts, letter.reaction, letter.trace_id) == (1, "tolls.charge", "")
    assert not {"Jetmesh-Replay", "jetmesh-replay", "Jetmesh-Omitted-Bytes"} & letter.headers.keys()
    last = {"seq": 1, "next_by_subj": "timers.tolls.note.CARS.1.*"}
    kept = await request(mesh.context.connection, "STREAM.MSG.GET.TOLLS_TIMERS", last)
    headers = b64decode(kept["message"]["hdrs"])
    assert b"x-of-his-own" in headers
    assert b"replay" not in headers.lower()
    assert b"Omitted" not in headers
