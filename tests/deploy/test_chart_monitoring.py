"""What the chart gives Prometheus and Grafana: the repository's own rules and dashboards."""

import json

import jsonschema
import pytest
import yaml

from tests.deploy.chart import Object, custom_schemas, objects, render
from tests.support.programs import ROOT

OBSERVABILITY = ROOT / "observability"
ALERTS = yaml.safe_load((OBSERVABILITY / "alerts" / "jetmesh.yaml").read_text())["groups"]
WIKI = "https://wiki.example.com/runbooks"


def rules(*settings: str) -> list[Object]:
    """The rules of the PrometheusRule."""
    found = objects(render("--set", ",".join(["prometheusRule.enabled=true", *settings])))
    (rule,) = [each for each in found if each["kind"] == "PrometheusRule"]
    return [rule for group in rule["spec"]["groups"] for rule in group["rules"]]


def test_every_rule_is_there_with_its_runbook_as_a_url() -> None:
    told = [rule for group in ALERTS for rule in group["rules"]]
    found = rules(f"prometheusRule.runbooks={WIKI}", "prometheusRule.ruleLabels.team=orders")
    assert [rule["expr"] for rule in found] == [rule["expr"] for rule in told]
    for rule, source in zip(found, told, strict=True):
        if "alert" in rule:
            assert rule["annotations"]["runbook_url"] == f"{WIKI}#{rule['alert'].lower()}"
            assert rule["annotations"].items() >= source["annotations"].items()
            assert rule["labels"] == {**source["labels"], "team": "orders"}


def test_a_runbook_s_url_is_its_place_in_the_repository_where_no_other_is_named() -> None:
    urls = {rule["annotations"]["runbook_url"] for rule in rules() if "alert" in rule}
    assert all(url.startswith("docs/runbooks.md#") for url in urls)


def test_the_operator_s_resource_takes_every_rule() -> None:
    (rule,) = [
        each for each in objects(render("--set", "prometheusRule.enabled=true")) if each["kind"] == "PrometheusRule"
    ]
    jsonschema.validate(rule, dict(custom_schemas())["PrometheusRule"])


def test_an_alert_can_be_left_out() -> None:
    without = rules("prometheusRule.without={JetmeshNoConfirmations}")
    assert {rule.get("alert") for rule in rules()} - {rule.get("alert") for rule in without} == {
        "JetmeshNoConfirmations"
    }


@pytest.mark.parametrize(
    "path", sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json")), ids=lambda path: path.stem
)
def test_each_dashboard_is_a_configmap_that_grafana_s_sidecar_finds(path: object) -> None:
    found = objects(render("--set", "dashboards.enabled=true"))
    maps = [each for each in found if each["kind"] == "ConfigMap" and "grafana_dashboard" in each["metadata"]["labels"]]
    held = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert held[path.name] == json.loads(path.read_text())  # type: ignore[attr-defined]


def test_nothing_of_it_is_there_unless_asked_for() -> None:
    assert not [
        each for each in objects(render()) if each["metadata"]["labels"]["app.kubernetes.io/component"] == "monitoring"
    ]
