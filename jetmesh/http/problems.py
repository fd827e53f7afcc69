"""Problem documents (RFC 9457) over HTTP: every answer that is no success says what is wrong and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from jetmesh.problem import MEDIA_TYPE, Problem


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: its status, the URI that programs know it by (RFC 9457, section 3.1.1), and its title, which
    never varies."""

    status: int
    type: str
    title: str

    @classmethod
    def named(cls, status: int, name: str, title: str) -> Self:
        """The kind `urn:problem-type:jetmesh:<name>`."""
        return cls(status, f"urn:problem-type:jetmesh:{name}", title)

    def problem(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> Problem:
        """A problem of this kind: `detail` says what to do; `members` are extension members."""
        return Problem(self.status, self.title, detail, type=self.type, headers=headers, **members)


MALFORMED = ProblemKind.named(400, "malformed-body", "The body is not JSON")
BAD_HEADER = ProblemKind.named(400, "bad-header", "A header is wrong")
"""A header, or a parameter of the path or the query, has not its form (400)."""
UNAUTHORIZED = ProblemKind.named(401, "token-missing", "A token is needed")
"""The request has no token; add a header `WWW-Authenticate` (401)."""
FORBIDDEN = ProblemKind.named(403, "token-wrong", "The token does not fit")
"""The token does not open what is asked for (403)."""
NOT_FOUND = ProblemKind.named(404, "not-found", "There is nothing here")
"""Nothing has this path or this id (404)."""
METHOD_NOT_ALLOWED = ProblemKind.named(405, "method-not-allowed", "The method is not allowed here")
BODY_TIMEOUT = ProblemKind.named(408, "body-timeout", "The body took too long")
HEAD_TIMEOUT = ProblemKind.named(408, "head-timeout", "The request took too long")
TOO_LARGE = ProblemKind.named(413, "body-too-large", "The body is too large")
"""The body, or what would be recorded of it, is too large (413)."""
UNSUPPORTED_MEDIA_TYPE = ProblemKind.named(415, "unsupported-media-type", "The body must be application/json")
INVALID_REQUEST = ProblemKind.named(422, "invalid-request", "The request breaks its contract")
"""The body breaks its contract; the member `errors` names each field (422)."""
TOO_MANY_REQUESTS = ProblemKind.named(429, "too-many-requests", "Too many requests")
HEAD_TOO_LARGE = ProblemKind.named(431, "head-too-large", "The headers are too large")
INTERNAL = ProblemKind.named(500, "internal-error", "The service failed")
CROWDED = ProblemKind.named(503, "crowded", "Too many connections")
UNAVAILABLE = ProblemKind.named(503, "unavailable", "The mesh is not taking this now")

OF_A_BODY = (MALFORMED, BODY_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
"""What any request with a body may get, beside what its contract says."""


class FieldError(BaseModel):
    """One wrong field: where it is (a JSON pointer as a URI fragment), what is wrong with it, what would be right."""

    pointer: str = Field(examples=["#/lines/0/quantity"])
    message: str = Field(examples=["Input should be greater than or equal to 1"])
    fix: str = Field(examples=["Send 1 or more."])


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(json_schema_extra={"format": "uri"})
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What to do about it.")
    errors: Sequence[FieldError] = ()


def response_of(problem: Problem) -> Response:
    """The problem as the answer to a request."""
    return Response(problem.encoded(), problem.status, problem.headers, MEDIA_TYPE)


def retry_later(kind: ProblemKind, detail: str, retry_after_seconds: float) -> Problem:
    """A problem that time heals; Retry-After is in whole seconds, at least one."""
    return kind.problem(detail, headers={"Retry-After": str(max(1, ceil(retry_after_seconds)))})


def busy(detail: str, retry_after_seconds: float = 1) -> Problem:
    """The mesh, or this replica, takes nothing more now (503)."""
    return retry_later(UNAVAILABLE, detail, retry_after_seconds)
