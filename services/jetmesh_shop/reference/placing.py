"""Placing many orders over HTTP, as customers' browsers would."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import httpx

from jetmesh.operate.load import at_once
from jetmesh_contracts import OrderPlaced

HTTP_CONCURRENCY = 32
HTTP_TIMEOUT_SECONDS = 60.0
REFUSED = 422
LATER = (429, 503)

OnPlaced = Callable[[], None]


async def over_http(url: str, orders: Iterable[OrderPlaced], on_placed: OnPlaced) -> None:
    """POST each order; a business refusal is an answer as well.

    Raises:
        httpx.HTTPStatusError: the edge answers what no order of the mix can earn.
    """
    async with browser(url) as client:

        async def place(order: OrderPlaced) -> None:
            await post(client, order)
            on_placed()

        await at_once(place, orders, HTTP_CONCURRENCY)


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
