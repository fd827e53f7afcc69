"""The orders of a benchmark: a thousand articles, or one that everybody wants; the same for the same run's name."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from jetmesh_contracts import Customer, Line, OrderPlaced, StockRestocked

ARTICLES = 1_000
PIECES = 1_000_000
SOLD_OUT, HOT = "sold-out", "article-hot"
PRICE_MINOR = 1_150
GOOD, DECLINED, OUT_OF_STOCK, REFUSED = "good", "declined", "out of stock", "refused"
WEIGHTS = {GOOD: 90, DECLINED: 5, OUT_OF_STOCK: 3, REFUSED: 2}


def articles(count: int = ARTICLES) -> list[str]:
    """So many."""
    return [f"article-{number:04}" for number in range(count)]


def write_catalogue(path: Path, skus: Sequence[str]) -> None:
    """What is sold, as `JETMESH_CATALOGUE` wants it."""
    path.write_text(json.dumps(dict.fromkeys((*skus, SOLD_OUT, HOT), PRICE_MINOR)))


def restocks(skus: Sequence[str], pieces: int = PIECES) -> Iterator[StockRestocked]:
    """What is on the shelf when a benchmark begins."""
    return (StockRestocked(restock_id=f"opening-{sku}", sku=sku, quantity=pieces) for sku in skus)


def orders(run: str, count: int, skus: Sequence[str]) -> Iterator[OrderPlaced]:
    """So many orders of one to three articles each: most go well, some are declined, short or refused."""
    chance = random.Random(run)
    kinds = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
    return (_order(f"o-{run}-{number}", kind, skus, chance) for number, kind in enumerate(kinds))


def good_orders(run: str, count: int, skus: Sequence[str]) -> Iterator[OrderPlaced]:
    """So many orders that all go well."""
    chance = random.Random(run)
    return (_order(f"o-{run}-{number}", GOOD, skus, chance) for number in range(count))


def _order(order_id: str, kind: str, skus: Sequence[str], chance: random.Random) -> OrderPlaced:
    customer = chance.randrange(1_000)
    wanted = chance.sample(skus, min(len(skus), chance.randint(1, 3)))
    lines = [_line(sku, chance.randint(1, 3)) for sku in wanted]
    if kind == OUT_OF_STOCK:
        lines.append(_line(SOLD_OUT, 1))
    if kind == REFUSED:
        lines.append(_line("unknown", 1))
    return OrderPlaced(
        order_id=order_id,
        customer=Customer(customer_id=f"c-{customer}", email=f"c-{customer}@example.com"),
        lines=tuple(lines),
        currency="EUR",
        payment_method="pm_card_visa_chargeDeclined" if kind == DECLINED else "pm_card_visa",
    )


def _line(sku: str, quantity: int) -> Line:
    return Line(sku=sku, quantity=quantity, unit_price_minor=PRICE_MINOR)
