"""`/mesh/health`: what `jetmesh doctor` finds, with its fixes; `/mesh/books`: the audit."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh import app as apps
from jetmesh.console.desk import Desk, back, desk_of, is_own, looking_form
from jetmesh.console.live_audit import AuditResult
from jetmesh.operate import books as collected
from jetmesh.operate import doctor
from jetmesh.operate.audit import AUDITS, AppAudit
from jetmesh.operate.books import Passed
from jetmesh.operate.doctor import CheckContext, Finding, Grade
from jetmesh.settings import Settings

GRADES = {Grade.WRONG: ("bad", "✗"), Grade.DOUBT: ("doubt", "!"), Grade.NOTE: ("waits", "·"), Grade.GOOD: ("good", "✓")}
OFFENCES_SHOWN = 200


async def health(request: Request) -> Response:
    """The findings, the worst first."""
    desk = desk_of(request)
    findings = await _findings(desk)
    order = list(GRADES)
    findings.sort(key=lambda finding: order.index(finding.grade))
    return desk.page(request, "health.html", findings=findings, grades=GRADES, worst=findings[0].grade)


async def _findings(desk: Desk) -> list[Finding]:
    context, places = desk.link.context, desk.places
    asked = CheckContext(context.connection, desk.services, context.settings, places.monitor_url)
    found = [finding async for finding in doctor.run_checks(asked)]
    traces = await doctor.traces(places.telemetry)
    return [
        *found, *traces, *doctor.versions(), *doctor.settings_in_force(Settings, context.settings, places.sources)
    ]  # fmt: skip


async def books(request: Request) -> Response:
    """The audit that is under way, or what the last one found; `run` begins one: it reads every stream."""
    desk, audit = desk_of(request), desk_of(request).audit
    if "run" in request.query_params and is_own(request):
        audit.begin(partial(collected.size, desk.link.context, desk.services), partial(_audit, desk))
        await audit.wait()
        return back("/books")
    audit.look()
    return desk.page(request, "books.html", audit=audit, shown=OFFENCES_SHOWN)


async def stop_books(request: Request) -> Response:
    """Stop the audit; whoever looks may: it changes nothing of the mesh."""
    await looking_form(request)
    await desk_of(request).audit.stop()
    return back("/books")


async def _audit(desk: Desk, passed: Passed) -> AuditResult:
    """The app's own audit where the mesh's state folder is here, else that of any app."""
    own: Sequence[AppAudit[Any]] = apps.added(desk.services, AUDITS) if desk.places.state else ()
    chosen: AppAudit[Any] = next(iter(own), AppAudit())
    state, archive = desk.places.state or Path(), desk.places.archive or Path("archive")
    found = await chosen.collect(desk.link.context, desk.services, state, archive, passed)
    done = await asyncio.to_thread(chosen.of, found)
    return AuditResult(done.findings, _figures(done.document))


def _figures(document: Any) -> dict[str, Any]:
    """The plain figures of an audit."""
    return {name: value for name, value in document.items() if isinstance(value, int | float | str)}


ROUTES = [
    Route("/mesh/health", health),
    Route("/mesh/books", books),
    Route("/mesh/books/stop", stop_books, methods=["POST"]),
]
