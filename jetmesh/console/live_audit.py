"""The audit that runs in this console: how far it is, and what the last one found.

It reads only while somebody looks: where no page asks how far it is, it rests, and is given up after a while.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from jetmesh.common.tasks import cancelled
from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.operate.archive.parquet import ArchiveError
from jetmesh.operate.books import Passed
from jetmesh.operate.checks import CheckResult
from jetmesh.settings import SettingsError

log = logging.getLogger("jetmesh.console")

UNSEEN_SECONDS = 10.0
"""After so long without a look it rests: a page that is open looks every second or two."""
GIVEN_UP_SECONDS = 600.0
"""So long it rests; then what it has read is forgotten."""
PATIENCE_SECONDS = 0.5
"""So long a page waits for its end."""
TROUBLES = (ArchiveError, SettingsError, OSError, Unavailable, ApiError, TimeoutError)


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What an audit found."""

    findings: Sequence[CheckResult]
    figures: Mapping[str, Any]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.offences for finding in self.findings)


AuditSize: TypeAlias = Callable[[], Awaitable[int]]
"""How many messages an audit reads."""
AuditRun: TypeAlias = Callable[[Passed], Awaitable[AuditResult]]
"""An audit, which tells how far it is."""


class LiveAudit:
    """At most one audit at a time: it reads everything."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._seen = asyncio.Event()
        self._looked = 0.0
        self.read, self.total, self.place = 0, 0, ""
        self.result: AuditResult | None = None
        self.trouble = ""
        """Why the newest one has no result."""

    @property
    def is_running(self) -> bool:
        """Whether one is under way."""
        return self._task is not None and not self._task.done()

    def begin(self, size: AuditSize, audit: AuditRun) -> None:
        """Begin one, unless one is under way."""
        self.look()
        if not self.is_running:
            self.read, self.total, self.place, self.trouble, self.result = 0, 0, "", "", None
            self._task = asyncio.create_task(self._run(size, audit), name="the console's audit")

    def look(self) -> None:
        """Somebody looks: one that is under way goes on."""
        self._looked = time.monotonic()
        self._seen.set()

    async def wait(self) -> None:
        """Wait a moment for its end."""
        if self._task:
            await asyncio.wait([self._task], timeout=PATIENCE_SECONDS)

    async def stop(self) -> None:
        """End it without a result."""
        if self._task and self.is_running:
            await cancelled(self._task)
            self.trouble = f"it was stopped after {self.read:,} of {self.total:,} messages"

    async def _run(self, size: AuditSize, audit: AuditRun) -> None:
        try:
            self.total = await size()
            self.result = await audit(self._passed)
        except _Forgotten:
            self.trouble = f"nobody looked for {GIVEN_UP_SECONDS / 60:.0f} minutes, so it was given up"
        except TROUBLES as failed:
            self.trouble = str(failed)
        except Exception as surprise:
            log.exception("the audit failed")
            self.trouble = f"{type(surprise).__name__}: the log of the console has the error"

    async def _passed(self, place: str, count: int) -> None:
        """So many messages more are read; go on while somebody looks."""
        self.read, self.place = self.read + count, place
        self.total = max(self.total, self.read)
        if time.monotonic() - self._looked > UNSEEN_SECONDS:
            self._seen.clear()
            try:
                await asyncio.wait_for(self._seen.wait(), GIVEN_UP_SECONDS)
            except TimeoutError:
                raise _Forgotten from None


class _Forgotten(Exception):
    """Nobody looked for very long."""
