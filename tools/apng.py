"""An animated PNG made of PNGs of one size (https://www.w3.org/TR/png-3/#apng-frame-based-animation)."""

import struct
import zlib
from collections.abc import Iterator, Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def animated(frames: Sequence[bytes], delays_ms: Sequence[int]) -> bytes:
    """The frames one after the other, without an end."""
    head = next(data for name, data in _chunks(frames[0]) if name == b"IHDR")
    parts = [SIGNATURE, _chunk(b"IHDR", head), _chunk(b"acTL", struct.pack(">II", len(frames), 0))]
    number = 0
    for position, (frame, delay) in enumerate(zip(frames, delays_ms, strict=True)):
        control = struct.pack(">I", number) + head[:8] + struct.pack(">IIHHBB", 0, 0, delay, 1_000, 0, 0)
        parts.append(_chunk(b"fcTL", control))
        number += 1
        for name, data in _chunks(frame):
            if name == b"IDAT" and position == 0:
                parts.append(_chunk(b"IDAT", data))
            elif name == b"IDAT":
                parts.append(_chunk(b"fdAT", struct.pack(">I", number) + data))
                number += 1
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
