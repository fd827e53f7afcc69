"""Processes of a test: started, asked, and ended by their own id; `jetmesh run` among them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx

from jetmesh.common.ports import free_port
from jetmesh.testing import until

ENDS_SECONDS = 40.0
"""What a service may take to stop, and more."""


def probe(port: int, path: str = "/readyz") -> tuple[int, dict[str, str]]:
    """What a probe of a service answers; 0 where nobody does."""
    with suppress(httpx.TransportError):
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
        return answer.status_code, answer.json()
    return 0, {}


def is_ready(port: int) -> bool:
    """Whether the service of this health port is ready."""
    return probe(port)[0] == 200


@contextmanager
def started(
    command: Sequence[str | Path], log: Path | None = None, **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process for as long as the block lasts, asked to end as a kubelet does; what it says goes on to the log."""
    with log.open("ab") if log else nullcontext(subprocess.DEVNULL) as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, **options)
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[Any]", number: int = signal.SIGTERM) -> int:
    """Ask it to end, and insist after a while; its exit status."""
    process.send_signal(number)
    try:
        return process.wait(ENDS_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


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
        return probe(self.port, path)

    @property
    def why_not(self) -> str:
        """Why it is not ready; empty where it is, or where nobody answers yet."""
        told = self.get("/readyz")[1]
        return "; ".join(value for key, value in told.items() if key != "status")

    @property
    def is_ready(self) -> bool:
        """Whether it is."""
        return is_ready(self.port)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to stop."""
        self.process.send_signal(number)

    async def ended(self, within_seconds: float = ENDS_SECONDS) -> int:
        """Its exit status, once it has one."""
        await until(lambda: self.process.poll() is not None, within_seconds, "the process ends")
        return self.process.returncode


@contextmanager
def running(folder: Path, *services: str, app: str, **environment: str) -> Iterator[Running]:
    """A process that is killed at the latest when the block ends."""
    one = Running(folder, *services, app=app, **environment)
    try:
        yield one
    finally:
        with suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGCONT)
        one.process.kill()
        one.process.wait()
