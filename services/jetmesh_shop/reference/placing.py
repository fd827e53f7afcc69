"""Placing many orders from outside: over NATS as any publisher would, or over HTTP as a customer's browser would."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import httpx

from jetmesh.failure import Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.runtime.context import Context
from jetmesh_contracts import OrderPlaced

NATS_CONCURRENCY = 1_024
HTTP_CONCURRENCY = 32
HTTP_TIMEOUT_SECONDS = 60.0
REFUSED = 422
LATER = (429, 503)

Told = Callable[[], None]


async def over_nats(context: Context, orders: Iterable[OrderPlaced], told: Told) -> None:
    """Publish each order to `orders.placed`; returns once the broker has acknowledged all. `told` hears of each."""

    async def place(order: OrderPlaced) -> None:
        await publish(context, order)
        told()

    await _each(place, orders, NATS_CONCURRENCY)


async def publish(context: Context, order: OrderPlaced) -> None:
    """Publish one order, again and again until the broker has it: orders takes the same order twice for the same."""
    message = Message(order.type, order.model_dump_json().encode(), {})
    while True:
        try:
            await context.publisher.record(message)
        except Unavailable as unavailable:
            await asyncio.sleep(unavailable.retry_after_seconds)
        else:
            return


async def over_http(url: str, orders: Iterable[OrderPlaced], told: Told) -> None:
    """POST each order; a business refusal is an answer as well.

    Raises:
        httpx.HTTPStatusError: the edge answers what no order of the mix can earn.
    """
    async with browser(url) as client:

        async def place(order: OrderPlaced) -> None:
            await post(client, order)
            told()

        await _each(place, orders, HTTP_CONCURRENCY)


@asynccontextmanager
async def browser(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the edge."""
    limits = httpx.Limits(max_connections=HTTP_CONCURRENCY, max_keepalive_connections=HTTP_CONCURRENCY)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=HTTP_TIMEOUT_SECONDS, trust_env=False) as client:
        yield client


async def post(client: httpx.AsyncClient, order: OrderPlaced) -> httpx.Response:
    """Place one order, again and again while the edge says "later"; it is stored once, by its Idempotency-Key.

    Raises:
        httpx.HTTPStatusError: the edge does not take it, for another reason than the order's own.
    """
    headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{order.order_id}"'}
    body = order.model_dump_json()
    while True:
        response = await client.post("/orders", content=body, headers=headers)
        if response.status_code not in LATER:
            break
        await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
    return response if response.status_code == REFUSED else response.raise_for_status()


async def _each(place: Callable[[OrderPlaced], Awaitable[None]], orders: Iterable[OrderPlaced], workers: int) -> None:
    """All orders, so many at a time."""
    waiting = iter(orders)

    async def work() -> None:
        for order in waiting:
            await place(order)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
