"""Amounts are written with the decimals that their currency has."""

from typing import get_args

import pytest

from jetmesh_contracts.money import DECIMALS, Currency, amount, money


def test_the_decimals_of_every_currency_are_known() -> None:
    assert set(DECIMALS) == set(get_args(get_args(Currency)[0]))


@pytest.mark.parametrize(
    ("minor", "currency", "written"),
    [
        (123_450, "EUR", "1,234.50"),
        (5, "EUR", "0.05"),
        (-5, "EUR", "-0.05"),
        (123_450, "JPY", "123,450"),
        (0, "JPY", "0"),
        (100_000_000_001, "USD", "1,000,000,000.01"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(minor: int, currency: str, written: str) -> None:
    assert amount(minor, currency) == written
    assert money(minor, currency) == f"{written} {currency}"
