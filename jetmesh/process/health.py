"""Answers `/livez` and `/readyz` over HTTP: whether a process lives, whether it is ready, and why not."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from jetmesh.common.throttled_log import Conditions

log = logging.getLogger("jetmesh.health")

REQUEST_BYTES_MAX = 4096
REQUEST_SECONDS = 2.0
PROBES_MAX = 32
"""The most connections; beyond them the oldest is closed, so that an unfinished request blocks no probe."""


class Work(Protocol):
    """A service at work, as its health asks it."""

    @property
    def trouble(self) -> str:
        """Why it gets nothing done; empty if it does."""
        ...

    def notes(self) -> Mapping[str, str]:
        """The circuit breakers that are not closed, by dependency."""
        ...

    def remarks(self) -> Mapping[str, str]:
        """Further notes, by their subject."""
        ...


@dataclass(slots=True)
class Health:
    """The state of one service in one process. It is ready when there is no `reason` and its work has no trouble."""

    service: str
    reason: str = "starting"
    _work: Work | None = None
    _conditions: Conditions = field(default_factory=lambda: Conditions(log))

    def begins(self, work: Work) -> None:
        """The service has a connection: from now on its work says how it is, too."""
        self._work = work

    def unready(self, reason: str) -> None:
        """Set the reason for being unready."""
        self.reason = reason

    def waiting(self, reason: str) -> None:
        """Set the reason for being unready; it is logged at once, and then seldom."""
        self.reason = reason
        self._conditions.say(logging.INFO, reason, f"{self.service}: {reason}")

    def ready(self) -> None:
        """Take back the reason."""
        self.reason = ""
        self._conditions.over()

    @property
    def why_not(self) -> str:
        """Why the service is not ready; empty if it is."""
        return self.reason or (self._work.trouble if self._work else "")

    def notes(self) -> Mapping[str, str]:
        """Notes that don't make it unready: the circuit breakers that are not closed, by dependency."""
        return self._work.notes() if self._work else {}

    def remarks(self) -> Mapping[str, str]:
        """Further notes, by their subject."""
        return self._work.remarks() if self._work else {}


async def serve(services: list[Health], host: str, port: int) -> asyncio.Server:
    """Answer Kubernetes' probes. Liveness asks only whether the event loop runs: a broker's outage must not restart
    every replica."""

    probes: dict[asyncio.StreamWriter, None] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        probes[writer] = None
        if len(probes) > PROBES_MAX:
            next(iter(probes)).transport.abort()
        try:
            request = await asyncio.wait_for(reader.readuntil(b"\r\n"), REQUEST_SECONDS)
            writer.write(_response(request.split(b" ")[1].decode("ascii", "replace"), services))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ConnectionError):
            pass
        finally:
            probes.pop(writer, None)
            writer.close()

    return await asyncio.start_server(answer, host, port, limit=REQUEST_BYTES_MAX)


def _response(path: str, services: list[Health]) -> bytes:
    reasons = {health.service: health.why_not for health in services}
    if path == "/livez":
        status, body = "200 OK", {"status": "alive"}
    elif path == "/readyz":
        ready = not any(reasons.values())
        status = "200 OK" if ready else "503 Service Unavailable"
        body = {"status": "ready" if ready else "not ready", **{k: v for k, v in reasons.items() if v}}
        body |= {f"{h.service} needs {name}": state for h in services for name, state in h.notes().items()}
        body |= {f"{h.service}: {topic}": state for h in services for topic, state in h.remarks().items()}
    else:
        status, body = "404 Not Found", {"status": "try /livez or /readyz"}
    data = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data
