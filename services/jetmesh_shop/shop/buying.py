"""`/`: the catalogue with its stock, the basket, and "Buy". Forms and redirects: it works without scripts."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from secrets import token_urlsafe
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jetmesh_contracts.money import money
from jetmesh_shop.shop import words
from jetmesh_shop.shop.articles import ARTICLES, CURRENCY, PAYMENT_METHODS, QUANTITY_MAX
from jetmesh_shop.shop.cookies import Basket, basket_of, keep_basket, keep_token, tokens_of
from jetmesh_shop.shop.edge import Answer
from jetmesh_shop.shop.state import Live, form_of, shop_of
from jetmesh_shop.shop.stock import Stock

FREE_KEY = re.compile("[A-Za-z0-9_-]{16,64}")
EMAIL = "ada@example.com"
SEE_OTHER = 303


async def catalogue(request: Request) -> Response:
    """Everything that is sold, and what is in the basket."""
    return await _catalogue(request, basket_of(request))


async def stock_live(request: Request) -> Response:
    """The stock as it changes, while somebody looks."""
    shop = shop_of(request)

    async def render(stock: Stock) -> tuple[str, bool]:
        return shop.html("stock.html", articles=list(ARTICLES.values()), levels=await stock.levels()), False

    return Live(shop.stock.watched(), render, Stock.changed).response(shop)


async def change_basket(request: Request) -> Response:
    """One more, one less, or none of an article."""
    form, basket = await form_of(request), dict(basket_of(request))
    sku, step = form.get("sku", ""), form.get("step", "")
    if sku in ARTICLES and step in ("1", "-1", "0"):
        wanted = 0 if step == "0" else basket.get(sku, 0) + int(step)
        basket[sku] = max(0, min(wanted, QUANTITY_MAX))
    response = RedirectResponse("/", SEE_OTHER)
    keep_basket(request, response, {sku: count for sku, count in basket.items() if count})
    return response


async def buy(request: Request) -> Response:
    """Place the order. The form has a key of its own: sent twice, it is one order."""
    shop, basket, form = shop_of(request), basket_of(request), await form_of(request)
    key = form.get("key", "")
    if not FREE_KEY.fullmatch(key):
        return await _catalogue(request, basket, form, "This form is too old. Buy again.")
    if not basket:
        return await _catalogue(request, basket, form, "The basket is empty. Choose something first.")
    answer = await shop.api.place(order_of(basket, form), key)
    if not answer.is_good:
        # A refusal is recorded under its key: the next try is another order.
        kept = {**form, "key": key if answer.status in (429, 503) else ""}
        return await _catalogue(request, basket, kept, *said(answer))
    order_id = str(answer.document["order_id"])
    response = RedirectResponse(f"/orders/{quote(order_id, safe='')}", SEE_OTHER)
    keep_token(request, response, order_id, str(answer.document["token"]))
    keep_basket(request, response, {})
    return response


def order_of(basket: Basket, form: Mapping[str, str]) -> Mapping[str, Any]:
    """The order as the edge takes it."""
    email = form.get("email", "").strip()
    lines = [
        {"sku": sku, "quantity": count, "unit_price_minor": ARTICLES[sku].price_minor} for sku, count in basket.items()
    ]
    return {
        "customer": {"customer_id": f"c-{blake2b(email.encode(), digest_size=6).hexdigest()}", "email": email},
        "lines": lines,
        "currency": CURRENCY,
        "payment_method": form.get("payment_method", ""),
    }


def said(answer: Answer) -> tuple[str, str]:
    """What is wrong with an order, and the field that it is about."""
    errors = answer.document.get("errors") or [{}]
    pointer = str(errors[0].get("pointer", ""))
    field = next((name for name in ("email", "payment_method") if pointer.endswith(name)), "")
    reason = words.REFUSED.get(str(answer.document.get("reason")))
    if reason:
        return f"{reason.title} {reason.advice}", field
    return str(errors[0].get("fix") or answer.detail), field


async def _catalogue(
    request: Request, basket: Basket, form: Mapping[str, str] | None = None, problem: str = "", field: str = ""
) -> Response:
    shop, form = shop_of(request), form or {}
    total = sum(ARTICLES[sku].price_minor * count for sku, count in basket.items())
    return shop.page(
        "catalogue.html",
        422 if problem else 200,
        articles=list(ARTICLES.values()),
        levels=await shop.stock.levels(),
        basket=[
            (ARTICLES[sku], count, money(ARTICLES[sku].price_minor * count, CURRENCY)) for sku, count in basket.items()
        ],
        total=money(total, CURRENCY),
        methods=PAYMENT_METHODS,
        chosen=form.get("payment_method") or PAYMENT_METHODS[0].id,
        email=form.get("email", EMAIL),
        key=form.get("key") or token_urlsafe(24),
        problem=problem,
        field=field,
        bought=list(tokens_of(request)),
    )


def routes() -> list[Route]:
    """The routes."""
    return [
        Route("/", catalogue, methods=["GET"]),
        Route("/stock", stock_live, methods=["GET"]),
        Route("/basket", change_basket, methods=["POST"]),
        Route("/buy", buy, methods=["POST"]),
    ]
