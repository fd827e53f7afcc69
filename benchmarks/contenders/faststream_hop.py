"""One hop on FastStream: a pull subscriber, a publisher decorator, and its own telemetry middleware where traced."""

import asyncio

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from nats.js.api import ConsumerConfig

from benchmarks.contenders import telemetry
from benchmarks.contenders.model import AUTHORIZED, BATCH, DURABLE, PLACED, SOURCE, Authorized, Order, authorize

PUBLISH_SECONDS_MAX = 5.0
"""As patient as nats-py and jetmesh. By default it is 0.5 s, after which the delivery is given back."""


async def run(url: str, traced: bool, stopping: asyncio.Event) -> None:
    """The broker with one subscriber, on the durable that is there."""
    tracing = telemetry.provider("payments") if traced else None
    middlewares = (NatsTelemetryMiddleware(tracer_provider=tracing),) if tracing else ()
    broker = NatsBroker(url, middlewares=middlewares, logger=None)
    broker.publisher(AUTHORIZED, stream="PAYMENTS", timeout=PUBLISH_SECONDS_MAX)(
        broker.subscriber(
            PLACED,
            stream=JStream(SOURCE, declare=False),
            durable=DURABLE,
            config=ConsumerConfig(),
            pull_sub=PullSub(batch_size=BATCH),
            ack_policy=AckPolicy.NACK_ON_ERROR,
        )(react)
    )
    await broker.start()
    await stopping.wait()
    await broker.stop()
    if tracing:
        await asyncio.to_thread(tracing.shutdown)


async def react(order: Order) -> Authorized:
    """An order was placed: hold its total."""
    return authorize(order)
