"""An audit: the checks of an app, their findings, and figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from jetmesh.common.visible import visible
from jetmesh.operate import checks
from jetmesh.operate.books import Books, collect
from jetmesh.operate.checks import CheckResult
from jetmesh.runtime.context import Context
from jetmesh.service import Service

OFFENCES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found, and the figures: as `tables` for a terminal, as a `document` for programs."""

    findings: Sequence[CheckResult]
    document: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[RenderableType] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.offences for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The audit as JSON."""
        offences = {finding.check: list(finding.offences) for finding in self.findings if finding.offences}
        return {"clean": self.is_clean, **self.document, "offences": offences}

    def as_tables(self) -> RenderableType:
        """The figures, then each check with its offences."""
        spaced = (part for table in self.tables for part in (table, Text()))
        return Group(*spaced, *map(_verdict, self.findings), Text(), _conclusion(self))


async def of_streams(context: Context, services: Sequence[Service], archive: Path) -> Audit:
    """What holds for every app, by the streams alone; raises what `collect` raises."""
    books = await collect(context, services, archive)
    return Audit(checks.findings(checks.CHECKS, books), figures(books))


def figures(books: Books) -> dict[str, Any]:
    """How much there is."""
    return {
        "stories": len(books.stories),
        "events": len(books.events),
        "dead_letters": len(books.letters),
        "discarded": len(books.discarded),
        "delayed": len(books.delayed),
        "types": dict(sorted(Counter(event.type for event in books.events).items())),
    }


def _verdict(finding: CheckResult) -> Text:
    """One line for a check that holds; the offences below one that does not."""
    if not finding.offences:
        return Text.assemble(("✓ ", "green"), finding.check)
    line = Text.assemble(("✗ ", "bold red"), (finding.check, "bold"), (f": {len(finding.offences):,}", "bold red"))
    for offence in finding.offences[:OFFENCES_SHOWN]:
        line.append(f"\n    {visible(offence)}", "red")
    if len(finding.offences) > OFFENCES_SHOWN:
        line.append(f"\n    … and {len(finding.offences) - OFFENCES_SHOWN:,} more (--json has all)", "dim")
    return line


def _conclusion(done: Audit) -> Text:
    """The last line."""
    wrong = sum(len(finding.offences) for finding in done.findings)
    if wrong:
        return Text(f"The books do not balance: {wrong:,} {'offence' if wrong == 1 else 'offences'}.", "bold red")
    return Text("The books balance: nothing lost, nothing twice.", "bold green")
