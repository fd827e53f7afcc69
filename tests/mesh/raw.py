"""The NATS protocol by hand: what no client library would send, and anybody may."""

import asyncio

from jetmesh.testing import Broker

CONNECT = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
WITHIN_SECONDS = 10.0


async def say(broker: Broker, *commands: bytes) -> bytes:
    """Say this to the broker; what it answers, up to its PONG."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    try:
        await reader.readline()
        writer.write(CONNECT + b"".join(commands) + b"PING\r\n")
        await writer.drain()
        return await asyncio.wait_for(reader.readuntil(b"PONG\r\n"), WITHIN_SECONDS)
    finally:
        writer.close()


def pub(subject: bytes, data: bytes, reply: bytes = b"") -> bytes:
    """A message without headers."""
    return b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(data), data)


def hpub(subject: bytes, headers: bytes, data: bytes) -> bytes:
    """A message with a header block, whole or not."""
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (subject, len(headers), len(headers) + len(data), headers, data)
