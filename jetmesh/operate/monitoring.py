"""A server's monitoring pages: at its port, else from the system account, where this user may ask it."""

import asyncio
from typing import TypeVar
from urllib.error import HTTPError

from jetmesh.common.http import NO_ANSWER, get
from jetmesh.operate.findings import Patient
from jetmesh.operate.service_answers import Answer, ask_everybody, read

Page = TypeVar("Page", bound=Answer)

TIMEOUT_SECONDS = 2


class Told(Answer):
    """A page as the system account answers with it."""

    data: object = None


async def page(patient: Patient, name: str, form: type[Page]) -> Page | None:
    """What a page (`varz`, `healthz`) of the server says that is connected to; None where it can't be seen."""
    if patient.monitor_url:
        text = await asyncio.to_thread(_get, f"{patient.monitor_url.rstrip('/')}/{name}")
        return read(form, text) if text else None
    subject = f"$SYS.REQ.SERVER.{patient.server.get('server_id')}.{name.upper()}"
    answers = await ask_everybody(patient.connection, subject, Told)
    return read(form, answers[0].data) if answers else None


def _get(url: str) -> bytes:
    try:
        return get(url, TIMEOUT_SECONDS)
    except HTTPError as refused:  # a server that is not healthy says why
        with refused:
            return refused.read()
    except NO_ANSWER:  # it may be the port for clients
        return b""
