"""What tests of all rooms ask for."""

import pytest

from jetmesh.runtime import one_by_one
from jetmesh.testing import Broker


@pytest.fixture
def broker(nats_broker: Broker) -> Broker:
    """A nats-server of the test's own."""
    return nats_broker


@pytest.fixture
def brief_pause_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries that may be in other hands after a crash of the broker come again at once: the pause is not tested."""
    monkeypatch.setattr(one_by_one, "PAUSE_SECONDS", 0.2)
