"""What FastAPI gets of a request: its caller's trace is linked, its body bounded and read by the rule of all bodies."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from jetmesh.common.json_body import Malformed, document
from jetmesh.http.limits import Limits
from jetmesh.http.outside import link_caller
from jetmesh.http.problems import BODY_TIMEOUT, MALFORMED, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE
from jetmesh.problem import Problem

_JSON = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)


class Router(APIRouter):
    """FastAPI's, whose routes are bounded as those of an `api` are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"route_class": BoundedRoute, **options})


class BoundedRoute(APIRoute):
    """A route whose requests are bounded. No cache keeps an answer whose function does not say so."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """FastAPI's handler, with that around it."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            link_caller(request.scope)
            asked = BoundedRequest(request.scope, request.receive)
            async with asyncio.timeout(request.app.state.limits.answer_timeout_seconds):
                if self.body_field:  # read first: FastAPI makes a 400 of every problem with a body
                    await asked.body()
                response = await handle(asked)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return bounded


class BoundedRequest(Request):
    """A request whose body has to be plain JSON, of a limited size, within a limited time."""

    async def body(self) -> bytes:
        """The whole body; its document is what `json` returns.

        Raises:
            Problem: 415 unless it is plain JSON; 413 beyond `body_bytes`, as early as that is known; 408 beyond
                `body_timeout_seconds`; 400 where it is no JSON.
        """
        if not hasattr(self, "_body"):
            _require_json(self.headers)
            self._body = await self._whole(self.app.state.limits)
            self._json = parsed(self._body)
        return self._body

    async def _whole(self, limits: Limits) -> bytes:
        if int(self.headers.get("content-length", 0)) > limits.body_bytes:
            raise _too_large(limits)
        try:
            async with asyncio.timeout(limits.body_timeout_seconds):
                return await self._collected(limits)
        except TimeoutError:
            detail = f"The body did not arrive within {limits.body_timeout_seconds:g} s."
            raise BODY_TIMEOUT.problem(detail, headers={"Connection": "close"}) from None

    async def _collected(self, limits: Limits) -> bytes:
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > limits.body_bytes:
                raise _too_large(limits)
        return bytes(body)


def _require_json(headers: Headers) -> None:
    if not _JSON.fullmatch(", ".join(headers.getlist("content-type"))):
        raise UNSUPPORTED_MEDIA_TYPE.problem("Send JSON as Content-Type: application/json, in UTF-8.")
    if headers.get("content-encoding", "identity") != "identity":
        raise UNSUPPORTED_MEDIA_TYPE.problem("Send the body without Content-Encoding.")


def _too_large(limits: Limits) -> Problem:
    # What is left of the body is not read, so the connection is of no further use.
    return TOO_LARGE.problem(f"Send at most {limits.body_bytes} bytes.", headers={"Connection": "close"})


def parsed(body: bytes) -> Any:
    """The document in a body. Raises a `Problem` (400) where it is no JSON."""
    try:
        return document(body)
    except Malformed as error:
        raise MALFORMED.problem(f"Send one JSON object in UTF-8: {error}.") from None
