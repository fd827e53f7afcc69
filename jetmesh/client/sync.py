"""The same connection for programs without an event loop: scripts, Django, a thread pool.

A thread of its own runs the loop. It is made when it is first needed, once in each process: after a fork the child
makes another one, and leaves the parent's connection alone.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import copy_context
from functools import partial
from os import PathLike
from typing import Any, Self, TypeVar
from weakref import WeakSet

from jetmesh.client.mesh import Mesh, connect
from jetmesh.event import Event, EventType
from jetmesh.failure import BrokerUnavailable
from jetmesh.request_model import AnyRequest, Response
from jetmesh.runtime.publish_result import PublishResult
from jetmesh.runtime.reader import RecordedPage

T = TypeVar("T")

CLOSE_SECONDS = 10.0
CLOSED = "the mesh was closed meanwhile by another thread; asking again is safe, and connects again"

_MESHES: "WeakSet[SyncMesh]" = WeakSet()


class SyncMesh:
    """A mesh for any number of threads. It connects when it is first used, and again after `close`."""

    def __init__(self, connecting: Callable[[], AbstractAsyncContextManager[Mesh]]) -> None:
        self._connecting = connecting
        self._line: _Line | None = None
        self._inherited: list[_Line] = []
        self._lock = threading.Lock()
        _MESHES.add(self)

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, event: Event, *, wait_seconds: float = 0.0) -> PublishResult:
        """Publish an event as `Mesh.publish` does, in the trace of this thread's current span."""
        return self._open().call(lambda mesh: mesh.publish(event, wait_seconds=wait_seconds))

    def request(self, request: AnyRequest[Response], *, timeout_seconds: float = 5.0) -> Response:
        """Ask the service that answers a request, as `Mesh.request` does."""
        return self._open().call(lambda mesh: mesh.request(request, timeout_seconds=timeout_seconds))

    def read(self, key: str, event_type: EventType, *, after: int = 0, limit: int = 100) -> RecordedPage:
        """A page of the events of a type that were recorded about a key, as `Mesh.read` has it."""
        return self._open().call(lambda mesh: mesh.read(key, event_type, after=after, limit=limit))

    def close(self) -> None:
        """Flush, disconnect and end the thread; also done when the interpreter exits."""
        with self._lock:
            line, self._line = self._line, None
        if line:
            line.close()

    def _open(self) -> "_Line":
        with self._lock:
            if self._line is None:
                self._line = _Line(self._connecting)
            return self._line

    def forked(self) -> None:
        """Called in the child of a fork, which has no such thread: the connection is the parent's, and stays open."""
        self._lock = threading.Lock()
        if self._line:
            self._inherited.append(self._line)
            self._line = None


class _Line:
    """One connection, on a loop in a thread."""

    def __init__(self, connecting: Callable[[], AbstractAsyncContextManager[Mesh]]) -> None:
        self._loop, self._lock, self._is_open = asyncio.new_event_loop(), threading.Lock(), True
        self._thread = threading.Thread(target=self._run, name="jetmesh", daemon=True)
        self._thread.start()
        self._block = connecting()
        try:
            self._mesh = self._submit(self._block.__aenter__)
        except BaseException:
            self._stop()
            raise

    def call(self, do: Callable[[Mesh], Awaitable[T]]) -> T:
        """What `do` returns, run on the loop in the context of this thread."""
        return self._submit(partial(do, self._mesh))

    def close(self) -> None:
        """Close the connection, then the loop."""
        with suppress(TimeoutError):
            self._submit(partial(self._block.__aexit__, None, None, None), CLOSE_SECONDS)
        self._stop()

    def _submit(self, do: Callable[[], Awaitable[T]], within_seconds: float | None = None) -> T:
        if threading.current_thread() is self._thread:
            raise RuntimeError("this is the mesh's own thread: use `async with jetmesh.connect()` on a loop")
        answer: Future[T] = Future()
        with self._lock:
            if not self._is_open:
                raise BrokerUnavailable(CLOSED, 0.0)
            self._loop.call_soon_threadsafe(partial(_begin, do, answer), context=copy_context())
        return answer.result(within_seconds)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in (left := asyncio.all_tasks(self._loop)):
            task.cancel()  # otherwise the threads that wait for it would wait for ever
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def _stop(self) -> None:
        with self._lock:
            self._is_open = False
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


def _begin(do: Callable[[], Awaitable[Any]], answer: "Future[Any]") -> None:
    """Run on the loop, and give its result to the thread that waits."""
    task = asyncio.ensure_future(do())
    task.add_done_callback(partial(_end, answer))


def _end(answer: "Future[Any]", task: "asyncio.Future[Any]") -> None:
    if task.cancelled():
        answer.set_exception(BrokerUnavailable(CLOSED, 0.0))
    elif error := task.exception():
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


def connect_sync(url: str = "", *, nkey_seed: str | PathLike[str] = "", name: str = "jetmesh-client") -> SyncMesh:
    """A connection like that of `connect`, for programs without an event loop: use it in a `with` block, or keep it for
    the life of the program. Any number of threads may use it, and the children of a fork."""
    return SyncMesh(partial(connect, url, nkey_seed=nkey_seed, name=name))


@atexit.register
def _close_all() -> None:
    for mesh in list(_MESHES):
        mesh.close()


def _forked() -> None:
    for mesh in list(_MESHES):
        mesh.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
