"""One hop by hand on nats-py: fetch 256, react and publish all at once, acknowledge; two SDK spans where traced."""

import asyncio
from contextlib import suppress

import nats
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NothingToFetch
from nats.js import JetStreamContext
from opentelemetry import propagate, trace

from benchmarks.contenders import telemetry
from benchmarks.contenders.model import AUTHORIZED, BATCH, DURABLE, SOURCE, Order, authorize

FETCH_SECONDS = 0.5


async def run(url: str, traced: bool, stopping: asyncio.Event) -> None:
    """The loop."""
    tracing = telemetry.provider("payments") if traced else None
    handle = handle_traced if traced else handle_untraced
    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    subscription = await jetstream.pull_subscribe_bind(DURABLE, stream=SOURCE)
    while not stopping.is_set():
        with suppress(NothingToFetch):
            messages = await subscription.fetch(BATCH, timeout=FETCH_SECONDS)
            await asyncio.gather(*(handle(jetstream, message) for message in messages))
    await connection.flush()
    await connection.close()
    if tracing:
        await asyncio.to_thread(tracing.shutdown)


async def handle_untraced(jetstream: JetStreamContext, message: Msg) -> None:
    """React, publish, acknowledge."""
    await publish(jetstream, message, {})
    await message.ack()


async def handle_traced(jetstream: JetStreamContext, message: Msg) -> None:
    """The same, with a process span under the message's context and a publish span inside it."""
    tracer = trace.get_tracer("hop")
    context = propagate.extract(message.headers or {})
    attributes = {"messaging.system": "nats", "messaging.destination.name": message.subject}
    with tracer.start_as_current_span("process orders.placed", context, trace.SpanKind.CONSUMER, attributes):
        headers: dict[str, str] = {}
        sent = {"messaging.system": "nats", "messaging.destination.name": AUTHORIZED}
        with tracer.start_as_current_span("send payments.authorized", None, trace.SpanKind.PRODUCER, sent):
            propagate.inject(headers)
            await publish(jetstream, message, headers)
        await message.ack()


async def publish(jetstream: JetStreamContext, message: Msg, headers: dict[str, str]) -> None:
    """What the order leads to, with an id that drops a duplicate while the stream remembers it."""
    body = authorize(Order.model_validate_json(message.data)).model_dump_json().encode()
    known = (message.headers or {})["Nats-Msg-Id"]
    await jetstream.publish(AUTHORIZED, body, headers={"Nats-Msg-Id": f"payments-{known}", **headers})
