"""Reading and writing an order through its contract, against pydantic's own calls, in alternating rounds.

The best round of each counts: what else runs on the machine only makes rounds slower.
"""

import time
from collections.abc import Callable

import click

from jetmesh.cloudevents import read_event
from jetmesh_contracts import Customer, Line, OrderPlaced

RATIO_MAX = 1.3

LINES = tuple(Line(sku=f"article-{number}", quantity=number + 1, unit_price_minor=290) for number in range(3))
BODY = (
    OrderPlaced(
        order_id="o-1042",
        customer=Customer(customer_id="c-7", email="ada@example.com"),
        lines=LINES,
        currency="EUR",
        payment_method="pm_card_visa",
    )
    .model_dump_json()
    .encode()
)


def own() -> str:
    """What pydantic does without us."""
    return OrderPlaced.model_validate_json(BODY).model_dump_json()


def contract() -> str:
    """What a service does: read as from the broker, tolerant of unknown fields, and write."""
    written: str = read_event(OrderPlaced, BODY).model_dump_json()
    return written


def seconds(function: Callable[[], str], calls: int) -> float:
    """What one call takes, over a round of them."""
    began = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - began) / calls


@click.command()
@click.option("--rounds", default=30, show_default=True)
@click.option("--calls", default=2_000, show_default=True, help="In each round.")
def main(rounds: int, calls: int) -> None:
    """Print both, and exit 1 if a contract costs more than 1.3 times pydantic."""
    measured = [(seconds(own, calls), seconds(contract, calls)) for _ in range(rounds)]
    theirs, ours = (min(column) for column in zip(*measured, strict=True))
    click.echo(f"pydantic {theirs * 1e6:.2f} µs, through the contract {ours * 1e6:.2f} µs: {ours / theirs:.2f} times")
    raise SystemExit(ours > RATIO_MAX * theirs)


if __name__ == "__main__":
    main()
