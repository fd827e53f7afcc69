"""The HTTP edge of orders, asked as any client asks it."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

AWAY, NO_TOKEN = 503, 401
TIMEOUT_SECONDS = 10.0


class Answer(NamedTuple):
    """What the edge answered: a document, or a problem (RFC 9457); 503 where it does not answer."""

    status: int
    document: Mapping[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether it did what it was asked."""
        return self.status < 300

    @property
    def detail(self) -> str:
        """What is wrong, in words."""
        return str(self.document.get("detail") or self.document.get("title") or f"The edge answered {self.status}.")


class OrdersApi:
    """Place, show and cancel orders."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def place(self, order: Mapping[str, Any], idempotency_key: str) -> Answer:
        """Place an order, the same one however often it is sent with this key."""
        headers = {"Idempotency-Key": f'"{idempotency_key}"'}
        return await self._ask("POST", "/orders", json=order, headers=headers)

    async def show(self, order_id: str, token: str) -> Answer:
        """The order, if the token opens it."""
        return await self._of("GET", order_id, token)

    async def cancel(self, order_id: str, token: str) -> Answer:
        """Ask to cancel the order."""
        return await self._of("DELETE", order_id, token)

    async def _of(self, method: str, order_id: str, token: str) -> Answer:
        if not token:
            return Answer(NO_TOKEN, {})
        bearer = {"Authorization": f"Bearer {token}"}
        return await self._ask(method, f"/orders/{quote(order_id, safe='')}", headers=bearer)

    async def _ask(self, method: str, path: str, **options: Any) -> Answer:
        try:
            response = await self._client.request(method, path, timeout=TIMEOUT_SECONDS, **options)
            return Answer(response.status_code, response.json())
        except (httpx.HTTPError, ValueError):
            return Answer(AWAY, {"detail": "The orders do not answer. Try again: nothing is done twice."})
