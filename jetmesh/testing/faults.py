"""Faults of the network between a service and the broker: connections that break, and those that fall silent."""

import asyncio
from typing import Self


class Proxy:
    """A TCP relay in front of a server: `async with Proxy(broker.port) as proxy`, then connect to `proxy.url`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.delay_seconds = 0.0
        """How long every piece is kept back, both ways."""
        self._target = host, port
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers_flow = asyncio.Event()
        self._answers_flow.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """What `NATS_URL` is behind it."""
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection; new ones pass."""
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()
        self._answers_flow.set()

    def swallow_answers(self) -> None:
        """Let what clients send pass, and keep what the server says from them: outcomes become unknown."""
        self._answers_flow.clear()

    def let_pass(self) -> None:
        """Everything flows again, what was kept back first."""
        self._answers_flow.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, server_writer)
        self._pairs.add(pair)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer, answers=True))
        finally:
            self._pairs.discard(pair)
            self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False) -> None:
        """Carry bytes one way until an end is gone; then the other way ends as well."""
        try:
            while data := await source.read(65_536):
                if answers:
                    await self._answers_flow.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
