"""One order, one trace, in the real Jaeger: whichever way it goes, whoever takes part, however often it is tried."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from jetmesh.testing import MeshOf, until
from jetmesh.testing.jaeger import Jaeger
from jetmesh_shop.flow import SERVICES
from tests.mesh.whole import whole_mesh
from tests.support.programs import ROOT, program
from tests.support.samples import TRUFFLE, body

CONVERSATION = "messaging.message.conversation_id"
RECORDING = [service.name for service in SERVICES if service.records]
CONFIRMED = {("orders", "payments"), ("orders", "inventory"), ("payments", "orders"), ("inventory", "orders")}
TOLD = {("orders", "notifications")}
PAID = {("payments", "notifications"), ("payments", "delivery")}
CALLED_OFF = {("orders", "delivery")}
WAYS: dict[str, dict[str, Any]] = {
    "o-confirmed": {},
    "o-declined": {"payment_method": "pm_card_visa_chargeDeclined"},
    "o-short": {"lines": [{**TRUFFLE.model_dump(), "quantity": 11}]},
    "o-retried": {"payment_method": "pm_sandbox_flaky"},
}
EDGES = {
    "o-confirmed": CONFIRMED | TOLD | PAID,
    "o-declined": CONFIRMED | TOLD | CALLED_OFF,
    "o-short": CONFIRMED | TOLD | CALLED_OFF,
    "o-retried": CONFIRMED | TOLD | PAID,
}


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JETMESH_JAEGER", program("jaeger"))
        with Jaeger() as jaeger:
            yield jaeger


async def ask(jaeger: Jaeger, path: str, **parameters: Any) -> Any:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{jaeger.url}/api/{path}", params=parameters)
    return answer.raise_for_status().json()["data"]


async def traces_of(jaeger: Jaeger, order_id: str) -> dict[str, dict[str, Any]]:
    """Every trace in which any service says that it is about the order."""
    found: dict[str, dict[str, Any]] = {}
    for service in RECORDING:
        tags = json.dumps({CONVERSATION: order_id})
        for trace in await ask(jaeger, "traces", service=service, tags=tags, limit=100):
            found[trace["traceID"]] = trace
    return found


def tag(span: dict[str, Any], name: str) -> Any:
    return next((each["value"] for each in span["tags"] if each["key"] == name), None)


def edges_of(trace: dict[str, Any]) -> set[tuple[str, str]]:
    """Who was the parent of whom, between services. (A parent that is linked as well is FOLLOWS_FROM in Jaeger.)"""
    services = {span["spanID"]: trace["processes"][span["processID"]]["serviceName"] for span in trace["spans"]}
    parents = {
        (services[reference["spanID"]], services[span["spanID"]])
        for span in trace["spans"]
        for reference in span["references"]
    }
    return {(parent, child) for parent, child in parents if parent != child}


async def test_each_order_is_one_trace_with_the_right_edges(
    jaeger: Jaeger, mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_http, "OTEL_METRICS_EXPORTER": "none"}
    async with whole_mesh(mesh_of, tmp_path, monkeypatch, **settings) as whole:
        for order_id, changes in WAYS.items():
            await whole.mesh.publish("orders.placed", body(order_id, **changes))
        await whole.ended(*WAYS)
        stories = {order_id: await whole.mesh.story(order_id) for order_id in WAYS}

    for order_id, story in stories.items():
        traces = await until(partial(traces_of, jaeger, order_id), 20, f"Jaeger knows {order_id}")
        assert len(traces) == 1, order_id
        trace = next(iter(traces.values()))
        assert edges_of(trace) == EDGES[order_id], order_id
        assert {tag(span, CONVERSATION) for span in trace["spans"]} == {order_id}
        published = {tag(span, "messaging.message.id") for span in trace["spans"] if "publish" in span["operationName"]}
        assert {stored.headers["ce-id"] for stored in story} <= published, order_id
        assert {stored.headers["traceparent"][3:35] for stored in story} == {trace["traceID"].rjust(32, "0")}
        roots = [span for span in trace["spans"] if not span["references"]]
        assert [span["operationName"] for span in roots] == ["process orders.placed"]

    await _attempts_are_siblings(jaeger)
    await _dependencies_show_the_mesh(jaeger)


async def _attempts_are_siblings(jaeger: Jaeger) -> None:
    """The bank failed twice: three attempts hang under the same parent, two of them with their error."""
    (trace,) = (await traces_of(jaeger, "o-retried")).values()
    attempts = [
        span
        for span in trace["spans"]
        if span["operationName"] == "process orders.placed" and tag(span, "jetmesh.reaction") == "authorize"
    ]
    assert len({span["references"][0]["spanID"] for span in attempts}) == 1
    assert sorted(str(tag(span, "error.type")) for span in attempts) == ["BankUnavailable", "BankUnavailable", "None"]


async def _dependencies_show_the_mesh(jaeger: Jaeger) -> None:
    async def look() -> bool:
        calls = await ask(jaeger, "dependencies", endTs=int(time() * 1_000), lookback=3_600_000)
        edges = {(call["parent"], call["child"]) for call in calls}
        return edges >= CONFIRMED | TOLD | {("payments", "notifications")}

    await until(look, 20, "the dependencies show the mesh")


async def test_a_stranger_chooses_neither_the_trace_of_an_order_nor_whether_it_is_sampled(
    jaeger: Jaeger, mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace_id = "5bf92f3577b34da6a3ce929d0e0e4736"
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_http, "OTEL_METRICS_EXPORTER": "none"}
    async with whole_mesh(mesh_of, tmp_path, monkeypatch, **settings) as whole:
        for order_id in ("o-ours", "o-theirs"):
            headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-00", "ce-correlationid": "o-ours"}
            cloud = {"ce-specversion": "1.0", "ce-id": order_id, "ce-type": "orders.placed", "ce-source": "/shop"}
            await whole.mesh.publish("orders.placed", body(order_id), headers | cloud)
        await whole.ended("o-ours", "o-theirs")
    for order_id in ("o-ours", "o-theirs"):
        (trace,) = (await until(partial(traces_of, jaeger, order_id), 20)).values()
        assert trace["traceID"] != trace_id
        asked = [ref["traceID"] for span in trace["spans"] for ref in span["references"]]
        assert trace_id in asked


async def test_a_trace_from_outside_goes_on_in_the_mesh_where_it_is_trusted(
    jaeger: Jaeger, mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_http, "OTEL_METRICS_EXPORTER": "none"}
    settings["JETMESH_TRUST_TRACES"] = "true"
    async with whole_mesh(mesh_of, tmp_path, monkeypatch, **settings) as whole:
        await whole.mesh.publish("orders.placed", body("o-outside"), headers)
        await whole.ended("o-outside")
    traces = await until(lambda: traces_of(jaeger, "o-outside"), 20)
    assert set(traces) == {trace_id}


async def test_the_searches_of_the_guide_find_what_they_say(
    jaeger: Jaeger, mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text().partition("## Traces")[2].partition("\n## ")[0]
    searches = [{name: value} for name, value in re.findall(r"`([a-z][\w.]*)=([\w-]+)`", guide)]
    assert {"messaging.message.conversation_id": "o-1042"} in searches
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_http, "OTEL_METRICS_EXPORTER": "none"}
    async with whole_mesh(mesh_of, tmp_path, monkeypatch, **settings) as whole:
        await whole.mesh.publish("orders.placed", body("o-1042", payment_method="pm_sandbox_flaky"))
        await whole.mesh.publish("orders.placed", "no order at all")
        await whole.ended("o-1042")
        await whole.mesh.dead_letters(1)
    for tags in searches:
        await until(partial(found_anywhere, jaeger, tags), 20, f"Jaeger finds {tags}")
    (written,) = re.findall(r"`(/search\S+)`", guide)
    link = parse_qs(urlsplit(written).query)
    (trace,) = await ask(jaeger, "traces", **{name: values[0] for name, values in link.items()})
    assert {tag(span, CONVERSATION) for span in trace["spans"]} == {"o-1042"}


async def found_anywhere(jaeger: Jaeger, tags: dict[str, str]) -> list[Any]:
    """The traces of any service with these tags."""
    return [trace for name in RECORDING for trace in await ask(jaeger, "traces", service=name, tags=json.dumps(tags))]
