"""The orders of a demo: most good, some declined, some out of stock, a few refused; the same for the same seed."""

import random
import secrets
from collections.abc import Iterator

from jetmesh_contracts import Customer, Line, OrderPlaced
from jetmesh_shop.orders.catalogue import PRICES

SCARCE = "truffle-special"
PLENTY = tuple(sku for sku in PRICES if sku != SCARCE)
FIRST_NAMES = ("ada", "grace", "alan", "edsger", "barbara", "donald", "radia", "leslie", "margaret", "tony")

GOOD, DECLINED, OUT_OF_STOCK, REFUSED = "good", "declined", "out of stock", "refused"
WEIGHTS = {GOOD: 90, DECLINED: 5, OUT_OF_STOCK: 3, REFUSED: 2}

DECLINING = (
    "pm_card_visa_chargeDeclined",
    "pm_card_visa_chargeDeclinedInsufficientFunds",
    "pm_card_chargeDeclinedExpiredCard",
)
PAYING = ("pm_card_visa", "pm_card_mastercard", "pm_card_amex")


def fresh_id() -> str:
    """A new order id."""
    return f"o-{secrets.token_hex(3)}"


def first(order_id: str) -> OrderPlaced:
    """The order that the demo places to begin with."""
    lines = (_line("pizza-margherita", 2), _line("cola", 2), _line("tiramisu", 1))
    return OrderPlaced(
        order_id=order_id,
        customer=Customer(customer_id="c-7", email="ada@example.com"),
        lines=lines,
        currency="EUR",
        payment_method="pm_card_visa",
    )


def small(order_id: str) -> OrderPlaced:
    """An order short enough to be published by hand."""
    return first(order_id).model_copy(update={"lines": (_line("cola", 2),)})


def orders(run: str, count: int, seed: int) -> Iterator[OrderPlaced]:
    """So many orders; their ids begin with the run's name, so that no two runs share one."""
    chance = random.Random(seed)
    kinds = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
    return (_order(f"o-{run}-{number}", kind, chance) for number, kind in enumerate(kinds, 1))


def _order(order_id: str, kind: str, chance: random.Random) -> OrderPlaced:
    name = chance.choice(FIRST_NAMES)
    number = chance.randrange(1_000)
    return OrderPlaced(
        order_id=order_id,
        customer=Customer(customer_id=f"c-{number}", email=f"{name}.{number}@example.com"),
        lines=_lines(kind, chance),
        currency="EUR",
        payment_method=chance.choice(DECLINING if kind == DECLINED else PAYING),
    )


def _lines(kind: str, chance: random.Random) -> tuple[Line, ...]:
    skus = chance.sample(PLENTY, chance.randint(1, 3))
    lines = [_line(sku, chance.randint(1, 3)) for sku in skus]
    if kind == OUT_OF_STOCK:
        lines.append(_line(SCARCE, chance.randint(11, 20)))
    elif kind == REFUSED:
        stale = lines[0].unit_price_minor - 100
        lines[0] = lines[0].model_copy(update={"unit_price_minor": stale})
    return tuple(lines)


def _line(sku: str, quantity: int) -> Line:
    return Line(sku=sku, quantity=quantity, unit_price_minor=PRICES[sku])
