"""Hypothesis plays against the mesh, in whatever order, and shrinks what goes wrong to a few steps."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jetmesh.testing.simulation import FAULTS
from tests.simulation.mesh import ARTICLES, OrderMesh, order_of

EXAMPLES = int(os.environ.get("SIMULATION_EXAMPLES", "15"))
STRIKES = sorted(FAULTS.keys() - {"process stopped"})

orders = st.integers(0, 3)


class Mesh(RuleBasedStateMachine):
    """One mesh, its customers and its mishaps; at the end everything heals, comes to rest, and is audited."""

    def __init__(self) -> None:
        super().__init__()
        self.restocks = 0

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        """Every service is started."""
        self.mesh = OrderMesh(seed)
        self._pass(0.5, begin=True)

    @rule(number=orders, by_edge=st.booleans())
    def place_order(self, number: int, by_edge: bool) -> None:
        """An order; of a number that was used already it is the same order, or another one."""
        order = order_of(f"o-{number}", self.mesh.random)
        self.mesh.visit(self.mesh.order(order, by_edge=by_edge))

    @rule(number=orders)
    def withdraw(self, number: int) -> None:
        """A customer does not want an order, which may not be there."""
        self.mesh.visit(self.mesh.withdraw(f"o-{number}"))

    @rule(sku=st.sampled_from(ARTICLES), pieces=st.integers(1, 5), again=st.booleans())
    def restock(self, sku: str, pieces: int, again: bool) -> None:
        """Goods arrive, and may be announced twice."""
        self.restocks += 1
        for _ in range(1 + again):
            self.mesh.visit(self.mesh.restock(self.restocks, sku, pieces))

    @rule(name=st.sampled_from(STRIKES))
    def strike(self, name: str) -> None:
        """Something breaks."""
        FAULTS[name](self.mesh.world)

    @rule(seconds=st.sampled_from((0.001, 0.01, 0.1, 1.0, 10.0)))
    def advance_time(self, seconds: float) -> None:
        """Things happen."""
        self._pass(seconds)

    @rule()
    def heal(self) -> None:
        """Whatever is broken works again."""
        self.mesh.world.heal()

    @invariant()
    def nothing_twice(self) -> None:
        """What holds in the middle of everything."""
        if hasattr(self, "mesh"):
            self.mesh.check()

    def teardown(self) -> None:
        """Heal, rest, audit."""
        if not hasattr(self, "mesh"):
            return
        try:
            self.mesh.world.run(self.mesh.settle())
        finally:
            self.mesh.world.close()

    def _pass(self, seconds: float, *, begin: bool = False) -> None:
        self.mesh.world.run(self.mesh.wait(seconds, begin=begin))


TestMesh = Mesh.TestCase
TestMesh.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
