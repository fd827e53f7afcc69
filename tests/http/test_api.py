"""What an API answers to requests: problems, limits, its span and its documentation."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from jetmesh import Unavailable
from jetmesh.http import Limits
from tests.http.parcels import JSON, PARCEL, Called, called, served

THEIRS = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
async def api() -> AsyncIterator[Called]:
    async with called() as api:
        yield api


def assert_problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The response is that problem; its document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert (document["type"], document["status"]) == (f"urn:problem-type:jetmesh:{name}", status)
    return document


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    for part in parts:
        yield part


async def test_a_request_is_answered_and_no_cache_keeps_the_answer(api: Called) -> None:
    response = await api.send()

    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert api.parcels.kept == ["p-1"]


async def test_a_problem_of_a_kind_is_its_document(api: Called) -> None:
    document = assert_problem(await api.client.get("/parcels/p-9"), 404, "not-found")

    assert document["parcel_id"] == "p-9"


async def test_a_problem_without_a_kind_is_its_document_as_over_nats(api: Called) -> None:
    response = await api.client.delete("/parcels/p-9")

    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank", "title": "The parcel is on its way", "status": 409,
        "detail": "p-9 can't be dropped 1 times.",
    }  # fmt: skip


async def test_a_path_that_nobody_serves_and_a_method_that_it_does_not_know(api: Called) -> None:
    assert_problem(await api.client.get("/nowhere"), 404, "not-found")
    assert_problem(await api.client.post("/parcels/p-1/"), 404, "not-found")
    wrong = await api.client.put("/parcels/p-1")
    assert_problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"] == "DELETE, GET"


@pytest.mark.parametrize(
    ("parcel", "pointer", "fix"),
    [
        ({}, "#/parcel_id", "Add the field."),
        ({**PARCEL, "parcel_id": "a.b"}, "#/parcel_id", "Send 1 to 64 printable ASCII"),
        ({**PARCEL, "colour": "RED"}, "#/colour", "Send a colour."),
        ({**PARCEL, "street": "x"}, "#/street", "Send at least 3 characters."),
        ({**PARCEL, "weights": [1, 0]}, "#/weights/1", "Send 1 or more."),
        ({**PARCEL, "weights": []}, "#/weights", "Send at least 1."),
        ({**PARCEL, "other": 1}, "#/other", "Leave the field out."),
        ([], "#", "Send a JSON object."),
    ],
)
async def test_a_wrong_field_is_named_with_its_fix(api: Called, parcel: Any, pointer: str, fix: str) -> None:
    first = assert_problem(await api.send(parcel), 422, "invalid-request")["errors"][0]

    assert first["pointer"] == pointer
    assert first["fix"].startswith(fix)


async def test_a_problem_never_quotes_what_was_sent(api: Called) -> None:
    response = await api.send({"parcel_id": "secret name", "street": {"secret": 1}, "weights": ["secret"]})

    assert len(response.json()["errors"]) == 3
    assert "secret" not in response.text


async def test_a_wrong_header_is_named(api: Called) -> None:
    response = await api.client.delete("/parcels/p-1", headers={"count": "many"})

    assert assert_problem(response, 400, "bad-header")["detail"].startswith("Send count in the form")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"a": "\xc3\x28"}', b'"\\ud800"', b"[" * 60_000, b"NaN", b"{} {}", b"\x00"]
)
async def test_what_is_no_json_is_malformed(api: Called, body: bytes) -> None:
    assert_problem(await api.client.post("/parcels", content=body, headers=JSON), 400, "malformed-body")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/jsonx"},
        {},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_only_plain_json_is_read(api: Called, headers: dict[str, str]) -> None:
    response = await api.client.post("/parcels", content=json.dumps(PARCEL).encode(), headers=headers)

    assert_problem(response, 415, "unsupported-media-type")


async def test_a_mesh_that_is_away_is_asked_again_when_it_says(api: Called) -> None:
    api.parcels.failure = Unavailable("the broker is away", 7)
    response = await api.send()

    assert assert_problem(response, 503, "unavailable")["detail"] == "Send it again."
    assert response.headers["retry-after"] == "7"


async def test_a_mesh_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    async with called(Limits(answer_timeout_seconds=0.01)) as api:
        api.parcels.released = asyncio.Event()
        response = await api.send()

    assert_problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "1"


async def test_an_error_that_nobody_foresaw_shows_nothing_of_itself(api: Called) -> None:
    api.parcels.failure = RuntimeError("ada@example.com at line 7")
    response = await api.send()

    assert_problem(response, 500, "internal-error")
    assert "ada" not in response.text
    assert "RuntimeError" not in response.text


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read() -> None:
    async with served(Limits(body_bytes=1_000)) as there:
        announced = await there.client.post("/parcels", content=b" " * 1_001, headers=JSON)
        chunked = await there.client.post("/parcels", content=chunks(b" " * 600, b" " * 600), headers=JSON)

    assert_problem(announced, 413, "body-too-large")
    assert_problem(chunked, 413, "body-too-large")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with served(Limits(body_timeout_seconds=0.05)) as there:
        head = b"POST /parcels HTTP/1.1\r\nHost: parcels\r\nContent-Type: application/json\r\n"
        answer = await there.said(head, b"Content-Length: 100\r\n\r\n{")

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_asks_too_often_waits() -> None:
    async with called(Limits(requests_per_second=0.5, burst=2)) as api:
        assert [(await api.send()).status_code for _ in range(2)] == [201, 201]
        response = await api.send()

    assert_problem(response, 429, "too-many-requests")
    assert response.headers["retry-after"] == "2"


async def test_one_client_does_not_use_up_the_rate_of_another() -> None:
    async with called(Limits(requests_per_second=0.5, burst=1)) as api:
        for address, status in [("10.0.0.1", 201), ("10.0.0.2", 201), ("2001:db8::1", 201), ("2001:db8::2", 429)]:
            transport = httpx.ASGITransport(api.app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://parcels") as client:
                assert (await client.post("/parcels", json=PARCEL)).status_code == status


async def test_a_request_is_one_server_span_by_the_conventions(api: Called) -> None:
    await api.send()

    assert (api.span.name, api.span.kind) == ("POST /parcels", SpanKind.SERVER)
    attributes = api.span.attributes or {}
    assert attributes["messaging.message.conversation_id"] == "p-1"
    assert (attributes["http.route"], attributes["http.response.status_code"]) == ("/parcels", 201)


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_caller_chooses_neither_the_trace_nor_whether_it_is_sampled(api: Called, flags: str) -> None:
    await api.send(traceparent=f"00-{THEIRS}-b7ad6b7169203331-{flags}")

    assert api.span.parent is None
    assert f"{api.span.context.trace_id:032x}" != THEIRS
    assert [f"{link.context.trace_id:032x}" for link in api.span.links] == [THEIRS]


async def test_the_span_hangs_in_the_trace_of_a_caller_who_is_trusted() -> None:
    async with called(trusts_callers=True) as api:
        await api.send(traceparent=f"00-{THEIRS}-b7ad6b7169203331-01")

        assert api.span.parent is not None
        assert f"{api.span.parent.trace_id:032x}" == THEIRS
        assert f"{api.span.parent.span_id:016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("failure", "status", "error_type"),
    [(RuntimeError("ada@example.com"), 500, "RuntimeError"), (Unavailable("the broker is away"), 503, "503")],
)
async def test_a_failure_is_one_on_the_span_without_its_words(
    api: Called, failure: Exception, status: int, error_type: str
) -> None:
    api.parcels.failure = failure
    await api.send()

    attributes = api.span.attributes or {}
    assert api.span.status.status_code is StatusCode.ERROR
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (status, error_type)
    assert "ada@" not in api.span.to_json()


@pytest.mark.parametrize("path", ["/parcels/p-9", "/nowhere"])
async def test_a_mistake_of_the_client_is_no_error_of_the_service(api: Called, path: str) -> None:
    await api.client.get(path)

    assert api.span.status.status_code is StatusCode.UNSET


async def test_a_method_that_nobody_knows_does_not_name_spans(api: Called) -> None:
    await api.client.request("BREW", "/parcels")

    assert api.span.name == "HTTP /parcels"
    assert (api.span.attributes or {})["http.request.method"] == "_OTHER"


async def test_a_token_in_the_query_is_a_bearers_where_events_are_sent_and_is_seen_nowhere(api: Called) -> None:
    told = await api.client.get("/parcels/p-1/events", params={"access_token": "s3cret", "from": "1"})

    assert told.json() == {"bearer": "s3cret", "query": "from=1"}
    assert "s3cret" not in api.span.to_json()


async def test_the_documentation_needs_no_network_and_names_problems(api: Called) -> None:
    page = await api.client.get("/docs")
    document = (await api.client.get("/openapi.json")).json()

    assert page.status_code == 200
    assert "https://" not in page.text
    assert list(document["paths"]["/parcels"]["post"]["responses"]) == [
        "201", "400", "408", "413", "415", "429", "500", "503",
    ]  # fmt: skip
    described = document["components"]["schemas"]["ProblemDocument"]["properties"]
    assert described["parcel_id"] == {"type": "string", "description": "Which."}
    assert "HTTPValidationError" not in document["components"]["schemas"]
