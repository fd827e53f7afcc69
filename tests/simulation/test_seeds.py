"""The real services on the real runtime, while faults strike: whatever the seed, the audit is clean in the end."""

from collections import Counter

from jetmesh.testing.simulation import FAULTS
from tests.simulation.mesh import play
from tests.simulation.seeds import first_caught, seeds


def test_the_books_balance_whatever_strikes() -> None:
    struck = Counter[str]()
    played = list(seeds())
    caught = first_caught(played, lambda mesh: struck.update(mesh.world.struck))
    assert caught is None, str(caught)
    if len(played) >= 100:
        assert not FAULTS.keys() - struck.keys(), "faults that never struck"


def test_the_same_seed_is_the_same_history() -> None:
    assert play(11).world.broker.history.digest() == play(11).world.broker.history.digest()


def test_another_seed_is_another_history() -> None:
    assert play(11).world.broker.history.digest() != play(12).world.broker.history.digest()
