"""The HTTP edge of orders: what it stores, what it refuses and how it says so."""

import asyncio
import inspect
import json
import logging
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp

from jetmesh import TooLarge, Unavailable
from jetmesh.http import FromOutside, KeyTokens, Limits
from jetmesh.testing import until
from jetmesh_shop.orders.edge import following, placing
from jetmesh_shop.orders.edge.app import create_app
from jetmesh_shop.orders.edge.stories import status_of
from tests.services.orders_in_memory import EverythingSells, InMemoryOrders

OPERATOR = "an-operators-own-token"
TOKENS = KeyTokens(b"a secret of the tests", OPERATOR, "orders")
ADA: dict[str, Any] = {
    "order_id": "o-1042",
    "customer": {"customer_id": "c-7", "email": "ada@example.com"},
    "lines": [{"sku": "pizza-margherita", "quantity": 2, "unit_price_minor": 1150}],
    "currency": "EUR",
    "payment_method": "pm_card_visa",
}


@dataclass
class Edge:
    """The app under test and all that surrounds it."""

    orders: InMemoryOrders
    app: ASGIApp
    client: httpx.AsyncClient
    exporter: InMemorySpanExporter

    @property
    def span(self) -> ReadableSpan:
        """The span of the only request."""
        [span] = self.exporter.get_finished_spans()
        return span

    async def place(self, order: Mapping[str, Any] = ADA, **headers: str) -> httpx.Response:
        """Place the order."""
        return await self.client.post(
            "/orders", json=order, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


def new_app(orders: InMemoryOrders, exporter: InMemorySpanExporter, limits: Limits) -> ASGIApp:
    """The app on these orders."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return FromOutside(create_app(orders, TOKENS, limits, tracer_provider=provider), trusts_callers=False)


@asynccontextmanager
async def edge_with(limits: Limits) -> AsyncIterator[Edge]:
    """The edge under these limits, called in process."""
    orders, exporter = InMemoryOrders(), InMemorySpanExporter()
    app = new_app(orders, exporter, limits)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        yield Edge(orders, app, client, exporter)


@asynccontextmanager
async def served(limits: Limits, access_log: bool = False, orders: InMemoryOrders | None = None) -> AsyncIterator[Edge]:
    """The edge under these limits, served by a real uvicorn on a free port."""
    orders, exporter = orders or InMemoryOrders(), InMemorySpanExporter()
    app = new_app(orders, exporter, limits)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=access_log, timeout_graceful_shutdown=5))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=10) as client:
            yield Edge(orders, app, client, exporter)
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with edge_with(Limits()) as edge:
        yield edge


@pytest.fixture
async def live() -> AsyncIterator[Edge]:
    async with served(Limits()) as edge:
        yield edge


def bearer(order_id: str = "o-1042") -> dict[str, str]:
    """The headers of whoever placed the order."""
    return {"Authorization": f"Bearer {TOKENS.token(order_id)}"}


def assert_problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The response is that problem; its document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:problem-type:jetmesh:{slug}"
    assert document["status"] == status
    return document


def changed(**fields: Any) -> dict[str, Any]:
    """Ada's order with other fields."""
    return {**ADA, **fields}


def without(name: str) -> dict[str, Any]:
    """Ada's order without the field."""
    return {key: value for key, value in ADA.items() if key != name}


class TestPlacing:
    async def test_an_order_is_stored_and_its_receipt_opens_it(self, edge: Edge) -> None:
        response = await edge.place()

        assert response.status_code == 201
        assert response.headers["location"] == "/orders/o-1042"
        assert response.json() == {
            "order_id": "o-1042",
            "status": "placed",
            "total_minor": 2300,
            "currency": "EUR",
            "token": TOKENS.token("o-1042"),
            "links": {"self": "/orders/o-1042", "events": "/orders/o-1042/events", "cancel": "/orders/o-1042"},
        }
        shown = await edge.client.get(response.json()["links"]["self"], headers=bearer())
        assert shown.json()["status"] == "placed"

    async def test_the_same_order_again_gets_the_same_receipt(self, edge: Edge) -> None:
        first, second = await edge.place(), await edge.place()

        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()

    async def test_other_contents_under_one_order_id_are_a_conflict(self, edge: Edge) -> None:
        await edge.place()

        assert_problem(await edge.place(changed(payment_method="pm_other")), 409, "order-exists")

    async def test_an_order_without_id_gets_one(self, edge: Edge) -> None:
        first, second = await edge.place(without("order_id")), await edge.place(without("order_id"))

        assert first.json()["order_id"].startswith("o-")
        assert first.json()["order_id"] != second.json()["order_id"]

    async def test_a_whole_number_may_be_written_with_a_fraction_of_nothing(self, edge: Edge) -> None:
        response = await edge.place(changed(lines=[{**ADA["lines"][0], "quantity": 2.0}]))

        assert response.status_code == 201

    async def test_an_idempotency_key_makes_a_retry_the_same_order(self, edge: Edge) -> None:
        quoted = await edge.place(without("order_id"), idempotency_key='"k-1"')
        bare = await edge.place(without("order_id"), idempotency_key="k-1")

        assert (quoted.status_code, bare.status_code) == (201, 200)
        assert quoted.json() == bare.json()

    @pytest.mark.parametrize(
        "other", [changed(payment_method="pm_other"), changed(order_id="o-2"), without("order_id")]
    )
    async def test_an_idempotency_key_belongs_to_one_order(self, edge: Edge, other: dict[str, Any]) -> None:
        await edge.place(idempotency_key="k-1")

        assert_problem(await edge.place(other, idempotency_key="k-1"), 422, "idempotency-key-reused")
        assert list(edge.orders.stored) == ["o-1042"]

    @pytest.mark.parametrize("keys", [["a", "b"], [""], ["x" * 256], ['"open'], ["two words"]])
    async def test_a_wrong_idempotency_key_is_a_problem(self, edge: Edge, keys: list[str]) -> None:
        headers = [("content-type", "application/json"), *(("idempotency-key", key) for key in keys)]

        response = await edge.client.post("/orders", content=json.dumps(ADA), headers=headers)

        assert_problem(response, 400, "bad-header")

    @pytest.mark.parametrize(
        ("line", "pointer", "reason"),
        [
            ({"sku": "hat", "quantity": 1, "unit_price_minor": 1}, "#/lines", "unknown_article"),
            ({"sku": "tiramisu", "quantity": 1, "unit_price_minor": 1}, "#/lines", "price_changed"),
        ],
    )
    async def test_what_the_catalogue_does_not_allow_is_refused(
        self, edge: Edge, line: dict[str, Any], pointer: str, reason: str
    ) -> None:
        problem = assert_problem(await edge.place(changed(lines=[*ADA["lines"], line])), 422, "order-refused")

        assert problem["reason"] == reason
        assert problem["errors"][0]["pointer"] == pointer
        assert line["sku"] in problem["detail"]
        assert [event.type for event in edge.orders.stories["o-1042"]] == ["orders.refused"]

    async def test_an_id_with_reserved_characters_is_quoted_in_its_links(self, edge: Edge) -> None:
        response = await edge.place(changed(order_id="a?b#c%2F"))

        shown = await edge.client.get(response.headers["location"], headers=bearer("a?b#c%2F"))
        assert shown.json()["order_id"] == "a?b#c%2F"


class TestBadInput:
    @pytest.mark.parametrize(
        ("order", "pointers"),
        [
            ({}, ["#/customer", "#/lines", "#/currency", "#/payment_method"]),
            (without("currency"), ["#/currency"]),
            (changed(currency="XXX"), ["#/currency"]),
            (changed(lines=[]), ["#/lines"]),
            (changed(lines=ADA["lines"] * 101), ["#/lines"]),
            (changed(lines=[{**ADA["lines"][0], "quantity": 0}]), ["#/lines/0/quantity"]),
            (changed(lines=[{**ADA["lines"][0], "quantity": "2"}]), ["#/lines/0/quantity"]),
            (changed(lines=[{**ADA["lines"][0], "unit_price_minor": -1}]), ["#/lines/0/unit_price_minor"]),
            (changed(lines=[{**ADA["lines"][0], "unit_price_minor": 11.5}]), ["#/lines/0/unit_price_minor"]),
            (changed(order_id="a.b"), ["#/order_id"]),
            (changed(order_id="a/b"), ["#/order_id"]),
            (changed(order_id=""), ["#/order_id"]),
            (changed(order_id=None), ["#/order_id"]),
            (changed(order_id="x" * 65), ["#/order_id"]),
            (changed(total_minor=1), ["#/total_minor"]),
            (changed(customer={"customer_id": "c-7", "email": "no"}), ["#/customer/email"]),
            ([], ["#"]),
            ("order", ["#"]),
            (None, ["#"]),
        ],
    )
    async def test_each_wrong_field_is_named_with_its_fix(self, edge: Edge, order: Any, pointers: list[str]) -> None:
        response = await edge.client.post("/orders", content=json.dumps(order), headers=JSON)

        problem = assert_problem(response, 422, "invalid-order")
        assert [error["pointer"] for error in problem["errors"]] == pointers
        assert all(error["message"] and error["fix"] and "{" not in error["fix"] for error in problem["errors"])
        assert not edge.orders.stored

    async def test_a_problem_never_quotes_what_was_sent(self, edge: Edge) -> None:
        secrets = {"customer_id": "secret customer", "email": "secret@nowhere"}

        response = await edge.place(changed(customer=secrets, payment_method="secret card", currency="secret"))

        assert len(response.json()["errors"]) == 4
        assert "secret" not in response.text

    async def test_a_number_of_many_digits_is_a_problem(self, edge: Edge) -> None:
        body = json.dumps(ADA).replace("1150", "1" * 5_000)

        response = await edge.client.post("/orders", content=body, headers=JSON)

        assert response.status_code in {400, 422}


class TestUnavailable:
    async def test_an_order_that_was_not_stored_is_never_a_success(self, edge: Edge) -> None:
        edge.orders.failure = Unavailable("the broker is away", 7)

        response = await edge.place()

        assert_problem(response, 503, "unavailable")
        assert response.headers["retry-after"] == "7"

    async def test_an_order_whose_record_the_broker_does_not_take_is_too_large(self, edge: Edge) -> None:
        edge.orders.failure = TooLarge("the record")

        assert_problem(await edge.place(), 413, "body-too-large")


class TestReading:
    @pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("DELETE", "")])
    async def test_an_order_is_closed_to_all_but_its_bearer(self, edge: Edge, method: str, path: str) -> None:
        await edge.place()
        wrong, url = {"Authorization": "Bearer wrong"}, f"/orders/o-1042{path}"

        assert_problem(await edge.client.request(method, url), 401, "token-missing")
        assert_problem(await edge.client.request(method, url, headers=wrong), 403, "token-wrong")
        assert_problem(await edge.client.request(method, url, headers=bearer("o-1")), 403, "token-wrong")

    async def test_an_order_that_nobody_placed_answers_like_a_closed_one(self, edge: Edge) -> None:
        await edge.place()
        wrong = {"Authorization": "Bearer wrong"}

        closed = await edge.client.get("/orders/o-1042", headers=wrong)
        unknown = await edge.client.get("/orders/o-9999", headers=wrong)

        assert closed.content == unknown.content

    async def test_an_operator_sees_every_order_and_that_one_does_not_exist(self, edge: Edge) -> None:
        await edge.place()
        operator = {"Authorization": f"Bearer {OPERATOR}"}

        assert (await edge.client.get("/orders/o-1042", headers=operator)).status_code == 200
        assert_problem(await edge.client.get("/orders/o-9999", headers=operator), 404, "not-found")

    async def test_the_story_shows_no_personal_data(self, edge: Edge) -> None:
        await edge.place()

        response = await edge.client.get("/orders/o-1042", headers=bearer())

        [placed] = response.json()["story"]
        assert placed["type"] == "orders.placed"
        assert placed["data"] == {"lines": ADA["lines"], "currency": "EUR"}
        assert "ada" not in response.text

    def test_tokens_never_print_their_secrets(self) -> None:
        assert repr(TOKENS) == "KeyTokens(realm='orders')"

    @pytest.mark.parametrize(
        ("types", "status"),
        [
            (["orders.placed"], "placed"),
            (["orders.placed", "orders.payment_secured"], "payment_secured"),
            (["orders.confirmed", "orders.goods_secured", "orders.placed"], "confirmed"),
            (["orders.confirmed", "orders.cancelled"], "cancelled"),
            (["orders.refused"], "refused"),
        ],
    )
    def test_the_status_is_the_furthest_that_happened(self, types: list[str], status: str) -> None:
        assert status_of(types) == status


