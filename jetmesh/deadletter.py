"""Dead letters: what could not be handled, with its original bytes and headers, and why; stored before it is acked."""

import traceback
from hashlib import sha256

from jetmesh.message import Guard, Message, Refused
from jetmesh.record import Recorder
from jetmesh.wire import Delivery, Headers, encode_headers, now

STREAM = "DEAD_LETTERS"
SUBJECTS = "dead.>"
RECORD_SUBJECTS = "dead_log.>"
"""Who replayed and discarded what."""
REPLAY = "Jetmesh-Replay"
"""On a delivery that is a replay: the sequence of the letter that it was."""
TRACEPARENT = "Jetmesh-Traceparent"
"""The context of the last attempt: that of the message may be none, or a stranger's."""
REASON_MAX = 1_000
OMITTED = "Jetmesh-Omitted-Bytes"
GUARD_BYTES = 512


def subject_of(service: str, reaction: str, delivery: Delivery) -> str:
    """One subject per reaction and source message: a second letter about the same failure is refused."""
    return f"dead.{service}.{reaction}.{delivery.stream}.{delivery.sequence}"


def evidence(service: str, reaction: str, delivery: Delivery, error: BaseException) -> Headers:
    """What is known about the failure, as headers beside the original ones."""
    trace = "".join(traceback.format_exception(error))
    return {
        "Jetmesh-Service": service,
        "Jetmesh-Reaction": reaction,
        "Jetmesh-Error-Type": type(error).__qualname__,
        "Jetmesh-Reason": (str(error) or type(error).__qualname__)[:REASON_MAX],
        "Jetmesh-Traceback-Digest": sha256(trace.encode()).hexdigest()[:16],
        "Jetmesh-Attempts": str(delivery.delivered),
        "Jetmesh-Subject": delivery.subject,
        "Jetmesh-Stream": delivery.stream,
        "Jetmesh-Sequence": str(delivery.sequence),
        "Jetmesh-First-Time": repr(delivery.timestamp),
        "Jetmesh-Last-Time": now(),
    }


def _fitting(headers: Headers, data: bytes, bytes_max: int) -> tuple[Headers, bytes]:
    """The server limits headers and body together, and cuts the connection of whoever sends more. What does not fit
    stays where it is, in the stream that the letter names, and the letter says how much that is."""
    if len(encode_headers(headers)) > bytes_max // 2:
        headers = {name: value for name, value in headers.items() if name.startswith("Jetmesh-")}
    room = bytes_max - len(encode_headers(headers)) - len(OMITTED) - 16
    if len(data) <= room:
        return headers, data
    return {**headers, OMITTED: str(len(data) - room)}, data[:room]


async def bury(
    recorder: Recorder, service: str, reaction: str, delivery: Delivery, error: BaseException, traceparent: str = ""
) -> bool:
    """Store the letter, once; False where it was there already. A replay that failed again takes the place of the
    letter that it was, which may not be removed yet.

    Raises:
        Unavailable: the broker does not take it now; the delivery must not be acked.
    """
    subject = subject_of(service, reaction, delivery)
    headers = {name: value for name, value in delivery.headers.items() if not name.startswith("Nats-")}
    headers.update(evidence(service, reaction, delivery, error))
    if traceparent:
        headers[TRACEPARENT] = traceparent
    headers, data = _fitting(headers, delivery.data, recorder.payload_bytes_max - GUARD_BYTES)
    replayed = delivery.headers.get(REPLAY, "")
    for sequence in (int(replayed), 0) if replayed.isdecimal() else (0,):
        try:
            await recorder.record(Message(subject, data, headers, Guard(subject, sequence)), limited=False)
        except Refused:
            continue
        return True
    return False
