"""The test kit for authors of services: scenarios without a broker, and the real broker as a fixture.

from jetmesh.testing import given

async def test_an_order_with_money_and_goods_is_promised() -> None:
    await given(placed, goods_secured).when(promise, authorized).then(confirmed)

async def test_a_card_is_held_once(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(payments, dependencies=[Payments(bank)])
    await mesh.record(placed)
    await mesh.recorded(PaymentAuthorized, placed.key)
"""

from jetmesh.local.broker import nats_server_binary
from jetmesh.testing.broker import Broker
from jetmesh.testing.faults import Proxy
from jetmesh.testing.local import LocalMesh, MeshOf, Replica, until
from jetmesh.testing.scenarios import given

__all__ = ["Broker", "LocalMesh", "MeshOf", "Proxy", "Replica", "given", "nats_server_binary", "until"]
