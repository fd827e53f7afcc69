"""`/mesh/log`: what operators did, the newest first; all of it as CSV and JSON."""

import csv
import io
import json
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from jetmesh.common import lenient
from jetmesh.console.desk import Desk, desk_of, said
from jetmesh.operate.dead_letters import LoggedEntry
from jetmesh.operate.operator_log import BATCH, REFUSED
from jetmesh.runtime.origin import origin_of

PAGE = 50
COLUMNS = (
    "action", "by", "at", "letter", "reaction", "source", "reason", "note", "event_id", "body", "diff", "undoes",
    "batch_id", "state", "total", "succeeded", "gone", "refused",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")
BODIES = {"body", "diff", "headers", "reason"}
OF_BATCHES = {"words", "trouble"}
"""What a viewer does not see where bodies are hidden: also the texts of errors, which may repeat what a body says."""


async def log(request: Request) -> Response:
    """A page of entries."""
    desk = desk_of(request)
    await desk.letters.refresh()
    is_whole = request.query_params.get("all") == "yes"
    known = desk.letters.log if is_whole else desk.letters.deeds
    before = lenient.whole(request.query_params.get("before", ""))
    end = bisect_left(known, before) if before else len(known)
    start = max(0, end - PAGE)
    entries = await desk.post(request).entries_at(known[start:end][::-1].tolist())
    return desk.page(
        request, "log.html", entries=entries, count=len(known), before=before, is_whole=is_whole,
        others=len(desk.letters.log) - len(known),
        next_before=known[start] if start else 0, undone=desk.letters.undone, progress=desk.letters.progress,
        error=said(request, "error"),
    )  # fmt: skip


async def as_csv(request: Request) -> Response:
    """All entries as CSV, the oldest first."""
    return StreamingResponse(_csv(desk_of(request), request), media_type="text/csv; charset=utf-8")


async def as_json(request: Request) -> Response:
    """All entries as a JSON list, the oldest first."""
    return StreamingResponse(_json(desk_of(request), request), media_type="application/json")


async def _csv(desk: Desk, request: Request) -> AsyncIterator[str]:
    yield _line(COLUMNS)
    async for row in _rows(desk, request):
        cells = row | (row.get("batch") or {})
        yield _line([cells.get(name) or "" for name in COLUMNS])


async def _json(desk: Desk, request: Request) -> AsyncIterator[str]:
    before = "["
    async for row in _rows(desk, request):
        yield f"{before}\n{json.dumps(row, ensure_ascii=False)}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


async def _rows(desk: Desk, request: Request) -> AsyncIterator[dict[str, Any]]:
    """The entries about the app's own services."""
    services = {service.name for service in desk.services}
    sees = desk.sees_bodies(request)
    async for logged in desk.post(request).entries():
        if origin_of(logged.subject).service in services:
            row = _row(logged)
            yield row if sees else _without_bodies(row)


def _row(logged: LoggedEntry) -> dict[str, Any]:
    found = {"sequence": logged.sequence, **asdict(logged.entry)}
    if logged.entry.action != BATCH:
        del found["batch"]
    return found


def _without_bodies(row: dict[str, Any]) -> dict[str, Any]:
    hidden = BODIES | ({"note"} if row["action"] == REFUSED else set())
    found = {name: value for name, value in row.items() if name not in hidden}
    if batch := found.get("batch"):
        found["batch"] = {name: value for name, value in batch.items() if name not in OF_BATCHES}
    return found


def _line(cells: Sequence[object]) -> str:
    file = io.StringIO()
    # A spreadsheet takes what begins so for a formula.
    csv.writer(file).writerow([f"'{cell}" if str(cell).startswith(FORMULA) else cell for cell in cells])
    return file.getvalue()


ROUTES = [Route("/mesh/log", log), Route("/mesh/log.csv", as_csv), Route("/mesh/log.json", as_json)]
