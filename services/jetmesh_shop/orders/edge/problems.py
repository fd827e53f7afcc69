"""Problem documents (RFC 9457): every answer that is no success says what is wrong and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its `type` is a URN of the slug, its title never varies."""

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        """The identifier of the kind, for programs (RFC 9457, section 3.1.1)."""
        return f"urn:problem-type:jetmesh:{self.slug}"


MALFORMED = Kind(400, "malformed-body", "The body is not JSON")
BAD_HEADER = Kind(400, "bad-header", "A header is wrong")
UNAUTHORIZED = Kind(401, "token-missing", "A token is needed")
FORBIDDEN = Kind(403, "token-wrong", "The token does not fit")
NOT_FOUND = Kind(404, "not-found", "There is nothing here")
METHOD_NOT_ALLOWED = Kind(405, "method-not-allowed", "The method is not allowed here")
BODY_TIMEOUT = Kind(408, "body-timeout", "The body took too long")
HEAD_TIMEOUT = Kind(408, "head-timeout", "The request took too long")
ORDER_EXISTS = Kind(409, "order-exists", "Another order has this id")
TOO_LATE = Kind(409, "too-late", "The order has ended")
TOO_LARGE = Kind(413, "body-too-large", "The body is too large")
UNSUPPORTED_MEDIA_TYPE = Kind(415, "unsupported-media-type", "The body must be application/json")
INVALID_ORDER = Kind(422, "invalid-order", "The order breaks its contract")
KEY_REUSED = Kind(422, "idempotency-key-reused", "The Idempotency-Key belongs to another order")
REFUSED = Kind(422, "order-refused", "The order is refused")
TOO_MANY_REQUESTS = Kind(429, "too-many-requests", "Too many requests")
HEAD_TOO_LARGE = Kind(431, "head-too-large", "The headers are too large")
INTERNAL = Kind(500, "internal-error", "The service failed")
CROWDED = Kind(503, "crowded", "Too many connections")
UNAVAILABLE = Kind(503, "unavailable", "The mesh is not taking this now")


class FieldError(BaseModel):
    """One wrong field: where it is (a JSON pointer as a URI fragment), what is wrong with it, what would be right."""

    pointer: str = Field(examples=["#/lines/0/quantity"])
    message: str = Field(examples=["Input should be greater than or equal to 1"])
    fix: str = Field(examples=["Send 1 or more."])


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(json_schema_extra={"format": "uri"})
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What to do about it.")
    errors: Sequence[FieldError] = ()
    reason: str = Field(default="", description="Why the order was refused.")
    order_id: str = Field(default="", description="The id under which the refusal is recorded.")


class Problem(HTTPException):
    """An answer that is no success. `errors` names each wrong field; `members` are extension members."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **members: str,
    ) -> None:
        super().__init__(kind.status, detail, headers)
        self.kind, self.errors, self.members = kind, errors, members

    def response(self) -> Response:
        """The problem document."""
        kind = self.kind
        document = ProblemDocument(
            type=kind.type, title=kind.title, status=kind.status, detail=self.detail, errors=self.errors, **self.members
        )
        return Response(document.model_dump_json(exclude_defaults=True), kind.status, self.headers, MEDIA_TYPE)


def retry_later(kind: Kind, detail: str, retry_after_seconds: float) -> Problem:
    """A problem that time heals; Retry-After is in whole seconds, at least one."""
    return Problem(kind, detail, headers={"Retry-After": str(max(1, ceil(retry_after_seconds)))})


def busy(detail: str, retry_after_seconds: float = 1) -> Problem:
    """The mesh, or this replica, takes nothing more now."""
    return retry_later(UNAVAILABLE, detail, retry_after_seconds)


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """What the contract says is wrong with a body, without any value that was sent."""
    broken = [error["loc"] for error in errors]
    return [
        FieldError(pointer=_pointer(error["loc"]), message=_MESSAGES.get(error["type"], error["msg"]), fix=_fix(error))
        for error in errors
        # An array whose items are broken seems too short, because pydantic does not count those.
        if error["type"] != "too_short" or not any(_is_inside(loc, error["loc"]) for loc in broken)
    ]


def _is_inside(location: Sequence[Any], outer: Sequence[Any]) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _pointer(location: Sequence[Any]) -> str:
    """The JSON pointer of the field (RFC 6901, section 6); pydantic's location begins with the word "body"."""
    tokens = (str(part).replace("~", "~0").replace("/", "~1") for part in location[1:])
    return "#" + "".join(f"/{token}" for token in tokens)