class TestCancelling:
    async def test_the_bearer_may_ask_to_cancel(self, edge: Edge) -> None:
        await edge.place()

        response = await edge.client.delete("/orders/o-1042", headers=bearer())

        assert response.status_code == 202
        assert edge.orders.cancellations == ["o-1042"]

    async def test_what_is_cancelled_already_is_not_asked_for_again(self, edge: Edge) -> None:
        await edge.place()
        await edge.orders.happen("o-1042", "orders.cancelled")

        response = await edge.client.delete("/orders/o-1042", headers=bearer())

        assert (response.status_code, response.json()["status"]) == (202, "cancelled")
        assert edge.orders.cancellations == []

    async def test_a_confirmed_order_may_be_cancelled_until_the_money_is_taken(self, edge: Edge) -> None:
        await edge.orders.happen("o-1042", "orders.confirmed")

        response = await edge.client.delete("/orders/o-1042", headers=bearer())

        assert (response.status_code, response.json()["status"]) == (202, "confirmed")

    async def test_it_is_too_late_once_the_order_is_refused(self, edge: Edge) -> None:
        await edge.orders.happen("o-1042", "orders.refused")

        assert_problem(await edge.client.delete("/orders/o-1042", headers=bearer()), 409, "too-late")
        assert edge.orders.cancellations == []


