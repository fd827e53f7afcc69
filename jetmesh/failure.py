"""Decides what becomes of a failed delivery: another attempt after a pause, or a dead letter."""

import math
import random
from dataclasses import dataclass
from typing import Any

from jetmesh.outcome import DeadLettered, Later, Retried

REASON_MAX = 1_000
"""The most characters of a reason: it may quote a message from outside."""


ASKED_SECONDS_MAX = 86_400.0
"""The longest pause that a `Retry-After` may ask for: a wrong one must not stop a reaction for a year."""


class NotYet(Exception):
    """The story that was read is old, or what the reaction waits for has not happened: try again shortly."""


class Permanent(Exception):
    """Trying again can't help: the delivery goes to the dead letters at once."""


class BrokenContract(Permanent):
    """The message is not what its contract says; the text names the field and the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason if len(reason) <= REASON_MAX else f"{reason[:REASON_MAX]}…")


class TooLarge(Permanent):
    """The message is larger than the broker takes. Sending it would end the connection."""


class UnknownType(BrokenContract):
    """The message is of a type that this version of the service does not take; another one may."""


class Unavailable(Exception):
    """Something that the reaction needs is down; `retry_after_seconds` is the pause to begin with."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.2) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class BrokerUnavailable(Unavailable):
    """The broker is down; circuit breakers of other dependencies do not count it."""


class Denied(BrokerUnavailable):
    """The broker denies this user the subject. An operator may allow it, so that a service tries again."""


class Disowned(Exception):
    """The durable of the delivery is gone. A new durable delivers the message again if it is still in the stream."""

    def __init__(self) -> None:
        super().__init__("its durable is gone, and perhaps its stream")


class Deferred(Exception):
    """What the reaction needs answers, and puts off this delivery alone: pauses grow until the attempts are used up.

    With `retry_after_seconds` (the `Retry-After` of a 429) the delivery comes again after that time, and no attempt is
    used up; if the reaction declares a `limit`, no other delivery begins before, in any process. A circuit breaker
    counts it as a success.
    """

    def __init__(self, reason: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        if not _is_pause(retry_after_seconds):
            raise TypeError(f"retry_after_seconds={retry_after_seconds!r}: give a number of seconds")
        self.retry_after_seconds = retry_after_seconds


def _is_pause(seconds: Any) -> bool:
    return seconds is None or (isinstance(seconds, (int, float)) and math.isfinite(seconds))


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a delivery is tried, and the pauses between attempts.

    `attempts`: deliveries before it is a dead letter; None never gives up (for compensations).
    `first_seconds`, `longest_seconds`: the pause after attempt n is drawn evenly from 0 to
    min(longest, first · 2ⁿ⁻¹): exponential back-off with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    attempts: int | None = 10
    first_seconds: float = 0.2
    longest_seconds: float = 60.0

    def exhausted(self, delivered: int) -> bool:
        """Whether a delivery that arrives for the `delivered`th time has used up its attempts."""
        return self.attempts is not None and delivered > self.attempts

    def pause_seconds(self, delivered: int) -> float:
        """The pause after the `delivered`th attempt failed."""
        ceiling = min(self.longest_seconds, self.first_seconds * 2.0 ** min(delivered - 1, 30))
        return random.uniform(0, ceiling)


def growing(first_seconds: float, attempt: int, longest_seconds: float = 60.0) -> float:
    """The pause after the `attempt`th failure of something that is tried for ever: exponential back-off, drawn evenly
    from its upper half."""
    ceiling = min(longest_seconds, first_seconds * 2.0 ** min(attempt - 1, 30))
    return random.uniform(ceiling / 2, ceiling)


def asked_seconds(error: BaseException | None) -> float | None:
    """The pause that whatever the reaction called asked for."""
    seconds = error.retry_after_seconds if isinstance(error, Deferred) else None
    return None if seconds is None else min(max(0.0, seconds), ASKED_SECONDS_MAX)


def is_blameless(error: Exception) -> bool:
    """Whether it uses up no attempt."""
    return isinstance(error, Unavailable) or asked_seconds(error) is not None


def verdict(error: Exception, retry: Retry, delivered: int) -> Later | Retried | DeadLettered:
    """What becomes of a delivery whose `delivered`th attempt ended in `error`."""
    if isinstance(error, Permanent):
        return DeadLettered(error)
    if isinstance(error, Unavailable):
        return Retried(error, max(error.retry_after_seconds, retry.pause_seconds(delivered)))
    if (seconds := asked_seconds(error)) is not None:
        return Retried(error, seconds)
    if retry.exhausted(delivered + 1):
        return DeadLettered(error)
    return (Later if isinstance(error, NotYet) else Retried)(error, retry.pause_seconds(delivered))


def let_go(error: BaseException) -> None:
    """Remove the frames from an error that is logged, and from its causes.

    Frames and error refer to each other and to the message, which can be large: only the garbage collector would free
    them.
    """
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            left += [one.__context__, one.__cause__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
