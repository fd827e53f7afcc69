"""What `jetmesh load` publishes to the reference mesh, and the steps that it measures."""

from functools import partial

from jetmesh.operate.load import Interval, Load
from jetmesh_shop.reference import couriers, mix
from jetmesh_shop.reference.books import PLACED
from jetmesh_shop.reference.checks import AUTHORIZED, CANCELLED, CAPTURED, CONFIRMATION, CONFIRMED, RECEIPT, RESERVED
from jetmesh_shop.reference.delivery_checks import DELIVERED, DISPATCHED

STEPS = (
    Interval("intake", "", PLACED),
    Interval("hold the money", PLACED, AUTHORIZED),
    Interval("reserve the goods", PLACED, RESERVED),
    Interval("promise", PLACED, CONFIRMED),
    Interval("give up", PLACED, CANCELLED),
    Interval("take the money", CONFIRMED, CAPTURED),
    Interval("confirm by mail", CONFIRMED, CONFIRMATION),
    Interval("send the receipt", CAPTURED, RECEIPT),
    Interval("click to promise", "", CONFIRMED),
    Interval("give it to a courier", CAPTURED, DISPATCHED),
    Interval("carry it", DISPATCHED, DELIVERED),
)
COURIERS = 40
LOAD = Load(mix.orders, STEPS, "orders", partial(couriers.on_duty, count=COURIERS))
