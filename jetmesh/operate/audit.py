"""The audit of an app: what it goes by, its checks, what they found, and figures."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from rich.console import Group, RenderableType
from rich.text import Text

from jetmesh.common.visible import visible
from jetmesh.operate import books, checks
from jetmesh.operate.books import Books
from jetmesh.operate.checks import CHECKS, AnyBooks, Check, CheckResult
from jetmesh.runtime.context import Context
from jetmesh.service import Service

AUDITS = "jetmesh.audits"
"""Under this an app declares its `AppAudit` (`jetmesh.app.added`)."""
OFFENCES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Audit(Generic[AnyBooks]):
    """What was found, and the figures: as `tables` for a terminal, as a `document` for programs."""

    books: AnyBooks
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


def figures(found: Books) -> dict[str, Any]:
    """How much there is."""
    return {
        "stories": len(found.stories),
        "events": len(found.events),
        "dead_letters": len(found.letters),
        "discarded": len(found.discarded),
        "delayed": len(found.delayed),
        "types": dict(sorted(Counter(event.type for event in found.events).items())),
    }


def _by_streams_alone(found: Books, _: Path) -> Any:
    return found


def _none(_: Books) -> tuple[Any, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppAudit(Generic[AnyBooks]):
    """How an app is audited. Each check is a function from what was collected to the offences, in words; its docstring
    says what must hold."""

    checks: Sequence[Check[AnyBooks]] = ()
    """The app's own."""
    common: Sequence[Check[AnyBooks]] = CHECKS
    """Those of every app, which come first."""
    restored: Sequence[Check[AnyBooks]] = ()
    """What holds already in streams that were restored from a backup, before a service starts."""
    outside: Callable[[Books, Path], AnyBooks] = _by_streams_alone
    """Adds what the app knows outside of its streams, from its state folder."""
    figures: Callable[[AnyBooks], Mapping[str, Any]] = figures
    tables: Callable[[AnyBooks], Sequence[RenderableType]] = _none
    unknown: Callable[[AnyBooks], Iterable[str]] = _none
    """After a restore: what the outside world knows and the streams do not, since it came after the backup."""

    async def collect(
        self,
        context: Context,
        services: Sequence[Service],
        state: Path,
        archive: Path,
        passed: books.Passed = books.unheard,
    ) -> AnyBooks:
        """What the audit goes by; raises what `jetmesh.operate.books.collect` raises."""
        return self.outside(await books.collect(context, services, archive, passed), state)

    def of(self, found: AnyBooks) -> Audit[AnyBooks]:
        """The audit."""
        return Audit(
            found, checks.findings((*self.common, *self.checks), found), self.figures(found), self.tables(found)
        )

    def of_restored(self, found: AnyBooks) -> list[str]:
        """What is wrong with restored streams."""
        results = checks.findings(self.restored, found)
        return sorted(f"{offence} ({each.check})" for each in results for offence in each.offences)


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


def _conclusion(done: Audit[Any]) -> Text:
    """The last line."""
    wrong = sum(len(finding.offences) for finding in done.findings)
    if wrong:
        return Text(f"The audit found {wrong:,} {'offence' if wrong == 1 else 'offences'}.", "bold red")
    return Text("The audit is clean: nothing lost, nothing twice.", "bold green")
