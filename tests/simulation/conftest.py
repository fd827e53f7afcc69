"""The simulation is quiet: what the runtime would log of thousands of faults is told by a seed's history instead."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No logs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
