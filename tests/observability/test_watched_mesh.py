"""A mesh that runs, watched by what is in observability/: every dashboard, alert and page has something to show."""

import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.stack import ENVIRONMENT, OBSERVABILITY, Stack, watched
from tests.observability.test_alerts import ENVIRONMENT as LABEL
from tests.observability.test_alerts import alerts
from tests.support.programs import ROOT, program
from tests.support.waiting import wait_until

GRAFANA = {
    "$__rate_interval": "30s",
    "$__range": "1m",
    "$service_name": ".*",
    "$deployment_environment_name": ENVIRONMENT,
}
ELSEWHERE = ("jetmesh_certificate_end_seconds", "jetmesh_storing_failing_seconds", "jetmesh_limit_waiting")
"""The watched mesh speaks without TLS, to a broker that stores, and has no rate limit; test_gauges.py and
test_storing.py look at these."""
DASHBOARDS = sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack with a mesh that has had its orders."""
    for name in ("prometheus", "prometheus-nats-exporter"):
        program(name, "prometheus")
    program("jaeger")
    with watched(tmp_path_factory.mktemp("watched")) as found:
        yield found


def queries() -> Iterator[Any]:
    """Every query of every panel of every dashboard, by its place."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield pytest.param(target["expr"], id=f"{path.stem}: {panel['title']} {target['refId']}")


@pytest.mark.parametrize("query", list(queries()))
def test_every_query_of_a_dashboard_returns_data(stack: Stack, query: str) -> None:
    for name, value in GRAFANA.items():
        query = query.replace(name, value)
    wait_until(lambda: stack.query(query), query)


def test_every_variable_of_a_dashboard_has_values(stack: Stack) -> None:
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            metric, label = variable["query"].removeprefix("label_values(").removesuffix(")").split(", ")
            assert stack.query(f"count by ({label}) ({metric})")


def test_every_selector_of_an_alert_finds_something(stack: Stack) -> None:
    for rule in alerts():
        for selector in selectors(stack, rule["expr"]):
            if any(name in selector for name in ELSEWHERE) or f'{LABEL}=""' in selector:
                continue
            wait_until(partial(stack.query, selector), f"{rule['alert']}: {selector}")


def test_the_rules_are_loaded_and_no_rule_fails(stack: Stack) -> None:
    groups = stack.prometheus("/api/v1/rules")["data"]["groups"]
    assert len(groups) == len(yaml.safe_load((OBSERVABILITY / "alerts" / "jetmesh.yaml").read_text())["groups"])
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}


def test_a_letter_that_was_buried_is_an_alert(stack: Stack) -> None:
    wait_until(lambda: stack.query('ALERTS{alertname="JetmeshDeadLetters", alertstate="firing"}'), "the alert")


def test_an_order_is_found_by_its_id_and_is_one_trace(stack: Stack) -> None:
    tags = json.dumps({"messaging.message.conversation_id": "o-first-1"})
    found = wait_until(lambda: stack.jaeger("/api/traces", service="orders", tags=tags)["data"], "the order's trace")
    assert len(found) == 1
    services = {process["serviceName"] for process in found[0]["processes"].values()}
    assert {"orders", "payments", "inventory", "notifications"} <= services


def test_the_service_graph_shows_who_reacts_to_whom(stack: Stack) -> None:
    now = str(int(time.time() * 1000))
    edges = stack.jaeger("/api/dependencies", endTs=now, lookback="3600000")["data"]
    drawn = {(edge["parent"], edge["child"]) for edge in edges}
    assert {
        ("orders", "payments"),
        ("orders", "inventory"),
        ("payments", "orders"),
        ("orders", "notifications"),
    } <= drawn


@pytest.mark.parametrize("metric", ["calls", "latencies", "errors"])
def test_the_monitor_tab_has_numbers(stack: Stack, metric: str) -> None:
    now = str(int(time.time() * 1000))
    asked = {"service": "payments", "spanKind": "consumer", "endTs": now, "lookback": "600000", "step": "5000",
             "ratePer": "60000", "quantile": "0.95"}  # fmt: skip
    wait_until(lambda: stack.jaeger(f"/api/metrics/{metric}", **asked)["metrics"], metric)


def test_a_measured_attempt_points_to_its_trace(stack: Stack) -> None:
    now = time.time()
    asked = {"query": "messaging_process_duration_seconds_bucket", "start": str(now - 600), "end": str(now)}
    series = stack.prometheus("/api/v1/query_exemplars", **asked)["data"]
    assert any("trace_id" in exemplar["labels"] for one in series for exemplar in one["exemplars"])


def selectors(stack: Stack, expression: str) -> set[str]:
    """The vector selectors inside an expression, as Prometheus' own parser finds them."""
    tree = stack.prometheus("/api/v1/parse_query", query=expression)["data"]
    return {written(node) for node in nodes(tree) if node.get("type") == "vectorSelector"}


def nodes(tree: Any) -> Iterator[Any]:
    """Every node of a tree of JSON."""
    if isinstance(tree, dict):
        yield tree
    for branch in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes(branch)


def written(node: Any) -> str:
    """A selector without its range and offset."""
    return "{" + ", ".join(f"{m['name']}{m['type']}{json.dumps(m['value'])}" for m in node["matchers"]) + "}"


@pytest.mark.parametrize("layers", [("collector.yaml",), ("collector.yaml", "tail-sampling.yaml")], ids=len)
def test_the_pipeline_is_one_that_a_collector_takes(layers: tuple[str, ...]) -> None:
    configs = [part for layer in layers for part in ("--config", str(OBSERVABILITY / "collector" / layer))]
    done = subprocess.run([program("jaeger"), "validate", *configs], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("values", "key", "source", "added"),
    [
        ("opentelemetry-collector.yaml", "alternateConfig", "collector/collector.yaml", {"extensions"}),
        ("jaeger.yaml", "userconfig", "jaeger/config.yaml", set()),
        ("jaeger.yaml", "uiconfig", "jaeger/ui-config.json", set()),
    ],
)
def test_the_values_for_other_charts_hold_the_same_configuration(
    values: str, key: str, source: str, added: set[str]
) -> None:
    deployed = yaml.safe_load((ROOT / "deploy" / "values" / values).read_text())[key]
    ours = yaml.safe_load((OBSERVABILITY / source).read_text())
    for name in added:
        deployed.pop(name)
        deployed["service"].pop(name)
    assert deployed == ours


def test_what_compose_and_prometheus_name_is_there() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    mounts = [v.split(":")[0] for service in compose["services"].values() for v in service.get("volumes", ())]
    files = [Path(ROOT / "deploy" / mount) for mount in mounts if mount.startswith(".")]
    assert files
    assert all(file.exists() for file in files)
