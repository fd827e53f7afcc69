"""Where bodies are hidden from viewers, no answer of the console repeats what a body, a header or an error says."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from jetmesh import EventModel, Permanent, Service, Token
from jetmesh.console import app
from jetmesh.console.effects import KeyStory, SideEffect, SideEffects
from jetmesh.console.letters import LetterKind
from jetmesh.console.places import Places
from jetmesh.console.state import warnings
from jetmesh.http import Assets
from jetmesh.local.state import StateFolder
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.operate.span_record import CONVERSATION_ID
from jetmesh.operate.span_store import TraceWriter
from jetmesh.telemetry.spans import OUTCOME
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.console.forms import send

TRACE = "ab" * 16
PLACE = {"messaging.nats.stream.name": "NOTES", "messaging.nats.message.stream_sequence": "1"}
SECRET = "salmon-in-aspic"
OPERATOR, VIEWER = "o" * 32, "v" * 32


class NoteWritten(EventModel, type="notes.written", owner="notes", key_field="note_id"):
    """Somebody wrote something personal."""

    note_id: Token
    words: str


class NoteKept(EventModel, type="safe.kept", owner="safe", key_field="note_id"):
    """It is kept."""

    note_id: Token
    words: str


def safe() -> Service:
    """A service whose errors repeat what it was told."""
    service = Service("safe")

    @service.on
    async def keep(note: NoteWritten) -> NoteKept:
        """A note was written: keep it, unless it is a bad one."""
        if note.note_id.startswith("bad"):
            raise Permanent(f"these words can't be kept: {note.words}")
        return NoteKept(note_id=note.note_id, words=note.words)

    return service


ADDRESSES = {
    "/": "/",
    "/mesh/livez": "/mesh/livez",
    "/assets/{digest}/{name:path}": "",
    "/mesh": "/mesh",
    "/mesh/at": "/mesh/at",
    "/mesh/live": "",
    "/mesh/reactions/{service}/{name}": "/mesh/reactions/safe/keep",
    "/mesh/letters": "/mesh/letters?text={secret}",
    "/mesh/letters/groups/{group}": "/mesh/letters/groups/{group}",
    "/mesh/letters/{sequence}": "/mesh/letters/{letter}",
    "/mesh/letters/{sequence}/edit": "/mesh/letters/{letter}/edit",
    "/mesh/log": "/mesh/log?all=yes",
    "/mesh/log.csv": "/mesh/log.csv",
    "/mesh/log.json": "/mesh/log.json",
    "/mesh/story": "/mesh/story?key=bad-1",
    "/mesh/messages/{stream}/{sequence:int}": "/mesh/messages/NOTES/1",
    "/mesh/streams": "/mesh/streams",
    "/mesh/contracts": "/mesh/contracts",
    "/mesh/contracts/{type}": "/mesh/contracts/safe.kept",
    "/mesh/health": "/mesh/health",
    "/mesh/books": "/mesh/books?run=yes",
    "/mesh/login": "/mesh/login",
}
MORE = (
    "/mesh/letters",
    "/mesh/story",
    "/mesh/story?key=good-1",
    "/mesh/story?in=letters",
    "/mesh/story?type=notes.written",
    "/mesh/story?path=words",
    "/mesh/story?header=x-mine",
    "/mesh/messages/SAFE/1",
    "/mesh/letters/99",
)
SEEN = (
    "/mesh/reactions/safe/keep", "/mesh/letters", "/mesh/letters/groups/{group}", "/mesh/letters/{letter}",
    "/mesh/letters/{letter}/edit", "/mesh/log?all=yes", "/mesh/log.csv", "/mesh/log.json", "/mesh/story?key=bad-1",
    "/mesh/messages/NOTES/1", "/mesh/messages/SAFE/1", "/mesh/story?path=words",
)  # fmt: skip
"""Where an operator sees it."""


def _spans() -> bytes:
    """An attempt that failed, whose error repeats what the note says."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "safe"
    span = resource.scope_spans.add().spans.add(trace_id=bytes.fromhex(TRACE), span_id=b"attempt1", kind=5)
    span.name, span.start_time_unix_nano, span.end_time_unix_nano = "process notes.written", 10**18, 10**18 + 10**6
    span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=f"Permanent: these words: {SECRET}"))
    said = {CONVERSATION_ID: "bad-1", "jetmesh.reaction": "keep", OUTCOME: "dead_letter", **PLACE}
    for name, value in said.items():
        span.attributes.add(key=name).value.string_value = value
    return request.SerializeToString()