_MESSAGES = {
    "missing": "The field is missing.",
    "extra_forbidden": "The field is not part of an order.",
    "string_pattern_mismatch": "The text does not have the form of this field.",
}
_FIXES = {
    "missing": "Add the field.",
    "extra_forbidden": "Leave the field out.",
    "string_type": "Send text, in double quotes.",
    "string_too_short": "Send at least {min_length} characters.",
    "string_too_long": "Send at most {max_length} characters.",
    "int_type": "Send a whole number, without quotes or fraction.",
    "int_from_float": "Send a whole number: amounts are in the currency's minor unit.",
    "int_parsing_size": "Send a smaller whole number.",
    "greater_than_equal": "Send {ge} or more.",
    "less_than_equal": "Send {le} or less.",
    "literal_error": "Send one of: {expected}.",
    "too_short": "Send at least {min_length}.",
    "too_long": "Send at most {max_length}.",
    "tuple_type": "Send a JSON array.",
    "model_type": "Send a JSON object.",
}
_FORMS = {"email": "Send an e-mail address, such as ada@example.com."}
_TOKEN_FORM = "Send 1 to 64 printable ASCII characters without space, '.', '*', '>' and '/'."


def _fix(error: Mapping[str, Any]) -> str:
    if error["type"] == "string_pattern_mismatch":
        return _FORMS.get(str(error["loc"][-1]), _TOKEN_FORM)
    return _FIXES.get(error["type"], "See the schema in /openapi.json.").format_map(error.get("ctx", {}))


async def http_problem(request: Request, error: Exception) -> Response:
    """The answer to a `Problem`; to a success that a route raised; or where no route fits: an unknown path, or a
    method that the path does not support."""
    assert isinstance(error, HTTPException)
    if isinstance(error, Problem):
        return error.response()
    if error.status_code < 400:
        return Response(status_code=error.status_code)
    known = {kind.status: kind for kind in (NOT_FOUND, METHOD_NOT_ALLOWED)}
    kind = known.get(error.status_code) or Kind(error.status_code, "http", str(error.detail))
    headers = {"Allow": _allowed(request)} if kind is METHOD_NOT_ALLOWED else error.headers
    return Problem(kind, f"{kind.title}: see /docs.", headers=headers).response()


def _allowed(request: Request) -> str:
    """Every method of the path: the router itself names only those of the first route that fits."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0].value]
    return ", ".join(sorted(set().union(*(getattr(route, "methods", None) or () for route in routes))))


async def invalid_request(_: Request, error: Exception) -> Response:
    """The answer to a header, or an order, that has not its form."""
    assert isinstance(error, RequestValidationError)
    headers = [str(each["loc"][-1]) for each in error.errors() if each["loc"][0] == "header"]
    if headers:
        detail = f"Send {' and '.join(headers)} in the form that /docs shows, or not at all."
        return Problem(BAD_HEADER, detail).response()
    detail = "Mend the fields in errors and send the order again."
    return Problem(INVALID_ORDER, detail, errors=field_errors(error.errors())).response()


_ASK_AGAIN = "Ask again with the same order_id or Idempotency-Key: nothing is done twice."


async def unavailable(_: Request, error: Exception) -> Response:
    """The answer where the mesh does not answer in time, or takes nothing now."""
    return busy(_ASK_AGAIN, getattr(error, "retry_after_seconds", 1)).response()


async def internal_problem(_: Request, __: Exception) -> Response:
    """The answer to an unexpected error: only the log has its text."""
    return Problem(INTERNAL, f"The error is logged. {_ASK_AGAIN}").response()
