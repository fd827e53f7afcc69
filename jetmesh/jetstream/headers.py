"""Headers of NATS messages (ADR-4): as they are written, and as they are read."""

from collections.abc import Mapping

Headers = dict[str, str]


def decode_headers(raw: bytes) -> Headers:
    """The header block of a NATS message; of repeated names the last counts, bytes that are no UTF-8 are replaced."""
    text = raw.decode("utf-8", "replace")
    try:  # the way every client writes them
        if not (text.startswith("NATS/1.0\r\n") and text.endswith("\r\n\r\n")):
            raise ValueError
        return dict([line.split(": ", 1) for line in text[10:-4].split("\r\n")])
    except ValueError:
        lines = [line.partition(":") for line in text.split("\r\n")[1:]]
        return {name: value.strip() for name, colon, value in lines if colon}


def foreign(headers: Mapping[str, str]) -> Headers:
    """The headers that are their publisher's to choose: what begins with `Nats-` or `Jetmesh-` is said by the broker
    and by the runtime, on lanes that nobody else may write to, and believed on no other."""
    return {name: value for name, value in headers.items() if not name.lower().startswith(("nats-", "jetmesh-"))}


def header_lines(headers: Mapping[str, str]) -> str:
    """The lines of a NATS header block (ADR-4). Line breaks in values become spaces, so that no value can add one."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\r") == text.count("\n") == len(headers):
        return text
    lines = [" ".join(f"{name}: {value}".splitlines()) for name, value in headers.items()]
    return "".join([f"{line}\r\n" for line in lines])


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """A NATS header block."""
    return f"NATS/1.0\r\n{header_lines(headers)}\r\n".encode()


def lines_read(lines: str) -> Headers:
    """Header lines as a mapping."""
    return decode_headers(f"NATS/1.0\r\n{lines}\r\n".encode()) if lines else {}


MESSAGE_BYTES_MAX = (1 << 20) - (64 << 10)
"""The largest body and headers together: the server's limit of 1 MiB, less what a dead letter adds as evidence."""
