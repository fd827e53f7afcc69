"""The origin of a dead letter or delayed redelivery: the reaction, and the place of the original message.

The subject holds the reaction, the stream, the sequence and the time at which the message was stored. The sequence
alone is not enough: a stream that was created again or restored gives it to another message."""

from dataclasses import dataclass

from jetmesh.common import lenient
from jetmesh.jetstream.delivery import RawDelivery


@dataclass(frozen=True, slots=True)
class Origin:
    """A reaction and the place of a message; `stamp` is empty in subjects of older versions."""

    service: str
    reaction: str
    stream: str
    sequence: int
    stamp: str = ""

    @property
    def whose(self) -> str:
        """The reaction, as `service.reaction`."""
        return f"{self.service}.{self.reaction}"

    @property
    def position(self) -> tuple[str, int]:
        """Where the message stands."""
        return self.stream, self.sequence

    @property
    def tokens(self) -> str:
        """The same as tokens of a subject."""
        tail = f".{self.stamp}" if self.stamp else ""
        return f"{self.service}.{self.reaction}.{self.stream}.{self.sequence}{tail}"

    def is_of(self, timestamp: float) -> bool:
        """Whether it is about the message that was stored then; an origin without a time is about any."""
        return self.stamp in ("", stamp_of(timestamp))


def origin_of(subject: str) -> Origin:
    """The origin in a subject, behind its first token; sequence 0 if there is none."""
    _, service, reaction, stream, sequence, stamp, *more = [*subject.split("."), *[""] * 6]
    is_place = not any(more) and (not stamp or lenient.whole(stamp))
    return Origin(service, reaction, stream, lenient.whole(sequence) if is_place else 0, stamp)


def of(service: str, reaction: str, delivery: RawDelivery) -> Origin:
    """The origin for a delivery to a reaction."""
    return Origin(service, reaction, delivery.stream, delivery.sequence, stamp_of(delivery.timestamp))


def stamp_of(timestamp: float) -> str:
    """A time in microseconds: as exact as a delivery has it."""
    return str(round(timestamp * 1_000_000))
