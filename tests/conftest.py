"""What our own tests call by shorter names."""

import pytest

from jetmesh.testing import Broker


@pytest.fixture
def broker(nats_broker: Broker) -> Broker:
    """A nats-server of the test's own."""
    return nats_broker
