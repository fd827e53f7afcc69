"""One hop by hand on natsio (Python 3.13 and newer): its `consume`, a task a message, acknowledged by itself."""

import asyncio

import natsio  # type: ignore[import-not-found,unused-ignore]

from benchmarks.contenders.model import AUTHORIZED, BATCH, DURABLE, SOURCE, Order, authorize


async def run(url: str, _traced: bool, stopping: asyncio.Event) -> None:
    """The loop, until told to stop."""
    async with await natsio.connect(url) as connection:
        jetstream = connection.jetstream()
        consumer = await (await jetstream.stream(SOURCE)).consumer(DURABLE)
        consuming = asyncio.create_task(consume(jetstream, consumer))
        await stopping.wait()
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)


async def consume(jetstream: "natsio.jetstream.JetStream", consumer: "natsio.jetstream.Consumer") -> None:
    """Every message in a task of its own, as many at once as are asked for."""
    async with consumer.consume(max_messages=BATCH) as messages, asyncio.TaskGroup() as tasks:
        async for message in messages:
            tasks.create_task(handle(jetstream, message))


async def handle(jetstream: "natsio.jetstream.JetStream", message: "natsio.jetstream.JsMsg") -> None:
    """React, publish, acknowledge."""
    body = authorize(Order.model_validate_json(message.data)).model_dump_json().encode()
    await jetstream.publish(AUTHORIZED, body, msg_id=f"payments-{message.headers['Nats-Msg-Id']}")
    await message.ack()
