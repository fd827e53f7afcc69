"""The header Idempotency-Key: what makes a retry the same request."""

from typing import Annotated

from fastapi import Depends, Header
from starlette.requests import Request

from jetmesh.http.problems import BAD_HEADER

_Given = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r'^("[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})$',
        description="Makes a retry the same request (draft-ietf-httpapi-idempotency-key-header): 1 to 255 printable "
        "characters, best a UUID in quotes.",
        examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
    ),
]


async def _given_once(request: Request, key: _Given = None) -> str | None:
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise BAD_HEADER.problem("Send one Idempotency-Key.")
    return key and key.strip('"')


IdempotencyKey = Annotated[str | None, Depends(_given_once)]
"""The Idempotency-Key of a request, without its quotes; None where there is none. What was done under it is kept with
`jetmesh.claim`."""
