"""Units of numbers, as their schemas say them (`x-unit`): a changed unit is a broken contract."""

from pydantic import JsonValue

MINOR: dict[str, JsonValue] = {"x-unit": "minor unit"}
"""Cents for EUR, yen for JPY (ISO 4217)."""

PIECES: dict[str, JsonValue] = {"x-unit": "pieces"}
"""A number of pieces of one article."""

DEGREES: dict[str, JsonValue] = {"x-unit": "degrees"}
"""An angle."""

ORDERS: dict[str, JsonValue] = {"x-unit": "orders"}
"""A number of orders."""

PAGE: dict[str, JsonValue] = {"x-unit": "page"}
"""Which page, counted from 0."""

SIGNS: dict[str, JsonValue] = {"x-unit": "signs"}
"""What was heard of an order: other couriers and their positions, counted."""