def _posted(story: KeyStory) -> list[SideEffect]:
    """A letter on paper that says the same."""
    said: dict[str, Any] = {"title": SECRET, "key": SECRET, "text": SECRET, "facts": {"to": SECRET}}
    return [SideEffect(kind="posted", service="safe", at=story.events[0].time, state="sent", **said)]


@asynccontextmanager
async def _mesh(
    mesh_of: MeshOf, console_of: ConsoleOf, state: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any]]]:
    """Notes that were kept, refused, edited and discarded, with traces; and a browser without a token."""
    service = safe()
    mesh = await mesh_of(service)
    for note in ("bad-1", "good-1", "bad-2", "bad-3"):
        headers = {"X-Mine": SECRET, "traceparent": f"00-{TRACE}-{'cd' * 8}-01"}
        await mesh.publish(f"notes.written.{note}", {"note_id": note, "words": SECRET}, headers)
    await mesh.dead_letters(3)
    await mesh.recorded(NoteKept, "good-1")
    with closing(TraceWriter(StateFolder(state).traces)) as traces:
        traces.add(_spans())
    settings = {"token": OPERATOR, "viewer_token": VIEWER, "hide_bodies": "true"}
    browser = await console_of([service], places=Places(state=state), effects=[SideEffects(of=_posted)], **settings)
    browser.headers["Authorization"] = f"Bearer {OPERATOR}"
    await _act(mesh, browser)
    letters = DeadLetters(mesh.context.connection, mesh.context.publisher)
    letter = next(iter([each async for each in letters.all()]))
    group = LetterKind(letter.reaction, letter.kind, letter.frame).id
    yield browser, {"secret": SECRET, "letter": letter.sequence, "group": group}


async def _act(mesh: LocalMesh, browser: httpx.AsyncClient) -> None:
    """One letter is edited and fails again, one is discarded."""
    await send(browser, "/mesh/letters/2", "/mesh/letters/2/discard", reason="a test")
    edit, words = "/mesh/letters/3/edit", json.dumps({"note_id": "bad-3", "words": f"still {SECRET}"})
    await send(browser, edit, edit, step="send", body=words, reason="a test")

    async def again() -> bool:
        return await mesh.count("DEAD_LETTERS") == 1 + 1 + 2  # two letters, two entries

    await until(again)


async def _said(browser: httpx.AsyncClient, address: str) -> str:
    answer = await browser.get(address, follow_redirects=True)
    assert answer.status_code < 500, answer.text
    return answer.text


async def test_no_answer_to_a_viewer_repeats_a_body(mesh_of: MeshOf, console_of: ConsoleOf, tmp_path: Path) -> None:
    async with _mesh(mesh_of, console_of, tmp_path) as (browser, known):
        looked = [each.format(**known) for each in (*ADDRESSES.values(), *MORE) if each]
        assert [each for each in SEEN if SECRET not in await _said(browser, each.format(**known))] == []
        browser.headers["Authorization"] = f"Bearer {VIEWER}"
        assert [
            each for each in looked if SECRET in (await _said(browser, each)).replace(f'value="{SECRET}"', "")
        ] == []
        assert "posted" in await _said(browser, "/mesh/story?key=good-1")
        assert "Permanent" in await _said(browser, "/mesh/letters")
        assert "No letter fits" in await _said(browser, f"/mesh/letters?text={SECRET}")
        async with browser.stream("GET", "/mesh/live") as live:
            async for line in live.aiter_lines():
                assert SECRET not in line
                if line.startswith("data:"):
                    break


def test_a_breaker_that_is_open_says_its_type_of_error_and_no_more() -> None:
    breakers = {"safe/Shelf": f"open: Unavailable: no room: {SECRET}"}
    overview = cast("Any", SimpleNamespace(breakers=breakers, missing=[], rows=[], orphans=[]))
    assert warnings(overview, discreet=True) == ["The circuit breaker safe/Shelf is open: Unavailable."]
    assert SECRET in warnings(overview)[0]


def test_each_address_of_the_console_is_looked_at() -> None:
    desk: Any = SimpleNamespace(assets=Assets(), added=())
    reading = {route.path for route in app._routes(desk) if "GET" in (route.methods or ())}
    assert reading == ADDRESSES.keys()
