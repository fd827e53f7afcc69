"""Stores dead letters: the original body and headers with the reason, before the delivery is acknowledged."""

import sys
import traceback
from collections.abc import Iterator
from hashlib import sha256
from types import FrameType
from urllib.parse import quote

from jetmesh.cloudevents import now
from jetmesh.failure import REASON_MAX, TooLarge, Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import Headers, Jetmesh, encode_headers, foreign
from jetmesh.jetstream.limits import HEADER_BYTES_MAX
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.runtime import origin
from jetmesh.topology import names
from jetmesh.topology.names import DEAD_LETTERS

GUARD_BYTES = 512
LETTER_BYTES_MIN = 256
SHORT = 100
TRACEBACK_MAX = 1_500
READABLE = " !#$&'()*+,/:;<=>?@[]^`{|}~\""
NOT_THEIRS = sys.stdlib_module_names | {"jetmesh", ""}
"""The packages whose frames are no service's."""


def subject_of(service: str, reaction: str, delivery: RawDelivery) -> str:
    """One subject per reaction and source message: a second letter about the same failure is refused."""
    return names.dead_letter(origin.of(service, reaction, delivery).tokens)


def evidence(service: str, reaction: str, delivery: RawDelivery, error: BaseException) -> Headers:
    """The reason of the failure, as headers that are added to the original ones."""
    trace = "".join(traceback.format_exception(error))
    return {
        Jetmesh.SERVICE: service,
        Jetmesh.REACTION: reaction,
        Jetmesh.ERROR_TYPE: type(error).__qualname__,
        Jetmesh.REASON: _reason(error)[:REASON_MAX],
        Jetmesh.TRACEBACK_DIGEST: sha256(trace.encode()).hexdigest()[:16],
        **({Jetmesh.FRAME: frame} if (frame := own_frame(error)) else {}),
        Jetmesh.TRACEBACK: quote(trace[-TRACEBACK_MAX:], safe=READABLE),
        Jetmesh.ATTEMPTS: str(delivery.delivered),
        Jetmesh.SUBJECT: delivery.subject,
        Jetmesh.STREAM: delivery.stream,
        Jetmesh.SEQUENCE: str(delivery.sequence),
        Jetmesh.FIRST_TIME: repr(delivery.timestamp),
        Jetmesh.LAST_TIME: now(),
    }


def own_frame(error: BaseException) -> str:
    """Where in the service's own code the error was raised: the innermost frame of the package that the runtime called.
    Empty: in none of it."""
    frames = [(each, line) for each, line in traceback.walk_tb(error.__traceback__) if _package(each) not in NOT_THEIRS]
    own = [(each, line) for each, line in frames if _package(each) == _package(frames[0][0])]
    if not own:
        return ""
    frame, line = own[-1]
    return f"{frame.f_globals.get('__name__', '')}:{frame.f_code.co_qualname}:{line}"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _reason(error: BaseException) -> str:
    """What the error says, and which middleware raised it."""
    notes = (f"({note})" for note in getattr(error, "__notes__", ()))
    return " ".join([str(error) or type(error).__qualname__, *notes])


def _sizes(bytes_max: int) -> Iterator[int]:
    """Sizes to try: what the broker takes; if the stream takes less, half of it, and so on."""
    while bytes_max >= LETTER_BYTES_MIN:
        yield bytes_max
        bytes_max //= 2


def _fitting(headers: Headers, known: Headers, data: bytes, bytes_max: int) -> tuple[Headers, bytes]:
    """The letter within so many bytes: its evidence, then the original headers, then the body. The rest stays in the
    stream that the letter names, and the letter says how many bytes that is."""
    kept = _evidence_in(known, bytes_max // 2)
    if _size(whole := headers | kept) <= min(bytes_max // 2, HEADER_BYTES_MAX - GUARD_BYTES):
        kept, omitted = whole, 0
    else:
        omitted = _size(headers)
    room = max(0, bytes_max - _size(kept) - len(Jetmesh.OMITTED_BYTES) - 16)
    omitted += max(0, len(data) - room)
    if not omitted:
        return kept, data
    return ({**kept, Jetmesh.OMITTED_BYTES: str(omitted)} if kept else {}), data[:room]


def _evidence_in(known: Headers, bytes_max: int) -> Headers:
    """The evidence, shortened if it must be, first by the traceback. Service, reaction, stream and sequence are in the
    subject as well."""
    without = {name: value for name, value in known.items() if name != Jetmesh.TRACEBACK}
    short = {name: value.encode()[:SHORT].decode("utf-8", "ignore") for name, value in without.items()}
    return next((evidence for evidence in (known, without, short) if _size(evidence) <= bytes_max), {})


def _size(headers: Headers) -> int:
    return len(encode_headers(headers))


async def store(
    publisher: Publisher,
    service: str,
    reaction: str,
    delivery: RawDelivery,
    error: BaseException,
    traceparent: str = "",
) -> bool:
    """Store the letter once, cut until it fits; False if it was there already.

    Raises:
        Unavailable: the broker does not take it now; the delivery must not be acked.
    """
    subject = subject_of(service, reaction, delivery)
    headers = foreign(delivery.headers)
    known = evidence(service, reaction, delivery, error)
    if traceparent:
        known[Jetmesh.TRACEPARENT] = traceparent
    for bytes_max in _sizes(publisher.payload_bytes_max - GUARD_BYTES):
        try:
            return await _publish(
                publisher, subject, *_fitting(headers, known, delivery.data, bytes_max), delivery.replay
            )
        except TooLarge:
            continue
    raise Unavailable(
        f"the broker's max_payload, or the max_msg_size of {DEAD_LETTERS}, has no room for a letter", 60.0
    )


async def _publish(publisher: Publisher, subject: str, headers: Headers, data: bytes, replayed: int) -> bool:
    """Publish the letter. After a failed replay it replaces the earlier letter, which may still be there."""
    for sequence in dict.fromkeys((replayed, 0)):
        try:
            await publisher.record(Message(subject, data, headers, Guard(subject, sequence)), limited=False)
        except Refused:
            continue
        return True
    return False
