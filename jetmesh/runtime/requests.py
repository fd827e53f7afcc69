"""Sends requests to endpoints of services, and reads their responses or the problem."""

import asyncio
from typing import Any, cast

from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from jetmesh.cloudevents import JSON
from jetmesh.failure import BrokerUnavailable, Denied, Unavailable
from jetmesh.jetstream.headers import CONTENT_TYPE, Nats, decode_headers, encode_headers
from jetmesh.jetstream.inbox import Inbox
from jetmesh.jetstream.status import Status, StatusKind
from jetmesh.jetstream.transport import Transport
from jetmesh.problem import Problem
from jetmesh.request_model import AnyRequest, RequestType, Response, endpoint_of, is_request, owner_of
from jetmesh.telemetry.calls import Calls
from jetmesh.telemetry.spans import Telemetry
from jetmesh.topology.names import endpoint_subject

LONGEST_SECONDS = 60.0
NOT_NOW = 503

Asked = tuple[RequestType, str, "asyncio.Future[tuple[bytes, bytes]]"]
"""A request under way: its type, its subject, and what is answered."""


class Requests:
    """The requests of one connection."""

    def __init__(self, connection: Transport, telemetry: Telemetry) -> None:
        self._connection, self._calls = connection, Calls(telemetry, SpanKind.CLIENT)
        self._inbox = Inbox[Asked](connection, LONGEST_SECONDS, self._heard, self._late, self._lost)
        self._starting: asyncio.Task[None] | None = None

    async def request(self, request: AnyRequest[Response], timeout_seconds: float) -> Response:
        """The response to a request; see `Context.request`."""
        _check(request)
        if self._starting is None or (self._starting.done() and self._starting.exception()):
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)
        request_type = type(request)
        with self._calls.span(request_type.type, {}) as trace:
            headers = encode_headers({CONTENT_TYPE: JSON, **trace})
            block, data = await self._ask(request_type, request.model_dump_json().encode(), headers, timeout_seconds)
            return cast(Response, _read(request_type, block, data))

    def stop(self) -> None:
        """Expect no more answers."""
        if self._starting is not None:
            self._inbox.stop()

    async def _start(self) -> None:
        await self._inbox.start("requests-deadlines")
        self._connection.on_denied(self._on_denied)

    async def _ask(
        self, request_type: RequestType, data: bytes, headers: bytes, timeout_seconds: float
    ) -> tuple[bytes, bytes]:
        subject = endpoint_subject(owner_of(request_type), endpoint_of(request_type))
        answer: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()
        reply = self._inbox.open((request_type, subject, answer))
        try:
            self._connection.send(subject, data, reply=reply, headers=headers)
            return await asyncio.wait_for(answer, timeout_seconds)
        except TimeoutError:
            raise Unavailable(
                f"{owner_of(request_type)} did not answer {request_type.type} within {timeout_seconds:g} s"
            ) from None
        finally:
            self._inbox.close(reply)

    @staticmethod
    def _heard(asked: Asked, headers: bytes, data: bytes) -> None:
        request_type, _, answer = asked
        if answer.done():
            return
        status = Status.of(headers) if headers else None
        if status and status.kind is StatusKind.NO_RESPONDERS:
            answer.set_exception(BrokerUnavailable(
                f"nobody answers {request_type.type}: no process of {owner_of(request_type)} is ready, or this user "
                f"may not ask it (a service declares `calls=[{request_type.__name__}]`)", 0.5,
            ))  # fmt: skip
        else:
            answer.set_result((headers, data))

    def _on_denied(self, text: str) -> None:
        for request_type, subject, answer in self._inbox.requests:
            if f'"{subject.lower()}"' in text and not answer.done():
                answer.set_exception(Denied(f"the broker denied {request_type.type}: {text}", 1.0))

    @staticmethod
    def _late(asked: Asked) -> None:
        request_type, _, answer = asked
        if not answer.done():
            answer.set_exception(Unavailable(f"{owner_of(request_type)} did not answer {request_type.type}"))

    @staticmethod
    def _lost(asked: Asked) -> None:
        _, _, answer = asked
        if not answer.done():
            answer.set_exception(BrokerUnavailable("the connection was lost before the answer came"))


def _check(request: object) -> None:
    """Whoever does not check types may pass anything.

    Raises:
        TypeError: it is no request.
    """
    request_type: Any = type(request)
    if not is_request(request_type) or request_type.response() is None:
        raise TypeError(f"{request!r} is no request: send an instance of a class that is a `jetmesh.Request[…]`")


def _read(request_type: RequestType, block: bytes, data: bytes) -> Any:
    """The response in an answer.

    Raises:
        Problem: it has none, or one that breaks its contract.
        Unavailable: the service can't answer now.
    """
    headers = decode_headers(block) if block else {}
    if headers.keys() & {Nats.SERVICE_ERROR, Nats.SERVICE_ERROR_CODE}:
        title, code = headers.get(Nats.SERVICE_ERROR, ""), headers.get(Nats.SERVICE_ERROR_CODE, "")
        problem = Problem.decoded(code, title, data)
        if problem.status == NOT_NOW:
            raise Unavailable(f"{request_type.type}: {problem.detail or title}", 1.0)
        raise problem
    expected = request_type.response()
    assert expected is not None
    try:
        return expected.model_validate_json(data, extra="ignore")
    except ValidationError as invalid:
        found = invalid.errors(include_input=False, include_url=False, include_context=False)
    words = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found[:10])
    raise Problem(502, "The response breaks its contract", f"{request_type.type}: {words}")
