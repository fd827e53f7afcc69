"""Faults of the network between a service and the broker: connections that break, are delayed, or are silent."""

import asyncio
from typing import Self


class Proxy:
    """A TCP relay in front of a server: `async with Proxy(broker.port) as proxy`, then connect to `proxy.url`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.delay_seconds = 0.0
        """The delay of each piece of data, in both directions."""
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
        """The value for `NATS_URL` to connect through it."""
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection; new ones work."""
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()
        self._answers_flow.set()

    def swallow_answers(self) -> None:
        """Pass on what clients send, and hold back the server's answers: outcomes become unknown."""
        self._answers_flow.clear()

    def let_pass(self) -> None:
        """Pass everything on again, the data held back first."""
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
        """Copy bytes in one direction until an end closes; then close the other direction."""
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
