"""The chart's policies: each port that an address in a pod's environment leads to, and no other."""

import json
from pathlib import Path
from typing import Any

import pytest

from jetmesh.telemetry.otlp import settings, transport
from jetmesh_shop.notifications.mail_server import Server
from tests.deploy.chart import Object, objects, of_kind, render

DNS = 53


def policies(*arguments: str) -> dict[str, Object]:
    """The policies, by component."""
    return of_kind(objects(render(*arguments)), "NetworkPolicy")


def reached(policy: Object) -> set[int]:
    """Ports to which its pods may connect, without those of DNS."""
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} - {DNS}


def rules_to(policy: Object, port: int) -> list[Any]:
    """Who may be reached at this port; None: anybody."""
    return [rule.get("to") for rule in policy["spec"]["egress"] if port in {each["port"] for each in rule["ports"]}]


@pytest.mark.parametrize(
    ("endpoint", "protocol", "port"),
    [
        ("http://collector:4318", "http/protobuf", 4318),
        ("http://collector:4317", "grpc", 4317),
        ("http://collector", "grpc", 4317),
        ("https://collector", "http/protobuf", 443),
        ("https://otlp.example.com/otlp?a=b:9", "http/protobuf", 443),
        ("https://otlp.example.com:4318/v1", "http/protobuf", 4318),
        ("http://user:p%40ss@collector:8443", "http/protobuf", 8443),
        ("http://[fd00::1]:4319", "http/protobuf", 4319),
        ("https://[fd00::1]", "http/protobuf", 443),
        ("https://otlp.example.com", "grpc", 4317),
    ],
)
def test_the_collector_s_port_follows_scheme_and_protocol(endpoint: str, protocol: str, port: int) -> None:
    found = policies("--set", f"telemetry.endpoint={endpoint},telemetry.protocol={protocol}")
    assert port in reached(found["orders"]) - {4222}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1", "https://127.0.0.1", "http://127.0.0.1:4319"])
def test_the_port_that_the_runtime_dials_is_open(endpoint: str, protocol: str) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    found = policies("--set", f"telemetry.endpoint={endpoint},telemetry.protocol={protocol}")
    assert dialled(told) in reached(found["orders"])


def dialled(environment: dict[str, str]) -> int:
    """The port that the exporter of this environment connects to."""
    receiver = settings.receiver(environment)
    if receiver.protocol == settings.GRPC:
        return int(receiver.url.port or 0)
    return int(transport.HttpTransport(receiver)._connection.port)


def test_an_endpoint_of_one_signal_is_reached_wherever_it_is_set(tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://tempo:4320", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://metrics",
           "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "logs"}  # fmt: skip
    found = policies(*values(tmp_path, pods={"env": env}))
    for component in ("orders", "topology", "test", "mailsink"):
        assert {4320, 443, 4317} <= reached(found[component])
        assert rules_to(found[component], DNS)


def values(tmp_path: Path, **found: Any) -> tuple[str, str]:
    """The option that gives helm these values."""
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(found))
    return "--values", str(path)


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("nats://a.example.com:4333,tls://b.example.com", {4333, 4222}),
        ("tls://user:p%40ss@nats.example.com", {4222}),
        ("wss://nats.example.com", {443}),
        ("ws://nats.example.com", {80}),
        ("tls://[fd00::1]:4443", {4443}),
        ("wss://nats.example.com:8443/path", {8443}),
    ],
)
def test_the_broker_s_ports_follow_its_addresses(tmp_path: Path, url: str, ports: set[int]) -> None:
    found = policies(*values(tmp_path, broker={"url": url}))
    assert reached(found["orders"]) == reached(found["topology"]) == ports


def test_a_broker_of_another_address_is_not_the_release_s_own(tmp_path: Path) -> None:
    found = policies(*values(tmp_path, services={"orders": {"env": {"NATS_URL": "nats://other:4333"}}}))
    assert rules_to(found["orders"], 4333) == [None]
    assert "podSelector" in rules_to(found["payments"], 4222)[0][0]


@pytest.mark.parametrize(
    "url", ["smtp://mail", "smtp://mail:587?starttls=1", "smtps://mail", "smtps://u:p@mail:2465", "smtp://mail:2525"]
)
def test_the_mail_server_s_port_is_the_one_that_is_dialled(url: str) -> None:
    found = policies("--set", f"mail.url={url}")
    assert reached(found["notifications"]) == {4222, Server.from_url(url).port}


def test_what_a_secret_holds_is_reached_at_the_usual_ports_by_the_peers_named(tmp_path: Path) -> None:
    peer = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    found = policies(*values(tmp_path, mail={"secret": "smtp"}, broker={"secret": "nats"},
                             networkPolicy={"mail": peer, "broker": peer}))  # fmt: skip
    assert reached(found["notifications"]) == {4222, 25, 465, 587}
    assert rules_to(found["notifications"], 587) == rules_to(found["orders"], 4222) == [peer]


def test_an_address_that_is_taken_away_or_means_nothing_opens_nothing(tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": None, "HTTPS_PROXY": "", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": 4318}
    found = policies(
        *values(tmp_path, telemetry={"endpoint": "http://collector:4317"}, services={"orders": {"env": env}})
    )
    assert reached(found["orders"]) == {4222}
    assert reached(found["payments"]) == {4222, 4317}


def test_a_proxy_is_reached() -> None:
    assert 3128 in reached(policies("--set", "pods.env.HTTPS_PROXY=http://proxy.example.com:3128")["orders"])


def test_rules_of_the_values_are_added_for_what_they_are_said_of(tmp_path: Path) -> None:
    rule = [{"ports": [{"port": 5432, "protocol": "TCP"}]}]
    sidecar = [{"ports": [{"port": 15020, "protocol": "TCP"}]}]
    found = policies(
        *values(tmp_path, services={"payments": {"egress": rule, "ingress": sidecar}}, topology={"egress": rule})
    )
    assert 5432 in reached(found["payments"]) & reached(found["topology"])
    assert 5432 not in reached(found["orders"])
    assert sidecar[0] in found["payments"]["spec"]["ingress"]


def test_names_are_resolved_where_the_cluster_resolves_them() -> None:
    rules = policies("--set", "networkPolicy.dnsPorts={53,5353}")["orders"]["spec"]["egress"][0]["ports"]
    assert {(each["port"], each["protocol"]) for each in rules} == {(p, q) for p in (53, 5353) for q in ("UDP", "TCP")}


def test_the_sink_and_the_broker_reach_nothing() -> None:
    found = policies()
    assert found["broker"]["spec"]["egress"] == found["mailsink"]["spec"]["egress"] == []
