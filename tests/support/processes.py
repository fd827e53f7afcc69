"""`jetmesh run` as a process of a test, with what it says and what its probes answer."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx

from jetmesh.testing import until

ENDS_SECONDS = 15.0


def free_port() -> int:
    """A port that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


class Running:
    """One process."""

    def __init__(self, folder: Path, *services: str, app: str, **environment: str) -> None:
        self.port = free_port()
        self._log = folder / f"{self.port}.log"
        command = [sys.executable, "-m", "jetmesh", "run", *services, "--app", app]
        own = {"JETMESH_HEALTH_PORT": str(self.port), "JETMESH_STATE": str(folder), "JETMESH_LOG_FORMAT": "text"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **own, **environment}, stdout=log, stderr=log)

    @property
    def said(self) -> str:
        """Everything that it has logged."""
        return self._log.read_text(errors="replace")

    def lines(self, words: str) -> list[str]:
        """The lines with these words."""
        return [line for line in self.said.splitlines() if words in line]

    def get(self, path: str) -> tuple[int, dict[str, str]]:
        """What a probe answers; 0 where nobody does."""
        with suppress(httpx.TransportError):
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False)
            return answer.status_code, answer.json()
        return 0, {}

    @property
    def why_not(self) -> str:
        """Why it is not ready; empty where it is, or where nobody answers yet."""
        told = self.get("/readyz")[1]
        return "; ".join(value for key, value in told.items() if key != "status")

    @property
    def is_ready(self) -> bool:
        """Whether it is."""
        return self.get("/readyz")[0] == 200

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to stop."""
        self.process.send_signal(number)

    async def ended(self, within_seconds: float = ENDS_SECONDS) -> int:
        """Its exit status, once it has one."""
        await until(lambda: self.process.poll() is not None, within_seconds, "the process ends")
        return self.process.returncode


@contextmanager
def running(
    folder: Path, *services: str, app: str = "jetmesh_shop.flow:SERVICES", **environment: str
) -> Iterator[Running]:
    """A process that is killed at the latest when the block ends."""
    one = Running(folder, *services, app=app, **environment)
    try:
        yield one
    finally:
        with suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGCONT)
        one.process.kill()
        one.process.wait()