class TestFollowing:
    async def test_the_story_comes_as_it_happens_and_ends_with_the_order(self, live: Edge) -> None:
        await live.place()
        lines = follow(live, headers=bearer())

        placed = await message(lines)
        for type in ("orders.goods_secured", "orders.payment_secured", "orders.confirmed"):
            await live.orders.happen("o-1042", type)
        *told, end = [await message(lines) for _ in range(4)]

        assert placed["data"]["type"] == "orders.placed"
        assert [m["data"]["type"] for m in told] == [
            "orders.goods_secured",
            "orders.payment_secured",
            "orders.confirmed",
        ]
        assert end == {"event": "end", "data": {"status": "confirmed"}, "id": "ORDERS:4"}
        assert [line async for line in lines] == []

    async def test_a_reader_goes_on_where_it_stopped(self, live: Edge) -> None:
        await live.place()
        await live.orders.happen("o-1042", "orders.payment_secured")
        await live.orders.happen("o-1042", "orders.cancelled")

        lines = follow(live, headers={**bearer(), "Last-Event-ID": "ORDERS:1"})

        assert (await message(lines))["data"]["type"] == "orders.payment_secured"
        assert (await message(lines))["data"]["type"] == "orders.cancelled"

    async def test_a_position_of_a_stream_made_anew_leaves_nothing_out(self, live: Edge) -> None:
        await live.place()
        await live.orders.happen("o-1042", "orders.cancelled")

        lines = follow(live, headers={**bearer(), "Last-Event-ID": "ORDERS:1042"})

        assert (await message(lines))["data"]["type"] == "orders.placed"
        assert (await message(lines))["data"]["type"] == "orders.cancelled"

    async def test_a_reader_who_has_seen_the_end_is_told_not_to_come_back(self, live: Edge) -> None:
        await live.place()
        await live.orders.happen("o-1042", "orders.cancelled")

        response = await live.client.get("/orders/o-1042/events", headers={**bearer(), "Last-Event-ID": "ORDERS:2"})

        assert response.status_code == 204

    async def test_silence_is_filled_with_heartbeats(self, live: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
        await live.place()
        lines = follow(live, headers=bearer())
        await message(lines)

        assert (await anext(lines)).startswith(":")
        await lines.aclose()

    async def test_a_reader_who_leaves_makes_room_for_the_next(self) -> None:
        async with served(Limits(live_max=1)) as live:
            await live.place()

            async def gets_in() -> bool:
                async with live.client.stream("GET", "/orders/o-1042/events", headers=bearer()) as response:
                    return response.status_code == 200

            for _ in range(3):
                await until(gets_in)

    async def test_a_stream_ends_at_its_largest_age(self) -> None:
        async with served(Limits(live_seconds_max=0)) as live:
            await live.place()

            response = await live.client.get("/orders/o-1042/events", headers=bearer())

        assert "orders.placed" in response.text
        assert "event: end" not in response.text

    async def test_more_streams_than_there_are_slots_are_told_to_come_again(self) -> None:
        async with served(Limits(live_max=1)) as live:
            await live.place()
            lines = follow(live, headers=bearer())
            await message(lines)

            response = await live.client.get("/orders/o-1042/events", headers=bearer())
            await lines.aclose()

        assert_problem(response, 503, "unavailable")

    @pytest.mark.parametrize("position", ["o-1042", "ORDERS:x", ":1", "ORDERS:-1", "ORDERS:1" * 9])
    async def test_a_position_that_is_none_is_a_problem(self, edge: Edge, position: str) -> None:
        await edge.place()

        response = await edge.client.get("/orders/o-1042/events", headers={**bearer(), "Last-Event-ID": position})

        assert_problem(response, 400, "bad-header")

    async def test_a_token_in_the_query_opens_the_stream_and_is_seen_by_no_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with served(Limits(), access_log=True) as live:
            await live.orders.happen("o-1042", "orders.cancelled")

            response = await live.client.get("/orders/o-1042/events", params={"access_token": TOKENS.token("o-1042")})

        assert response.status_code == 200
        assert "/orders/o-1042/events" in "".join(r.getMessage() for r in caplog.records if r.name == "uvicorn.access")
        assert not any(TOKENS.token("o-1042") in r.getMessage() for r in caplog.records if r.name.startswith("uvicorn"))
        assert TOKENS.token("o-1042") not in str(live.span.attributes)

    async def test_a_token_in_the_query_opens_nothing_else(self, edge: Edge) -> None:
        await edge.place()

        response = await edge.client.get("/orders/o-1042", params={"access_token": TOKENS.token("o-1042")})

        assert_problem(response, 401, "token-missing")

    async def test_a_position_in_a_stream_that_the_story_is_not_in_is_forgotten(self, live: Edge) -> None:
        await live.orders.happen("o-1042", "orders.cancelled")

        lines = follow(live, headers={**bearer(), "Last-Event-ID": "BILLS:9"})

        assert (await message(lines))["id"] == "ORDERS:1"


class TestLimits:
    async def test_the_largest_order_fits(self, edge: Edge) -> None:
        order = changed(lines=ADA["lines"] * 100)

        assert (await edge.place(order)).status_code == 201

    def test_no_dependency_of_a_route_takes_a_thread(self) -> None:
        waiting = [route.dependant for route in (*placing.router.routes, *following.router.routes)]  # type: ignore[attr-defined]
        while waiting:
            dependant = waiting.pop()
            call = dependant.call if inspect.isfunction(dependant.call) else dependant.call.__call__
            assert inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call), call
            waiting += dependant.dependencies


