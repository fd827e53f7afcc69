"""Dead letters: what could not be handled, with its original bytes and headers, and why; stored before it is acked."""

import traceback
from hashlib import sha256

from jetmesh.record import Guard, Message, Recorder, Refused
from jetmesh.wire import Delivery, Headers, now

STREAM = "DEAD_LETTERS"
REASON_MAX = 1_000


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
        "Jetmesh-First-Time": f"{delivery.timestamp:.6f}",
        "Jetmesh-Last-Time": now(),
    }


async def bury(recorder: Recorder, service: str, reaction: str, delivery: Delivery, error: BaseException) -> bool:
    """Store the letter, once; False where it was there already.

    Raises:
        Unavailable: the broker does not take it now; the delivery must not be acked.
    """
    subject = subject_of(service, reaction, delivery)
    headers = {name: value for name, value in delivery.headers.items() if not name.startswith("Nats-")}
    headers.update(evidence(service, reaction, delivery, error))
    try:
        await recorder.record(Message(subject, delivery.data, headers, Guard(subject, 0)), limited=False)
    except Refused:
        return False
    return True
