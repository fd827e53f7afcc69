"""What the shop keeps in a customer's browser: the basket, and the tokens of their orders, which no script can read."""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from jetmesh_shop.shop.articles import ARTICLES, QUANTITY_MAX

BASKET, ORDERS = "basket", "orders"
ORDERS_MAX = 12
KEPT_SECONDS = 30 * 24 * 3_600
_PAIR = re.compile(r"([^~|]+)~([A-Za-z0-9_-]{1,86})")

Basket = Mapping[str, int]
"""Article → how many pieces."""


def basket_of(request: Request) -> Basket:
    """What is in the basket. A browser may send anything: what the catalogue does not have is left out."""
    pairs = (part.rpartition(".") for part in request.cookies.get(BASKET, "").split("|"))
    wanted = {sku: int(count) for sku, _, count in pairs if sku in ARTICLES and re.fullmatch("[0-9]{1,3}", count)}
    return {sku: min(count, QUANTITY_MAX) for sku, count in wanted.items() if count > 0}


def keep_basket(request: Request, response: Response, basket: Basket) -> None:
    """Remember the basket."""
    _keep(request, response, BASKET, "|".join(f"{sku}.{count}" for sku, count in basket.items()))


def tokens_of(request: Request) -> Mapping[str, str]:
    """Order → token, of the orders that this browser bought, the newest first."""
    pairs = (_PAIR.fullmatch(part) for part in request.cookies.get(ORDERS, "").split("|"))
    return {unquote(pair[1]): pair[2] for pair in pairs if pair}


def keep_token(request: Request, response: Response, order_id: str, token: str) -> None:
    """Remember that this browser bought the order."""
    known = {order_id: token, **tokens_of(request)}
    newest = list({**known, order_id: token}.items())[:ORDERS_MAX]
    _keep(request, response, ORDERS, "|".join(f"{quote(each, safe='')}~{opens}" for each, opens in newest))


def _keep(request: Request, response: Response, name: str, value: str) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=KEPT_SECONDS, httponly=True, samesite="lax", secure=secure)
