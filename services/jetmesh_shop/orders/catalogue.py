"""What is sold, and for how much: article → price of one piece in euro cents."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator

PRICES = {
    "pizza-margherita": 1_150,
    "pizza-funghi": 1_290,
    "lasagne": 1_390,
    "tiramisu": 650,
    "panna-cotta": 590,
    "cola": 290,
    "espresso": 240,
    "truffle-special": 4_900,
}


def read_prices(file: str) -> Mapping[str, int]:
    """The catalogue in a JSON file `{"article": price, …}`. Raises ValueError where it is none; the text names the
    article."""
    try:
        prices = json.loads(Path(file).read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    if not isinstance(prices, dict):
        raise ValueError(f"{file}: a catalogue is a JSON object of articles and prices")
    for article, price in prices.items():
        if not isinstance(price, int) or price < 0:
            raise ValueError(f"{file}: {article}: a price is a whole number of cents, not {price!r}")
    return prices


Catalogue = Annotated[Mapping[str, int], PlainValidator(read_prices)]
"""A setting that names a catalogue's file."""
