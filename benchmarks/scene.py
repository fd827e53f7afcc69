"""Parts that share their meshes: each is measured on ours, and some then on the same flow on FastStream, so that
neither is started more than once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks import meshes
from benchmarks.figures import Row
from benchmarks.meshes import Running
from benchmarks.progress import Step

Measure: TypeAlias = Callable[[Running, Step], Awaitable[Any]]
Beforehand: TypeAlias = Callable[[AsyncExitStack, Step], Awaitable[None]]
"""What it enters into the stack ends once all parts were measured on our mesh."""
Watch: TypeAlias = Callable[[str], AbstractContextManager[Step]]
"""Takes the name of a part that is measured for the block."""


def as_they_are(rows: list[Row]) -> list[Row]:
    """What a part without a peer has measured."""
    return rows


@dataclass(frozen=True, slots=True)
class Shared:
    """A part on a mesh that others use before and after it: what measures it, and what makes rows of what was found.

    The names of its orders are its own. It may stop services: they are started again for the next part.
    """

    ours: Measure
    theirs: Measure | None = None
    rows: Callable[..., list[Row]] = as_they_are
    beforehand: Beforehand | None = None
    """Begins what takes time by itself, before all parts are measured."""


async def measured(parts: Mapping[str, Shared], watch: Watch) -> dict[str, list[Row]]:
    """The rows of each part that was measured: `watch` may keep what one raises to itself."""
    found: dict[str, list[Any]] = {}
    async with AsyncExitStack() as stack:
        for name, part in parts.items():
            if part.beforehand:
                with watch(name) as step:
                    await part.beforehand(stack, step)
        running = await stack.enter_async_context(meshes.ours())
        for name, part in parts.items():
            with watch(name) as step:
                await meshes.whole(running)
                found[name] = [await part.ours(running, step)]
    if any(part.theirs for part in parts.values()):
        async with meshes.theirs() as running:
            for name, part in parts.items():
                if part.theirs and name in found:
                    with watch(name) as step:
                        found[name].append(await part.theirs(running, step))
    return {name: part.rows(*found[name]) for name, part in parts.items() if _is_whole(part, found.get(name, []))}


def _is_whole(part: Shared, found: Sequence[Any]) -> bool:
    """Whether it was measured wherever it is to be."""
    return len(found) == (2 if part.theirs else 1)
