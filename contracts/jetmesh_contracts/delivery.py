"""The events of delivery: an order waits for a courier, is carried and delivered; couriers come, go and fall silent."""

from typing import Annotated, ClassVar

from pydantic import Field

from jetmesh_contracts import units
from jetmesh_contracts.event import Event, Token
from jetmesh_contracts.orders import Customer, Part

CourierId = Annotated[Token, Field(description="The courier.")]
ShiftId = Annotated[Token, Field(description="The shift: a courier has a new one each time.")]
PageNumber = Annotated[int, Field(ge=0, json_schema_extra=units.PAGE)]
Signs = Annotated[int, Field(ge=0, json_schema_extra=units.SIGNS)]
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
    """The order comes later than the customer was told.

    Recorded when it has waited for a courier for two minutes, or when its courier was silent for too long.
    """

    customer: Customer = Field(description="Who ordered, with the address that a mail needs.")


class DeliveryDispatched(DeliveryEvent, type="delivery.dispatched"):
    """A courier carries the order, and no other one.

    Recorded together with the new roster, when a courier is free.
    """

    courier_id: CourierId
    customer: Customer | None = Field(
        default=None, description="Who ordered, with the address that a mail about a delay needs; null if not known."
    )


class CourierMissed(DeliveryEvent, type="delivery.courier_missed", occurrence=True):
    """Nothing was heard of the order's courier for ten minutes: no position, no delivery.

    Recorded at most once per courier and position. Unless something was heard meanwhile, the order goes to another
    courier.
    """

    courier_id: CourierId
    signs: Signs = Field(description="How many there were until then.")


class DeliveryReassigned(DeliveryEvent, type="delivery.reassigned", state=True):
    """The order was taken from a courier who is silent: the newest message counts.

    Recorded when the courier is missed, together with the end of that courier's shift; and again when another courier
    takes it, if none was free.
    """

    courier_id: CourierId | None = Field(description="Who carries the order now; null: it waits, before all others.")
    silent: tuple[Token, ...] = Field(description="The couriers that it was taken from, the first one first.")
    signs: Signs = Field(description="How many there are, with this one.")


class CourierSeen(DeliveryEvent, type="delivery.last_seen", state=True):
    """The last sign of the courier who carries the order: the newest message counts.

    Recorded together with each position that this courier reports.
    """

    courier_id: CourierId
    position_id: Token = Field(description="The position that was reported.")
    signs: Signs = Field(description="How many there are, with this one.")


class PositionReported(DeliveryEvent, type="delivery.position_reported", from_outside=True, id_field="position_id"):
    """Where the courier is with the order; as often as the courier says so.

    Recorded once per position id, if this courier carries the order, or it was taken from this courier.
    """

    publisher: ClassVar[str] = "courier"

    position_id: Token = Field(description="Tells one position of an order from another.")
    courier_id: CourierId
    latitude: Annotated[float, Field(ge=-90, le=90, description="WGS 84.", json_schema_extra=units.DEGREES)]
    longitude: Annotated[float, Field(ge=-180, le=180, description="WGS 84.", json_schema_extra=units.DEGREES)]


class OrderDelivered(DeliveryEvent, type="delivery.delivered", from_outside=True, ending=True):
    """The customer has the order.

    Recorded if this courier carries it, or if it was taken from this courier: the first ending counts, and whoever
    carries it is free then.
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

    Recorded together with the new roster, when the courier says so or is silent for too long. After that, only another
    shift begins.
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
    returned: tuple[Token, ...] = Field(
        default=(), description="Those among them that were taken from a courier: they come before all others."
    )
    first_page: PageNumber = Field(description="Where the order is that is called next.")
    last_page: PageNumber = Field(description="Where the next order waits that comes.")


class QueuePage(Event, type="couriers.queue", owner="delivery", key_field="page_id", state=True):
    """A part of the queue of a depot: the newest message counts.

    Recorded together with the roster, whenever an order comes, is called or is cancelled.
    """

    page_id: PageId
    order_ids: Annotated[tuple[Token, ...], Field(max_length=1_000, description="Those that wait, in their order.")]
