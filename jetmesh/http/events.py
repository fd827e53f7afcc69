"""Server-sent events (WHATWG HTML, section 9.2): one as text, the answer that sends them, and the wait for what comes
next, which ends when the server stops."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.responses import StreamingResponse

BEAT_SECONDS = 10.0
"""So long after the last one something is sent, so that nobody in between takes the connection for dead."""
STILL_HERE = ": \n\n"


def event(name: str, data: Mapping[str, Any]) -> str:
    """An event with a JSON document."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def answer(events: AsyncIterator[str]) -> StreamingResponse:
    """The answer that sends them; nobody in between keeps them back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, headers=headers, media_type="text/event-stream")


async def comes(leaving: asyncio.Event, seconds: float, *coming: "asyncio.Future[Any]") -> bool:
    """Wait until one of them is there, or for so long; False once the server stops. None of them is cancelled."""
    gone = asyncio.ensure_future(leaving.wait())
    try:
        await asyncio.wait([gone, *coming], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    return not leaving.is_set()
