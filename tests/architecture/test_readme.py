"""The README shows what is there: code that stands in the repository, commands that run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_service_in_the_readme_is_the_service() -> None:
    service = (ROOT / "services/payments/service.py").read_text()
    shown = blocks("python")

    assert shown
    assert all(block in service for block in shown)


def test_continuous_integration_runs_the_tests_by_the_command_in_the_readme() -> None:
    command = next(line for block in blocks("console") for line in block.splitlines() if "just test" in line)

    assert command.partition("#")[0].strip() in (ROOT / ".ci/run").read_text()


def test_every_command_in_the_readme_exists() -> None:
    from jetmesh.commands import commands

    named = set(re.findall(r"jetmesh ([a-z]+)", "\n".join(blocks("console"))))
    context = commands.make_context("jetmesh", [], resilient_parsing=True)

    assert named <= set(commands.list_commands(context))


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
