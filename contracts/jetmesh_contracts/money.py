"""Money: whole numbers of a currency's minor unit, never fractions."""

from typing import Annotated, Literal

from pydantic import Field

from jetmesh_contracts import units

Currency = Annotated[
    Literal["EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "JPY"],
    Field(description="ISO 4217 code."),
]

Minor = Annotated[
    int,
    Field(
        ge=0,
        le=100_000_000_000,
        description="An amount in the currency's minor unit (cents for EUR).",
        json_schema_extra=units.MINOR,
    ),
]

DECIMALS = {
    "EUR": 2, "USD": 2, "GBP": 2, "CHF": 2, "SEK": 2, "NOK": 2, "DKK": 2, "PLN": 2, "CZK": 2, "JPY": 0,
}  # fmt: skip
"""How many digits of an amount are after the decimal point: ISO 4217's minor units."""


def amount(minor: int, currency: str) -> str:
    """An amount as people write it: 1,234.50 of 123450 cents, and 1,234 of as many yen."""
    decimals = DECIMALS[currency]
    whole, rest = divmod(abs(minor), 10**decimals)
    return f"{'-' * (minor < 0)}{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "")


def money(minor: int, currency: str) -> str:
    """The amount with its currency: 1,234.50 EUR."""
    return f"{amount(minor, currency)} {currency}"