class TestTracing:
    async def test_a_request_is_one_server_span_by_the_conventions(self, edge: Edge) -> None:
        await edge.place()

        assert edge.span.name == "POST /orders"
        assert edge.span.kind is SpanKind.SERVER
        assert dict(edge.span.attributes or {}) == {
            "http.request.method": "POST",
            "http.response.status_code": 201,
            "http.route": "/orders",
            "messaging.message.conversation_id": "o-1042",
            "network.protocol.version": "1.1",
            "server.address": "edge",
            "server.port": 80,
            "url.path": "/orders",
            "url.scheme": "http",
        }


class TestDocumentation:
    async def test_the_page_needs_nothing_from_the_network(self, edge: Edge) -> None:
        page = await edge.client.get("/docs")

        assert page.status_code == 200
        assert "https://" not in page.text
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
            assert (await edge.client.get(f"/static-offline-docs/{asset}")).status_code == 200

    async def test_each_operation_tells_all_its_answers(self, edge: Edge) -> None:
        document = (await edge.client.get("/openapi.json")).json()

        answers = {
            operation["operationId"]: list(operation["responses"])
            for path in document["paths"].values()
            for operation in path.values()
        }
        assert document["openapi"].startswith("3.1")
        assert answers == {
            "placeOrder": ["201", "200", "400", "408", "409", "413", "415", "422", "429", "500", "503"],
            "showOrder": ["200", "401", "403", "404", "429", "500", "503"],
            "cancelOrder": ["202", "401", "403", "404", "409", "429", "500", "503"],
            "followOrder": ["200", "204", "400", "401", "403", "404", "429", "500", "503"],
        }

    async def test_the_example_works_as_printed(self, edge: Edge) -> None:
        document = (await edge.client.get("/openapi.json")).json()
        example = document["components"]["schemas"]["Order"]["example"]

        response = await edge.place(example)

        assert response.status_code == 201

    async def test_schemathesis_finds_nothing(self, tmp_path: Path) -> None:
        limits = Limits(live_seconds_max=0)
        async with served(limits, orders=EverythingSells()) as live:
            await live.place()
            code, output = await schemathesis(f"{live.client.base_url}/openapi.json", tmp_path)

        assert code == 0, output


async def schemathesis(url: str, folder: Path) -> tuple[int | None, str]:
    """Hold the edge against its own document: the exit code and what was printed."""
    options = ["--checks=all", "--max-examples=15", "--seed=1", "--no-color", "--generation-database=none"]
    # An order is never deleted: DELETE asks for its cancellation, and its story stays.
    options += ["--exclude-checks=use_after_free", f"--header=Authorization: Bearer {OPERATOR}"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", url.replace("//openapi", "/openapi"), *options]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


JSON = {"content-type": "application/json"}


async def follow(live: Edge, headers: Mapping[str, str]) -> AsyncGenerator[str, None]:
    """The lines of the order's stream."""
    async with live.client.stream("GET", "/orders/o-1042/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line:
                yield line


async def message(lines: AsyncIterator[str]) -> dict[str, Any]:
    """The next message, heartbeats left out."""
    fields: dict[str, Any] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = json.loads(value) if name == "data" else value
        if name == "id":
            break
    return fields
