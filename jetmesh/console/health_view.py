"""`/mesh/health`: what `jetmesh doctor` finds, with its fixes; `/mesh/books`: the audit."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh import app as apps
from jetmesh.console.desk import Desk, desk_of
from jetmesh.operate import doctor
from jetmesh.operate.archive.parquet import ArchiveError
from jetmesh.operate.audit import AUDITS, AppAudit
from jetmesh.operate.doctor import CheckContext, Finding, Grade
from jetmesh.settings import Settings, SettingsError

GRADES = {Grade.WRONG: ("bad", "✗"), Grade.DOUBT: ("doubt", "!"), Grade.NOTE: ("waits", "·"), Grade.GOOD: ("good", "✓")}
OFFENCES_SHOWN = 200
_AUDITING = asyncio.Lock()
"""One audit at a time: it reads everything."""


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
    """The audit, where it is asked for: it reads every stream."""
    desk = desk_of(request)
    if "run" not in request.query_params:
        return desk.page(request, "books.html", audit=None, error="", at=None, shown=OFFENCES_SHOWN, document={})
    async with _AUDITING:
        try:
            done = await _audit(desk)
        except (ArchiveError, SettingsError, OSError) as failed:
            return desk.page(
                request, "books.html", audit=None, error=str(failed), at=None, shown=OFFENCES_SHOWN, document={}
            )
    return desk.page(
        request, "books.html", audit=done, error="", at=datetime.now(UTC), shown=OFFENCES_SHOWN,
        document=_figures(done.document),
    )  # fmt: skip


async def _audit(desk: Desk) -> Any:
    """The app's own audit where the mesh's state folder is here, else that of any app."""
    own: Sequence[AppAudit[Any]] = apps.added(desk.services, AUDITS) if desk.places.state else ()
    chosen: AppAudit[Any] = next(iter(own), AppAudit())
    archive = desk.places.archive or Path("archive")
    return chosen.of(await chosen.collect(desk.link.context, desk.services, desk.places.state or Path(), archive))


def _figures(document: Any) -> dict[str, Any]:
    """The plain figures of an audit."""
    return {name: value for name, value in document.items() if isinstance(value, int | float | str)}


ROUTES = [Route("/mesh/health", health), Route("/mesh/books", books)]
