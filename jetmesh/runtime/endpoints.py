"""Answers requests by their contracts: reads a request, calls the function, writes its response or the problem."""

import json
import logging
from typing import Any

from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from jetmesh.cloudevents import JSON
from jetmesh.common.tasks import RAISED, error_of
from jetmesh.common.throttled_log import Conditions, kind_of
from jetmesh.failure import NotYet, Unavailable
from jetmesh.jetstream.headers import CONTENT_TYPE, Headers, Nats, encode_headers
from jetmesh.jetstream.micro import CONCURRENCY, Endpoint
from jetmesh.problem import MEDIA_TYPE, Problem
from jetmesh.reaction import EndpointDeclaration
from jetmesh.request_model import AnyRequest
from jetmesh.runtime.context import Context
from jetmesh.runtime.stories import folded
from jetmesh.service import Service
from jetmesh.telemetry.calls import Calls
from jetmesh.topology.names import endpoint_subject

log = logging.getLogger("jetmesh.endpoints")

INVALID = "The request breaks its contract"
INTERNAL = "The service failed"
NOT_NOW = "The service can't answer now"
HEADERS_BYTES = 100
"""More than the headers of a response have."""


def endpoints(context: Context, service: Service, dependencies: Any) -> list[Endpoint]:
    """The endpoints of a service as `nats micro` sees them, each with the schemas of its contract."""
    calls, conditions = Calls(context.telemetry, SpanKind.SERVER), Conditions(log)
    return [
        Endpoint(
            declared.name, endpoint_subject(service.name, declared.name),
            _Answering(context, service, declared, dependencies, calls, conditions).handle,
            metadata=schemas(declared), concurrency=CONCURRENCY,
        )
        for declared in service.endpoints
    ]  # fmt: skip


def schemas(declared: EndpointDeclaration) -> dict[str, str]:
    """What the endpoint does and the JSON Schemas of its contract, as metadata, which is text."""
    return {
        "description": declared.meaning,
        "request_schema": json.dumps(declared.request.model_json_schema()),
        "response_schema": json.dumps(declared.response.model_json_schema(mode="serialization")),
    }


class _Answering:
    """Answers the requests to one endpoint."""

    def __init__(
        self, context: Context, service: Service, declared: EndpointDeclaration, dependencies: Any, calls: Calls,
        conditions: Conditions,
    ) -> None:  # fmt: skip
        self._context, self._service, self._declared = context, service, declared
        self._dependencies, self._calls, self._conditions = dependencies, calls, conditions
        self._own = {event.type: event for event in service.records}

    async def handle(self, headers: Headers, data: bytes) -> tuple[Headers, bytes]:
        """The response, or a problem document; never an error."""
        try:
            with self._calls.span(self._declared.request.type, headers):
                return {CONTENT_TYPE: JSON}, await self._answer(data)
        except Problem as problem:
            return self._told(problem)

    async def _answer(self, data: bytes) -> bytes:
        """The body of the response.

        Raises:
            Problem: there is none.
        """
        request = self._read(data)
        try:
            arguments = [await self._argument(name, request) for name in self._declared.arguments]
            return self._written(await self._declared.function(request, *arguments))
        except Problem:
            raise
        except (Unavailable, NotYet) as away:
            pause = getattr(away, "retry_after_seconds", 1.0)
            raise Problem(503, NOT_NOW, str(away), retry_after_seconds=pause) from None
        except RAISED as raised:
            raise self._failed(error_of(raised)) from raised

    def _failed(self, error: Exception) -> Problem:
        """What the caller may know of an error, which is logged."""
        of_type = self._declared.request.type
        self._conditions.log(kind_of(error), logging.ERROR, "%s: a request failed", of_type, error=error)
        return Problem(500, INTERNAL, "The log of the service has the error.")

    def _read(self, data: bytes) -> AnyRequest[Any]:
        try:
            return self._declared.request.read(data or b"{}")
        except ValidationError as invalid:
            found = invalid.errors(include_input=False, include_url=False, include_context=False)
        errors = [{"pointer": "#" + "".join(f"/{part}" for part in e["loc"]), "detail": e["msg"]} for e in found]
        detail = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found[:10])
        raise Problem(422, INVALID, detail, errors=errors)

    async def _argument(self, name: str, request: AnyRequest[Any]) -> Any:
        """The dependencies, or the service's own story of the request's key."""
        if name == "dependencies":
            return self._dependencies
        return folded(self._declared.story, await self._context.story(self._service, request.key), self._own)

    def _written(self, response: Any) -> bytes:
        """The body of a response.

        Raises:
            TypeError: it is not what the function declares.
            ValidationError: it breaks its contract.
            TooLarge: the broker does not take it.
        """
        expected = self._declared.response
        if type(response) is not expected:
            raise TypeError(
                f"{self._declared.name} returned {type(response).__name__}, but declares {expected.__name__}"
            )
        data = response.model_dump_json().encode()
        expected.__pydantic_validator__.validate_json(data)
        self._require(len(data))
        return bytes(data)

    def _told(self, problem: Problem) -> tuple[Headers, bytes]:
        """The headers of ADR-32, and the problem document, if they can be sent."""
        headers = {
            Nats.SERVICE_ERROR: problem.title, Nats.SERVICE_ERROR_CODE: str(problem.status), CONTENT_TYPE: MEDIA_TYPE,
        }  # fmt: skip
        try:
            document = problem.encoded()
            self._require(len(document), len(encode_headers(headers)))
        except Exception as error:
            return self._told(self._failed(error))
        return headers, document

    def _require(self, size: int, headers_size: int = HEADERS_BYTES) -> None:
        self._context.connection.limits.require(f"the answer to {self._declared.request.type}", headers_size, size)
