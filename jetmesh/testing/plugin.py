"""The pytest plugin (entry point `pytest11`): the fixtures, if the extra `jetmesh[testing]` is installed."""

from importlib.util import find_spec

if find_spec("pytest_asyncio"):
    from jetmesh.testing.fixtures import mesh_of, nats_broker, nats_server

    __all__ = ["mesh_of", "nats_broker", "nats_server"]
