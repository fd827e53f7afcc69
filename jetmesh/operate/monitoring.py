"""Reads a server's monitoring pages: from its monitoring port, else from the system account if permitted."""

import asyncio
from typing import TypeVar
from urllib.error import HTTPError

from jetmesh.common.http import NO_ANSWER, get
from jetmesh.operate.findings import CheckContext
from jetmesh.operate.service_answers import Answer, ask_everybody, read

AnyPage = TypeVar("AnyPage", bound=Answer)

TIMEOUT_SECONDS = 2


class PageAnswer(Answer):
    """A page in the form in which the system account answers."""

    data: object = None


async def page(context: CheckContext, name: str, form: type[AnyPage]) -> AnyPage | None:
    """A page (`varz`, `healthz`) of the connected server; None if it can't be read."""
    if context.monitor_url:
        text = await asyncio.to_thread(_get, f"{context.monitor_url.rstrip('/')}/{name}")
        return read(form, text) if text else None
    subject = f"$SYS.REQ.SERVER.{context.server.get('server_id')}.{name.upper()}"
    answers = await ask_everybody(context.connection, subject, PageAnswer)
    return read(form, answers[0].data) if answers else None


def _get(url: str) -> bytes:
    try:
        return get(url, TIMEOUT_SECONDS)
    except HTTPError as refused:  # an unhealthy server gives its reason in the body
        with refused:
            return refused.read()
    except NO_ANSWER:  # it may be the port for clients
        return b""
