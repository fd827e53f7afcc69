"""A broker whose configuration routes by key, as split streams need it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetmesh.testing import Broker
from jetmesh.topology import accounts
from jetmesh.topology.partitions import Partitions
from jetmesh_shop.flow import SERVICES

SPLIT = {"ORDERS": 2, "PAYMENTS": 2}
PARTITIONS = "orders=2,payments=2"
"""The same as a setting."""


@contextmanager
def routing_broker(folder: Path, split: Partitions) -> Iterator[Broker]:
    """The real server, with the mappings for streams that are split so."""
    pairs = "\n".join(f'"{source}": "{to}"' for source, to in accounts.mappings(SERVICES, split).items())
    config = folder / "nats-server.conf"
    config.write_text(f"mappings {{\n{pairs}\n}}\n")
    with Broker(folder / "broker", "-c", str(config)) as server:
        yield server
