"""Child processes and what they use: CPU and memory as the kernel counts them."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 30.0
NO_BYTECODE, BYTECODE_FOLDER = "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"


@contextmanager
def bytecode() -> Iterator[None]:
    """Every Python that is started in the block keeps the bytecode of what it loads in one folder, so that all but the
    first start as an installed program does: a machine that keeps none compiles a thousand files at each start."""
    with tempfile.TemporaryDirectory(prefix="benchmark-bytecode-") as folder:
        os.environ[BYTECODE_FOLDER] = folder
        os.environ.pop(NO_BYTECODE, None)
        yield


class Processes:
    """Python modules run as processes, by name; all are stopped at the end of the block, each by its own id."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self.environment = {**os.environ, **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*self._running)

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    def start(self, name: str, *arguments: str, niceness: int = 0, **environment: str) -> None:
        """`python -m` the arguments; its output goes to a log in the folder."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.setpriority(os.PRIO_PROCESS, self._running[name].pid, niceness)

    def stop(self, *names: str) -> None:
        """Ask each to stop, and insist after a while."""
        stopping = [self._running.pop(name) for name in names]
        for process in stopping:
            process.send_signal(signal.SIGTERM)
        for process in stopping:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        """What it has said."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of every process so far."""
        return {name: cpu_seconds(process.pid) for name, process in self._running.items()}

    def memory_bytes(self) -> dict[str, int]:
        """The resident set of every process at its highest."""
        return {name: memory_bytes_max(process.pid) for name, process in self._running.items()}

    def ended(self) -> list[str]:
        """Those that are not running any more."""
        return [name for name, process in self._running.items() if process.poll() is not None]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def memory_bytes_max(pid: int) -> int:
    """The largest resident set so far (VmHWM of status)."""
    return _status_bytes(pid, "VmHWM:")


def memory_bytes(pid: int) -> int:
    """The resident set as it is now (VmRSS of status)."""
    return _status_bytes(pid, "VmRSS:")


def _status_bytes(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
