"""The events of delivery: an order waits for a courier, is carried and delivered; couriers come and go by shifts."""

from typing import Annotated, ClassVar

from pydantic import Field

from jetmesh_contracts import units
from jetmesh_contracts.event import Event, Token
from jetmesh_contracts.orders import Customer, Part

CourierId = Annotated[Token, Field(description="The courier.")]
ShiftId = Annotated[Token, Field(description="The shift: a courier has a new one each time.")]
PageNumber = Annotated[int, Field(ge=0, json_schema_extra=units.PAGE)]
PageId = Annotated[Token, Field(description="A page of the queue: the depot and a number.")]


class DeliveryEvent(Event, owner="delivery", key_field="order_id"):
    """An event about the delivery of one order."""

    order_id: Token = Field(description="The order that is delivered: the key.")


class DeliveryQueued(DeliveryEvent, type="delivery.queued"):
    """No courier is free: the order waits behind those that came before it.

    Recorded when the order is confirmed and paid, together with its place in the queue.
    """

    customer: Customer = Field(description="Who ordered, with the address that a mail about a delay needs.")
    page_id: PageId


class DeliveryDelayed(DeliveryEvent, type="delivery.delayed"):
    """The order still waits for a courier.

    Recorded when it has waited for two minutes.
    """

    customer: Customer = Field(description="Who ordered, with the address that a mail needs.")


class DeliveryDispatched(DeliveryEvent, type="delivery.dispatched"):
    """A courier carries the order, and no other one.

    Recorded together with the new roster, when a courier is free.
    """

    courier_id: CourierId


class PositionReported(DeliveryEvent, type="delivery.position_reported", from_outside=True, id_field="position_id"):
    """Where the courier is with the order; as often as the courier says so.

    Recorded once per position id, if this courier carries the order.
    """

    publisher: ClassVar[str] = "courier"

    position_id: Token = Field(description="Tells one position of an order from another.")
    courier_id: CourierId
    latitude: Annotated[float, Field(ge=-90, le=90, description="WGS 84.", json_schema_extra=units.DEGREES)]
    longitude: Annotated[float, Field(ge=-180, le=180, description="WGS 84.", json_schema_extra=units.DEGREES)]


class OrderDelivered(DeliveryEvent, type="delivery.delivered", from_outside=True, ending=True):
    """The customer has the order.

    Recorded if this courier carries it; the courier is free then.
    """

    publisher: ClassVar[str] = "courier"

    courier_id: CourierId


class DeliveryCancelled(DeliveryEvent, type="delivery.cancelled", ending=True):
    """The order was cancelled: it is not delivered, and a courier who carries it is free.

    Recorded after every cancellation of an order that is not delivered, also when nothing was dispatched.
    """


class ShiftEvent(Event, owner="delivery", key_field="shift_id"):
    """An event about the shift of a courier."""

    publisher: ClassVar[str] = "courier"

    shift_id: ShiftId


class ShiftBegun(ShiftEvent, type="shifts.begun", from_outside=True):
    """A courier is on duty, and may be given orders.

    Recorded together with the new roster.
    """

    courier_id: CourierId


class ShiftEnded(ShiftEvent, type="shifts.ended", from_outside=True, ending=True):
    """The courier of the shift is off duty: an order that is carried is still delivered, no other one is given.

    Recorded together with the new roster.
    """


class Duty(Part):
    """A courier on duty."""

    courier_id: CourierId
    shift_id: ShiftId


class Ride(Part):
    """An order on its way."""

    order_id: Token = Field(description="The order.")
    courier_id: CourierId


class CourierRoster(Event, type="couriers.roster", owner="delivery", key_field="depot", state=True):
    """The couriers of a depot, and how many orders wait for them: the newest message counts.

    Recorded together with each event that changes it.
    """

    depot: Token = Field(description="Where the orders are fetched: the key.")
    on_duty: tuple[Duty, ...] = Field(description="Each courier once; who has waited longest is the first.")
    rides: tuple[Ride, ...] = Field(description="Each order and each courier once.")
    waiting: Annotated[int, Field(ge=0, description="How many orders wait.", json_schema_extra=units.ORDERS)]
    first_page: PageNumber = Field(description="Where the order is that is called next.")
    last_page: PageNumber = Field(description="Where the next order waits that comes.")


class QueuePage(Event, type="couriers.queue", owner="delivery", key_field="page_id", state=True):
    """A part of the queue of a depot: the newest message counts.

    Recorded together with the roster, whenever an order comes, is called or is cancelled.
    """

    page_id: PageId
    order_ids: Annotated[tuple[Token, ...], Field(max_length=1_000, description="Those that wait, in their order.")]
