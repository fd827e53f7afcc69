"""An answer that is no success, as a problem document (RFC 9457)."""

import json
from collections.abc import Mapping
from http.client import responses
from typing import Any, Self

MEDIA_TYPE = "application/problem+json"
STATUSES = range(400, 600)
BLANK = "about:blank"
"""The `type` of a problem that its status says enough about."""


class Problem(Exception):
    """What an endpoint raises instead of an answer, and what its caller gets.

    `status` is an HTTP status code (404: there is no such thing), `title` the same for each problem of a kind, `detail`
    what is wrong this time and what to do. `type` identifies the kind; further `members` are extension members.
    `headers` are those of an HTTP response, such as WWW-Authenticate; NATS takes none of them along.
    """

    def __init__(
        self, status: int, title: str, detail: str = "", *, type: str = BLANK,
        headers: Mapping[str, str] | None = None, **members: Any,
    ) -> None:  # fmt: skip
        if status not in STATUSES:
            raise ValueError(f"status: {status!r} is none of a problem; write an HTTP status from 400 to 599")
        title = title or responses.get(status, "Problem")
        super().__init__(f"{status} {title}{f': {detail}' if detail else ''}")
        self.status, self.title, self.detail, self.type, self.members = status, title, detail, type, members
        self.headers = headers

    def encoded(self) -> bytes:
        """The problem document."""
        document = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        return json.dumps({**self.members, **{name: value for name, value in document.items() if value}}).encode()

    @classmethod
    def decoded(cls, code: str, title: str, data: bytes) -> Self:
        """The problem in an answer: its status and title are in the headers, the rest in the document, if it is one."""
        status = int(code) if code in map(str, STATUSES) else 500
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = {}
        known = dict(document) if isinstance(document, dict) else {}
        texts = {name: str(known.pop(name, "")) for name in ("title", "detail", "type", "status")}
        kind = texts["type"] or BLANK
        return cls(status, texts["title"] or title, texts["detail"], type=kind, **_named(known))


def _named(members: dict[str, Any]) -> dict[str, Any]:
    own = ("self", "status", "title", "detail", "type", "headers")
    return {name: value for name, value in members.items() if name not in own}
