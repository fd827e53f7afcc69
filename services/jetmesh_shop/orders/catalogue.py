"""What is sold, and for how much: article → price of one piece in euro cents."""

import json
from pathlib import Path

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


def prices(file: Path | None = None) -> dict[str, int]:
    """The built-in catalogue, or the one in a JSON file `{"article": price, …}`.

    Raises:
        ValueError: the file is no such object; the text names the article.
    """
    if file is None:
        return PRICES
    read = json.loads(file.read_text("utf-8"))
    if not isinstance(read, dict):
        raise ValueError(f"{file}: a catalogue is a JSON object of articles and prices")
    for article, price in read.items():
        if not isinstance(price, int) or price < 0:
            raise ValueError(f"{file}: {article}: a price is a whole number of cents, not {price!r}")
    return read
