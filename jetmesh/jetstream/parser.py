"""Splits what the broker sends into messages: one pass over each chunk, where nats-py matches each part anew."""

import logging
from collections.abc import Callable

from nats.aio.client import Client
from nats.protocol.parser import Parser

from jetmesh.common.throttled_log import Conditions, kind_of

log = logging.getLogger("jetmesh.connection")

Deliver = Callable[[int, str, str, bytes, bytes], bool]
"""Called with subscription id, subject, reply, header block and body; False: nats-py shall handle the message."""


class Splitter(Parser):
    """In the place of a client's parser: messages are split here, everything else (PING, INFO, -ERR) is nats-py's."""

    def __init__(self, client: Client, deliver: Deliver) -> None:
        super().__init__(client)
        self._client = client
        self._deliver = deliver
        self._rest = b""
        self._conditions = Conditions(log)

    def reset(self) -> None:
        """A new connection begins: what was left of the old one is gone."""
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Handle every whole message in what has come, and keep the rest."""
        data = self._rest + data if self._rest else data
        at = 0
        while (line := data.find(b"\r\n", at)) >= 0:
            if not data.startswith((b"MSG ", b"HMSG "), at):
                await super().parse(data[at : line + 2])
                at = line + 2
                continue
            arguments = data[at:line].split(b" ")
            body, end = line + 2, line + 2 + int(arguments[-1])
            if len(data) < end + 2:
                break
            if not self._message(arguments, data, body, end):
                await self._hand_on(arguments, data, body, end)
            at = end + 2
        self._rest = data[at:]

    def _message(self, arguments: list[bytes], data: bytes, begin: int, end: int) -> bool:
        """`MSG subject sid [reply] size`, or `HMSG subject sid [reply] headers-size size`. The broker takes any bytes
        but spaces for a subject, whether they are UTF-8 or not."""
        subject = arguments[1].decode("utf-8", "replace")
        if arguments[0] == b"MSG":
            reply = arguments[3].decode("utf-8", "replace") if len(arguments) == 5 else ""
            return self._deliver(int(arguments[2]), subject, reply, b"", data[begin:end])
        reply = arguments[3].decode("utf-8", "replace") if len(arguments) == 6 else ""
        middle = begin + int(arguments[-2])
        return self._deliver(int(arguments[2]), subject, reply, data[begin:middle], data[middle:end])

    async def _hand_on(self, arguments: list[bytes], data: bytes, begin: int, end: int) -> None:
        """What nobody here listens to is for nats-py."""
        has_headers = arguments[0] == b"HMSG"
        middle = begin + int(arguments[-2]) if has_headers else begin
        subject, reply = (
            name.decode("utf-8", "replace").encode()
            for name in (arguments[1], arguments[3] if len(arguments) == 5 + has_headers else b"")
        )
        try:
            await self._client._process_msg(int(arguments[2]), subject, reply, data[middle:end], data[begin:middle])
        except Exception as error:
            self._conditions.tell(
                kind_of(error), logging.ERROR, "a message on %r could not be handled", subject[:200], error=error
            )
