"""Each alert fires on what it is for, has its page in the runbooks, and is among those that are tested."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.programs import ROOT, program, run

RULES = ROOT / "observability" / "alerts" / "jetmesh.yaml"
CASES = Path(__file__).parent / "alerts.test.yaml"


def alerts() -> Iterator[Any]:
    """Every rule that alerts."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule for rule in group["rules"] if "alert" in rule)


def test_the_rules_are_rules() -> None:
    assert "SUCCESS" in run(program("promtool", "prometheus"), "check", "rules", str(RULES))


def test_each_alert_fires_on_what_it_is_for() -> None:
    assert "SUCCESS" in run(program("promtool", "prometheus"), "test", "rules", str(CASES))


def test_no_alert_is_untested() -> None:
    cases = yaml.safe_load(CASES.read_text())["tests"]
    fired = {each["alertname"] for case in cases for each in case["alert_rule_test"] if each["exp_alerts"]}
    assert {rule["alert"] for rule in alerts()} == fired


def test_each_alert_has_its_page_in_the_runbooks() -> None:
    runbooks = (ROOT / "docs" / "runbooks.md").read_text()
    pages = {heading.lower() for heading in re.findall(r"^## (\w+)$", runbooks, re.MULTILINE)}
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in alerts()} == pages
