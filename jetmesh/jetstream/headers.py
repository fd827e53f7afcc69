"""The headers of NATS messages (ADR-4): their names, encoding and decoding."""

from collections.abc import Mapping

Headers = dict[str, str]


class Nats:
    """The headers of the server."""

    PREFIX = "Nats-"
    STREAM = "Nats-Stream"
    SUBJECT = "Nats-Subject"
    SEQUENCE = "Nats-Sequence"
    TIME_STAMP = "Nats-Time-Stamp"
    NUM_PENDING = "Nats-Num-Pending"
    PENDING_MESSAGES = "Nats-Pending-Messages"
    PENDING_BYTES = "Nats-Pending-Bytes"
    MSG_ID = "Nats-Msg-Id"
    TTL = "Nats-TTL"
    EXPECTED = "Nats-Expected-"
    EXPECTED_STREAM = "Nats-Expected-Stream"
    EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
    EXPECTED_LAST_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
    BATCH_ID = "Nats-Batch-Id"
    BATCH_SEQUENCE = "Nats-Batch-Sequence"
    BATCH_COMMIT = "Nats-Batch-Commit"
    SCHEDULE = "Nats-Schedule"
    SCHEDULE_TARGET = "Nats-Schedule-Target"
    SCHEDULE_ROLLUP = "Nats-Schedule-Rollup"
    SCHEDULE_SOURCE = "Nats-Schedule-Source"
    SCHEDULE_TIME_ZONE = "Nats-Schedule-Time-Zone"
    SCHEDULE_NEXT = "Nats-Schedule-Next"
    SCHEDULER = "Nats-Scheduler"
    LAST_CONSUMER = "Nats-Last-Consumer"
    CONSUMER_STALLED = "Nats-Consumer-Stalled"
    SERVICE_ERROR = "Nats-Service-Error"
    SERVICE_ERROR_CODE = "Nats-Service-Error-Code"


class Jetmesh:
    """The headers of delayed redeliveries and dead letters."""

    PREFIX = "Jetmesh-"
    SERVICE = "Jetmesh-Service"
    REACTION = "Jetmesh-Reaction"
    SUBJECT = "Jetmesh-Subject"
    STREAM = "Jetmesh-Stream"
    SEQUENCE = "Jetmesh-Sequence"
    ATTEMPTS = "Jetmesh-Attempts"
    FIRST_TIME = "Jetmesh-First-Time"
    LAST_TIME = "Jetmesh-Last-Time"
    ERROR_TYPE = "Jetmesh-Error-Type"
    REASON = "Jetmesh-Reason"
    TRACEBACK_DIGEST = "Jetmesh-Traceback-Digest"
    TRACEBACK = "Jetmesh-Traceback"
    """The end of the traceback, percent-encoded."""
    FRAME = "Jetmesh-Frame"
    """Where in the service's own code the error was raised: `shop.payments.adapters:Gateway.hold:42`."""
    TRACEPARENT = "Jetmesh-Traceparent"
    """The trace context of the last attempt; the message may have none, or another client's."""
    OMITTED_BYTES = "Jetmesh-Omitted-Bytes"
    """How many bytes of headers and body were left out, so that a dead letter fits."""
    REPLAY = "Jetmesh-Replay"
    """On a delivery that is a replay: the sequence of the dead letter that it was."""
    UNKNOWN_SINCE = "Jetmesh-Unknown-Since"


class CloudEvents:
    """The attributes of an event, in binary mode."""

    PREFIX = "ce-"
    SPECVERSION = "ce-specversion"
    ID = "ce-id"
    TYPE = "ce-type"
    SOURCE = "ce-source"
    SUBJECT = "ce-subject"
    TIME = "ce-time"
    DATACONTENTTYPE = "ce-datacontenttype"
    CORRELATION_ID = "ce-correlationid"
    CAUSATION_ID = "ce-causationid"
    BEGAN = "ce-begantime"
    """When the first event of the story was stored (an extension): passed on from each event to the next."""


CONTENT_TYPE = "Content-Type"
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""W3C Trace Context."""

_OWN = (Nats.PREFIX.lower(), Jetmesh.PREFIX.lower())


def decode_headers(raw: bytes) -> Headers:
    """The header block of a NATS message; of repeated names the last counts, bytes that are not UTF-8 are replaced."""
    text = raw.decode("utf-8", "replace")
    try:  # the form in which every client writes them
        if not (text.startswith("NATS/1.0\r\n") and text.endswith("\r\n\r\n")):
            raise ValueError
        return dict([line.split(": ", 1) for line in text[10:-4].split("\r\n")])
    except ValueError:
        lines = [line.partition(":") for line in text.split("\r\n")[1:]]
        return {name: value.strip() for name, colon, value in lines if colon}


def as_published(headers: Mapping[str, str]) -> Headers:
    """The headers of a stored message without those that the server reads or adds."""
    return {name: value for name, value in headers.items() if not name.startswith("Nats-")}


def foreign(headers: Mapping[str, str]) -> Headers:
    """The headers that a publisher may choose. `Nats-` and `Jetmesh-` headers are the broker's and the runtime's, and
    are trusted only on subjects to which no one else may publish."""
    return {name: value for name, value in headers.items() if not name.lower().startswith(_OWN)}


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
