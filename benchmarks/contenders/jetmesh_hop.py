"""One hop on jetmesh, every promise kept: contract, guard, derived ids, in progress, failure policy, metrics, trace."""

import asyncio

import opentelemetry.exporter.otlp.proto.http.metric_exporter  # noqa: F401  (imports come before the clock, as the peers' do)

from jetmesh import Service, settings
from jetmesh.process import process
from jetmesh.process.health import Health
from jetmesh_contracts import OrderPlaced, PaymentAuthorized

orders, payments = Service("orders"), Service("payments")
SERVICES = (orders, payments)


@orders.intake
async def place(order: OrderPlaced) -> OrderPlaced:
    """A customer clicked "Buy". (Not run: it makes the stream that the hop reads.)"""
    return order


@payments.begins
async def authorize(order: OrderPlaced) -> PaymentAuthorized:
    """An order was placed: hold its total."""
    return PaymentAuthorized(
        order_id=order.order_id,
        authorization_id=f"pi_{order.order_id}",
        amount_minor=order.total_minor,
        currency=order.currency,
    )


async def run(_url: str, _traced: bool, stopping: asyncio.Event) -> None:
    """As `jetmesh run payments` does, which reads NATS_URL and OTEL_TRACES_SAMPLER itself."""
    await process.serve(payments, SERVICES, settings.read(settings.Settings), Health(payments.name), stopping)
