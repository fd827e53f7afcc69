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
