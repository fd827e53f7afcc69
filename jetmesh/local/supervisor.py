"""One supervised process: started, checked until it is ready, started again when it ends, stopped."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from jetmesh.local.lock import LockHeld, lock, write_pid
from jetmesh.local.state import StateFolder
from jetmesh.settings import environment

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
PAUSE_SECONDS_FIRST, PAUSE_SECONDS_MAX = 0.25, 10.0
STEADY_SECONDS = 30.0
"""After a process has lived this long, the pause before its next start is the shortest again."""
LOG_LINES = 8


class StartFailed(Exception):
    """A process did not start; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A process to run; `ready` checks whether it serves."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: float = 30.0
    pause_seconds_max: float = PAUSE_SECONDS_MAX
    niceness: int = 0
    """Its niceness (nice(2))."""


class Supervisor:
    """A process of the mesh. It leads a session of its own, so that Ctrl-C reaches only the command, which stops all
    processes in order. It holds the lock on its pid file, so that a later start finds it."""

    def __init__(self, spec: Spec, state: StateFolder, progress: Callable[[str], None]) -> None:
        self.name = spec.name
        self._spec, self._state, self._progress = spec, state, progress
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The id of the process that runs now; 0 if none does."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    async def start(self, *, until_ready: bool = True) -> None:
        """Start the process, and return once it serves, or, where it can't be ready yet, once it runs.

        Raises:
            StartFailed: it ended, or is not ready in time.
        """
        await self._spawn()
        if until_ready:
            await self._until_ready()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """Stop it with SIGTERM, and after a while with SIGKILL."""
        if self._keeper:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if not self._process or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), self._spec.stop_seconds)
        except TimeoutError:
            self._progress(f"{self.name} did not stop within {self._spec.stop_seconds:g} s: killed")
            with suppress(ProcessLookupError):  # it has ended meanwhile
                self._process.kill()
            await self._process.wait()

    async def _spawn(self) -> None:
        for folder in (self._state.pids, self._state.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with lock(self._state.pids / self.name) as held, (self._state.logs / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(), **self._spec.environment},
                pass_fds=(held.fileno(),),
                start_new_session=True,
            )
            write_pid(held, self._process.pid)
            with suppress(ProcessLookupError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._spec.niceness)

    async def _until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_SECONDS
        while not await self._spec.ready():
            if self._process.returncode is not None:
                raise StartFailed(self._report(f"{self.name} ended with status {self._process.returncode}"))
            if time.monotonic() > deadline:
                raise StartFailed(self._report(f"{self.name} is not ready after {READY_SECONDS:g} s"))
            await asyncio.sleep(POLL_SECONDS)

    async def _keep(self) -> None:
        """Start it again whenever it ends, after a pause that grows."""
        pause_seconds = PAUSE_SECONDS_FIRST
        while self._process is not None:
            began = time.monotonic()
            status = await self._process.wait()
            if time.monotonic() - began > STEADY_SECONDS:
                pause_seconds = PAUSE_SECONDS_FIRST
            self._progress(f"{self.name} ended with status {status}: starting it again in {pause_seconds:g} s")
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self._spec.pause_seconds_max)
            await self._spawn()
            with suppress(StartFailed):
                await self._until_ready()
                self._progress(f"{self.name} is back")

    def _report(self, what: str) -> str:
        path = self._state.logs / f"{self.name}.log"
        lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join([f"{what}; the end of {path}:", *(f"  {line}" for line in lines)])


async def end_leftovers(state: StateFolder, progress: Callable[[str], None]) -> None:
    """Stop the processes that a killed mesh left on this folder, the last started first: a locked pid file belongs to a
    living process of this mesh."""
    for path in sorted(state.pids.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            lock(path).close()
        except LockHeld as holder:
            progress(f"{path.name} is left from an earlier start (process {holder}): stopping it")
            await _end(state, path.name, int(str(holder)))


async def _end(state: StateFolder, name: str, pid: int) -> None:
    for number, seconds in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                return lock(state.pids / name).close()
            except LockHeld:
                await asyncio.sleep(POLL_SECONDS)
    raise StartFailed(f"{name} (process {pid}) of an earlier start can't be stopped")
