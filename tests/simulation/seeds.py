"""Which seeds are played: `SIMULATION_SEED=17` alone, or `SIMULATION_SEEDS=5000`, from `SIMULATION_FIRST` on."""

import os
import re
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from jetmesh.testing.simulation import World
from tests.simulation.mesh import OrderMesh, play

SEEDS = 250
LINES = 60
KEY = re.compile(r"\b[or]-\d+\b")


def seeds() -> Iterable[int]:
    """The seeds that the environment asks for."""
    if one := os.environ.get("SIMULATION_SEED"):
        return [int(one)]
    first = int(os.environ.get("SIMULATION_FIRST", "0"))
    return range(first, first + int(os.environ.get("SIMULATION_SEEDS", SEEDS)))


@dataclass(frozen=True, slots=True)
class Caught:
    """A seed whose story ends wrong, and why."""

    seed: int
    error: AssertionError

    def __str__(self) -> str:
        replay = f"SIMULATION_SEED={self.seed} uv run --group test pytest tests/simulation/test_seeds.py"
        return f"seed {self.seed}: {self.error}\nreplay: {replay}\n{self.history()}"

    def history(self) -> str:
        """What the broker got about the keys that the error names, or about anything if it names none."""
        keys, lines = set(KEY.findall(str(self.error))), list[str]()
        first_caught([self.seed], watch=lines.append)
        return "\n".join([line for line in lines if not keys or keys & set(KEY.findall(line))][-LINES:])


def first_caught(
    found: Iterable[int],
    played: Callable[[OrderMesh], None] = lambda _: None,
    watch: Callable[[str], None] | None = None,
) -> Caught | None:
    """Play seeds until one ends wrong; `played` is told of each that does not, `watch` of what the broker gets."""
    for seed in found:
        try:
            played(play(seed, watch))
        except AssertionError as error:
            return Caught(seed, error)
    return None


class Played(Protocol):
    """A mesh in a world of its own, and what happens in it."""

    world: World

    def story(self) -> Coroutine[Any, Any, None]:
        """Play it; raises AssertionError if it ends wrong."""
        ...


def first_wrong(made: Callable[[int], Played], found: Iterable[int]) -> str:
    """Play seeds until one ends wrong; what was wrong, with the seed. Empty: none did."""
    for seed in found:
        mesh = made(seed)
        try:
            mesh.world.run(mesh.story())
        except AssertionError as wrong:
            return f"seed {seed}: {wrong}"
        finally:
            mesh.world.close()
    return ""
