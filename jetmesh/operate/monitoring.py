"""A server's monitoring pages: at its port, else from the system account, where this user may ask it."""

import asyncio
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import TypeVar

from jetmesh.operate.findings import Patient
from jetmesh.operate.service_answers import Answer, ask_everybody, read

Page = TypeVar("Page", bound=Answer)

TIMEOUT_SECONDS = 2
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A page of the mesh's own: no proxy is asked for it."""


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
        with DIRECT.open(url, timeout=TIMEOUT_SECONDS) as response:
            found: bytes = response.read()
    except urllib.error.HTTPError as refused:  # a server that is not healthy says why
        with refused:
            return refused.read()
    except (OSError, ValueError, HTTPException):  # nobody, no address, or something else: the port for clients
        return b""
    return found
