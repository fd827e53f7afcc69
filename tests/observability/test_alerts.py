"""Each alert fires on what it is for, has its page in the runbooks, and is among those that are tested."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.programs import ROOT, program, run

RULES = ROOT / "observability" / "alerts" / "jetmesh.yaml"
ENVIRONMENT = "deployment_environment_name"
CASES = sorted(Path(__file__).parent.glob("alerts*.test.yaml"))


def alerts() -> Iterator[Any]:
    """Every rule that alerts."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule for rule in group["rules"] if "alert" in rule)


def cases() -> list[Any]:
    """The tests of the rules."""
    return [case for path in CASES for case in yaml.safe_load(path.read_text())["tests"]]


def test_the_rules_are_rules() -> None:
    assert "SUCCESS" in run(program("promtool", "prometheus"), "check", "rules", str(RULES))


def test_each_alert_fires_on_what_it_is_for() -> None:
    assert "SUCCESS" in run(program("promtool", "prometheus"), "test", "rules", *map(str, CASES))


def test_each_alert_is_tested_on_what_it_is_for_and_on_what_it_is_not_for() -> None:
    tried = [each for case in cases() for each in case["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {each["alertname"] for each in tried if each["exp_alerts"]} == names
    assert {each["alertname"] for each in tried if not each["exp_alerts"]} == names


def test_each_alert_says_in_which_of_two_environments_it_fires() -> None:
    parted = set()
    for case in cases():
        there = set(re.findall(rf'{ENVIRONMENT}="(\w+)"', str(case["input_series"])))
        for each in case["alert_rule_test"]:
            fires_in = {alert["exp_labels"].get(ENVIRONMENT) for alert in each["exp_alerts"]}
            parted |= {each["alertname"]} if fires_in and None not in fires_in and fires_in < there else set()
    assert {rule["alert"] for rule in alerts()} == parted


def test_each_alert_has_its_page_in_the_runbooks() -> None:
    runbooks = (ROOT / "docs" / "runbooks.md").read_text()
    pages = {heading.lower() for heading in re.findall(r"^## (\w+)$", runbooks, re.MULTILINE)}
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in alerts()} == pages
