"""What becomes of an error that a request ends with: a problem document, in words that an app may make its own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from jetmesh.failure import Unavailable
from jetmesh.http.problems import (
    BAD_HEADER,
    INTERNAL,
    INVALID_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    FieldError,
    ProblemKind,
    busy,
    response_of,
)
from jetmesh.problem import Problem

ErrorHandler = Callable[[Request, Any], Awaitable[Response]]
TOKEN_FIX = "Send 1 to 64 printable ASCII characters without space, '.', '*', '>' and '/'."

_MESSAGES = {
    "missing": "The field is missing.",
    "extra_forbidden": "The field is not part of this.",
    "string_pattern_mismatch": "The text does not have the form of this field.",
}
_FIXES = {
    "missing": "Add the field.",
    "extra_forbidden": "Leave the field out.",
    "string_type": "Send text, in double quotes.",
    "string_too_short": "Send at least {min_length} characters.",
    "string_too_long": "Send at most {max_length} characters.",
    "int_type": "Send a whole number, without quotes or fraction.",
    "int_from_float": "Send a whole number.",
    "int_parsing_size": "Send a smaller whole number.",
    "greater_than_equal": "Send {ge} or more.",
    "less_than_equal": "Send {le} or less.",
    "literal_error": "Send one of: {expected}.",
    "too_short": "Send at least {min_length}.",
    "too_long": "Send at most {max_length}.",
    "list_type": "Send a JSON array.",
    "tuple_type": "Send a JSON array.",
    "model_type": "Send a JSON object.",
    "model_attributes_type": "Send a JSON object.",
}


@dataclass(frozen=True, kw_only=True)
class Problems:
    """What the problem documents of an app say of its own.

    `invalid` is the kind of a body that breaks its contract. `fixes` says how to mend a text that has not the form of
    its field, by the name of the field, or how to mend a kind of pydantic's errors. `ask_again` is the advice where the
    mesh does not answer. `members` are the extension members of the app's problems, each with its meaning.
    """

    invalid: ProblemKind = INVALID_REQUEST
    fixes: Mapping[str, str] = field(default_factory=dict)
    ask_again: str = "Ask again later."
    members: Mapping[str, str] = field(default_factory=dict)

    def handlers(self) -> dict[Any, ErrorHandler]:
        """What answers each error, as FastAPI takes it."""
        return {
            RequestValidationError: self.invalid_request,
            HTTPException: http_problem,
            Problem: problem,
            Unavailable: self.unavailable,
            TimeoutError: self.unavailable,
            Exception: self.internal,
        }

    async def invalid_request(self, _: Request, error: RequestValidationError) -> Response:
        """The answer to a header, a part of the path or the query, or a body, that has not its form."""
        outside_body = [str(each["loc"][-1]) for each in error.errors() if each["loc"][0] != "body"]
        if outside_body:
            detail = f"Send {' and '.join(outside_body)} in the form that /docs shows, or not at all."
            return response_of(BAD_HEADER.problem(detail))
        wrong = [each.model_dump() for each in self.field_errors(error.errors())]
        return response_of(self.invalid.problem("Mend the fields in errors and send it again.", errors=wrong))

    def field_errors(self, errors: Sequence[Any]) -> list[FieldError]:
        """What the contract says is wrong with a body, without any value that was sent."""
        broken = [error["loc"] for error in errors]
        return [
            FieldError(
                pointer=_pointer(error["loc"]), message=_MESSAGES.get(error["type"], error["msg"]), fix=self._fix(error)
            )
            for error in errors
            # An array whose items are broken seems too short, because pydantic does not count those.
            if error["type"] != "too_short" or not any(_is_inside(loc, error["loc"]) for loc in broken)
        ]

    def _fix(self, error: Mapping[str, Any]) -> str:
        if error["type"] == "string_pattern_mismatch":
            return self.fixes.get(str(error["loc"][-1]), TOKEN_FIX)
        fix = {**_FIXES, **self.fixes}.get(error["type"], "See the schema in /openapi.json.")
        return fix.format_map(error.get("ctx", {}))

    async def unavailable(self, _: Request, error: Exception) -> Response:
        """The answer where the mesh does not answer in time, or takes nothing now."""
        return response_of(busy(self.ask_again, getattr(error, "retry_after_seconds", 1)))

    async def internal(self, _: Request, __: Exception) -> Response:
        """The answer to an unexpected error: only the log has its text."""
        return response_of(INTERNAL.problem(f"The error is logged. {self.ask_again}"))


async def problem(_: Request, error: Problem) -> Response:
    """The answer to a problem that a function raised."""
    return response_of(error)


async def http_problem(request: Request, error: HTTPException) -> Response:
    """The answer to a success that a function raised; or where no route fits: an unknown path, or a method that the
    path does not support."""
    if error.status_code < 400:
        return Response(status_code=error.status_code)
    known = {kind.status: kind for kind in (NOT_FOUND, METHOD_NOT_ALLOWED)}
    kind = known.get(error.status_code) or ProblemKind(
        error.status_code, "urn:problem-type:jetmesh:http", str(error.detail)
    )
    headers = {"Allow": _allowed(request)} if kind is METHOD_NOT_ALLOWED else error.headers
    return response_of(kind.problem(f"{kind.title}: see /docs.", headers=headers))


def _allowed(request: Request) -> str:
    """Every method of the path: the router itself names only those of the first route that fits."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0].value]
    return ", ".join(sorted(set().union(*(getattr(route, "methods", None) or () for route in routes))))


def _is_inside(location: Sequence[Any], outer: Sequence[Any]) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _pointer(location: Sequence[Any]) -> str:
    """The JSON pointer of the field (RFC 6901, section 6); pydantic's location begins with the word "body"."""
    tokens = (str(part).replace("~", "~0").replace("/", "~1") for part in location[1:])
    return "#" + "".join(f"/{token}" for token in tokens)
