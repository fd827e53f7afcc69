"""Counts dead letters, by the broker: a list of their subjects takes it seconds beside many of them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jetmesh.jetstream.direct_get import DirectGet, reading
from jetmesh.jetstream.transport import Transport
from jetmesh.reaction import Reaction
from jetmesh.service import Service
from jetmesh.topology.names import DEAD_LETTERS, dead_letters_of


@dataclass(frozen=True, slots=True)
class LetterCounts:
    """How many dead letters there are of a service (`payments`) and of a reaction (`payments.authorize`)."""

    by_service: Mapping[str, int] = field(default_factory=dict)
    by_reaction: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them, those of former reactions too."""
        return sum(self.by_service.values())

    def of(self, reaction: Reaction) -> int:
        """Those of a reaction, under all its names."""
        return sum(self.by_reaction.get(name, 0) for name in _names(reaction))


async def counted(connection: Transport, services: Sequence[Service], ask_seconds: float) -> LetterCounts:
    """How many there are now.

    Raises:
        Unavailable: the broker does not answer in time.
    """
    async with reading(connection, ask_seconds) as reader:
        by_service = await _counts(reader, [service.name for service in services])
        reactions = (each for service in services if by_service.get(service.name) for each in service.reactions)
        by_reaction = await _counts(reader, [name for each in reactions for name in _names(each)])
    return LetterCounts(by_service, by_reaction)


async def _counts(reader: DirectGet, whose: Iterable[str]) -> dict[str, int]:
    """How many letters there are of each of these services or reactions."""
    names = list(dict.fromkeys(whose))
    pages = await asyncio.gather(*(reader.page(DEAD_LETTERS, dead_letters_of(name), 1, 1) for name in names))
    return {name: len(page.messages) + page.pending for name, page in zip(names, pages, strict=True)}


def _names(reaction: Reaction) -> list[str]:
    """A reaction's names, present and former ones, as letters tell them."""
    return [f"{reaction.service}.{name}" for name in (reaction.name, *reaction.formerly)]
