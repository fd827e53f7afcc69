"""`jetmesh doctor`: examines the mesh, and says what is wrong and how to repair it."""

import asyncio
import sys
from collections.abc import Mapping, Sequence

import click
from rich.table import Table
from rich.text import Text

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import Target, reach, settings_of_target
from jetmesh.common.console import Console, field
from jetmesh.common.terminal import say, show
from jetmesh.operate import doctor as doctors
from jetmesh.operate.doctor import CheckContext, Finding, Grade
from jetmesh.service import Service
from jetmesh.settings import Settings

SIGNS = {Grade.GOOD: ("✓", "green"), Grade.NOTE: ("·", "dim"), Grade.DOUBT: ("!", "yellow"), Grade.WRONG: ("✗", "red")}


@click.command()
@click.option("--monitor", default="", metavar="URL", help="The broker's monitoring address: http://nats:8222.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@options.app
def doctor(monitor: str, as_json: bool, app: str) -> None:
    """Examine the mesh: broker, durability, topology, clock, traces, security, services.

    Exits with 1 if something is wrong.
    """
    findings = asyncio.run(_examine(monitor, app))
    is_wrong = any(finding.grade is Grade.WRONG for finding in findings)
    if as_json:
        show({"ok": not is_wrong, "findings": [_as_json(f) for f in findings]}, indent=2)
    else:
        _print(findings)
    sys.exit(1 if is_wrong else 0)


async def _examine(monitor: str, app: str) -> list[Finding]:
    target = settings_of_target()
    services, findings = _services(app)
    findings = [*doctors.versions(), *doctors.settings_in_force(Settings, target.settings, target.sources), *findings]
    try:
        async with reach(target) as mesh:
            monitor_url = monitor or str(target.endpoints.get("monitor_url", ""))
            context = CheckContext(mesh.connection, services, target.settings, monitor_url)
            findings += [finding async for finding in doctors.run_checks(context)]
    except click.ClickException as unreachable:
        fix = "start a mesh (`jetmesh dev`) or a broker (nats-server -js), or correct NATS_URL"
        findings.append(Finding("broker", Grade.WRONG, unreachable.message, fix))
    return [*findings, *await doctors.traces(traces_of(target))]


def traces_of(target: Target) -> Mapping[str, str]:
    """The variables for the export of traces: `traces_url` is where an app stores them itself."""
    own = str(target.endpoints.get("traces_url", ""))
    return {**({"OTEL_EXPORTER_OTLP_ENDPOINT": own} if own else {}), **target.variables}


def _services(app: str) -> tuple[Sequence[Service], list[Finding]]:
    try:
        return apps.load(app), []
    except (apps.AppError, TypeError) as problem:
        return (), [Finding("app", Grade.DOUBT, str(problem), "without it only the broker is examined")]


def _as_json(finding: Finding) -> dict[str, str]:
    return {"topic": finding.topic, "grade": finding.grade.value, "found": finding.found, "fix": finding.fix}


def _print(findings: Sequence[Finding]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    last = ""
    for finding in findings:
        sign, style = SIGNS[finding.grade]
        topic = finding.topic if finding.topic != last else ""
        last = finding.topic
        table.add_row(Text(sign, style=style), Text(topic, style="bold"), field(finding.found))
        if finding.fix:
            table.add_row("", "", field(f"→ {finding.fix}", "cyan"))
    Console().print(table)
    wrong = sum(finding.grade is Grade.WRONG for finding in findings)
    say(f"\n{wrong} wrong" if wrong else "\nnothing is wrong", fg="red" if wrong else "green")
