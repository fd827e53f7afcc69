"""A mesh in one thread on virtual time: the real runtime and services, a model of the broker, choices by a seed."""

from jetmesh.testing.simulation.broker import SimulatedBroker
from jetmesh.testing.simulation.faults import FAULTS, Fault, storm
from jetmesh.testing.simulation.loop import SimulatedLoop
from jetmesh.testing.simulation.world import Process, Restless, World

__all__ = ["FAULTS", "Fault", "Process", "Restless", "SimulatedBroker", "SimulatedLoop", "World", "storm"]
