"""What becomes of a failure: tried again, with how long a pause, or given up to the dead letters."""

import random
from dataclasses import dataclass

from jetmesh.outcome import DeadLettered, Later, Retried

REASON_MAX = 1_000
"""Characters of a reason: it may quote what somebody sent."""


class NotYet(Exception):
    """The story can only be stale, or what the reaction waits for has not happened: come again shortly."""


class Permanent(Exception):
    """Trying again can't help: the delivery goes to the dead letters at once."""


class BrokenContract(Permanent):
    """The message is not what its contract says; the text names the field and the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason if len(reason) <= REASON_MAX else f"{reason[:REASON_MAX]}…")


class TooLarge(Permanent):
    """It is more than the broker takes: sent all the same, it would cost the connection."""


class UnknownType(BrokenContract):
    """The message is of a type that this version of the service does not take; another one may."""


class Unavailable(Exception):
    """Something that the reaction needs is down; `retry_after_seconds` is the pause to begin with."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.2) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class BrokerUnavailable(Unavailable):
    """It is the broker: what else the reaction needs is not to blame."""


class Disowned(Exception):
    """The delivery is nobody's any more, for its durable is gone: it comes again if it is still in the stream."""


class Deferred(Exception):
    """What the reaction needs is there and puts off this delivery alone: the pauses grow, and the attempts have an end.
    It is no sign of an outage, but of the contrary."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a delivery is tried and how long it rests between attempts.

    `attempts`: deliveries before it is a dead letter; None never gives up (compensations pause and page instead).
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
    """The pause after the `attempt`th failure of what has to be tried for ever: exponential back-off, the upper half of
    it drawn evenly."""
    ceiling = min(longest_seconds, first_seconds * 2.0 ** min(attempt - 1, 30))
    return random.uniform(ceiling / 2, ceiling)


def verdict(error: Exception, retry: Retry, delivered: int) -> Later | Retried | DeadLettered:
    """What becomes of a delivery whose `delivered`th attempt ended in `error`: the one place that decides."""
    if isinstance(error, Permanent):
        return DeadLettered(error)
    if isinstance(error, Unavailable):
        return Retried(error, max(error.retry_after_seconds, retry.pause_seconds(delivered)))
    if retry.exhausted(delivered + 1):
        return DeadLettered(error)
    return (Later if isinstance(error, NotYet) else Retried)(error, retry.pause_seconds(delivered))


def let_go(error: BaseException) -> None:
    """Part an error, and those that it came from, from their frames: all is told. Frames that hold the error, and the
    message with it, would wait for the garbage collector, and messages can be large."""
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            left += [one.__context__, one.__cause__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
