"""An event loop on virtual time: waiting takes no time, and a seed decides which ready callback runs next."""

import asyncio
import gc
import heapq
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

OWNER: ContextVar[str] = ContextVar("owner", default="")
"""The simulated process that a callback belongs to; empty if it belongs to none."""

EPOCH_SECONDS = 1_800_000_000.0
"""The wall clock when a simulation begins."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs one callback at a time: the next ready one, or with `shuffled` a random ready one.

    asyncio runs callbacks in order, but real processes take a varying time for each step. It relies on `_ready` and
    `_run_once` of CPython's loop; there are no threads and no sockets.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self, seed: int, *, shuffled: bool = True) -> None:
        super().__init__()
        self.random = random.Random(f"schedule {seed}")
        self.shuffled = shuffled
        self.tasks: dict[str, list[asyncio.Task[Any]]] = {}
        self.errors: list[str] = []
        self._now = 0.0
        self._due: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers = 0
        self._frozen: dict[str, list[asyncio.Handle]] = {}
        self._countdowns: dict[str, tuple[int, Callable[[], None]]] = {}
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._on_error)

    def time(self) -> float:
        """Seconds since the world began."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in every loop; timers for the same time fire in the order in which they were made."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers += 1
        heapq.heappush(self._due, (when, self._timers, timer))
        return timer

    def freeze(self, owner: str) -> None:
        """Run no callback of `owner` until it is thawed, as under SIGSTOP."""
        self._frozen.setdefault(owner, [])

    def thaw(self, owner: str) -> None:
        """Run the callbacks that became ready meanwhile."""
        self._ready.extend(self._frozen.pop(owner, ()))

    def after_steps(self, owner: str, steps: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `owner` has run so many more callbacks: a point between two of its awaits."""
        self._countdowns[owner] = (steps, callback)

    def end(self, owner: str) -> None:
        """Cancel every task of `owner`."""
        self._countdowns.pop(owner, None)
        self.thaw(owner)
        for task in self.tasks.pop(owner, ()):
            task.cancel()

    def failures(self) -> list[str]:
        """Errors that no code handled: of tasks that failed, of callbacks that raised."""
        for tasks in self.tasks.values():
            self._forget_done(tasks)
        gc.collect(0)
        return self.errors

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end."""
        return self.run_until_complete(main)

    def _make_task(self, loop: asyncio.AbstractEventLoop, main: Any, context: Context | None = None) -> Any:
        task: asyncio.Task[Any] = asyncio.Task(main, loop=loop, context=context)
        tasks = self.tasks.setdefault(OWNER.get() if context is None else context.get(OWNER, ""), [])
        tasks.append(task)
        if len(tasks) % 64 == 0:
            self._forget_done(tasks)
        return task

    def _forget_done(self, tasks: "list[asyncio.Task[Any]]") -> None:
        """Drop tasks that are done, so that asyncio reports errors that were never retrieved."""
        tasks[:] = [task for task in tasks if not task.done()]

    def _on_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), asyncio.CancelledError):
            self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _run_once(self) -> None:
        while not self._stopping:
            self._collect()
            handle = self._choose()
            if handle._cancelled:
                continue
            owner = handle._context.get(OWNER, "")  # type: ignore[attr-defined]
            if owner in self._frozen:
                self._frozen[owner].append(handle)
                continue
            handle._run()
            if owner in self._countdowns:
                self._count_down(owner)

    def _collect(self) -> None:
        """Make due timers ready; if none is due, move the clock to the next."""
        due, ready = self._due, self._ready
        while due and (due[0][0] <= self._now or not ready):
            when, _, timer = heapq.heappop(due)
            if not timer._cancelled:
                self._now = max(self._now, when)
                ready.append(timer)
        if not ready:
            raise RuntimeError("deadlock: every task waits, and no timer is set")

    def _choose(self) -> asyncio.Handle:
        ready = self._ready
        if self.shuffled and len(ready) > 1:
            ready.rotate(-int(self.random.random() * len(ready)))
        return ready.popleft()

    def _count_down(self, owner: str) -> None:
        steps, callback = self._countdowns[owner]
        if steps > 1:
            self._countdowns[owner] = (steps - 1, callback)
        else:
            del self._countdowns[owner]
            callback()

    def _process_events(self, event_list: Any) -> None:
        """There are no file descriptors."""

    def _write_to_self(self) -> None:
        """There are no other threads that could wake it."""


@contextmanager
def virtual_clock(loop: SimulatedLoop, dice: random.Random) -> Iterator[None]:
    """Inside, `time` returns the loop's time, and `random.uniform` and `uuid.uuid4` follow the seed.

    So the runtime needs no parameter for the clock: every module that calls these functions is simulated.
    """
    before = time.monotonic, time.time, time.time_ns, time.perf_counter, random.uniform, uuid.uuid4
    time.monotonic = time.perf_counter = loop.time
    time.time = lambda: EPOCH_SECONDS + loop.time()
    time.time_ns = lambda: int(time.time() * 1e9)
    random.uniform = dice.uniform
    uuid.uuid4 = lambda: uuid.UUID(int=dice.getrandbits(128), version=4)
    try:
        yield
    finally:
        time.monotonic, time.time, time.time_ns, time.perf_counter, random.uniform, uuid.uuid4 = before
