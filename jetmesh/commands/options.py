"""Options that several commands share."""

import math
from collections.abc import Callable
from typing import Any

import click

Tell = Callable[[str], None]
"""Where a command says how far it is."""


class Figure(click.FloatRange):
    """A number between bounds: infinity is none, and neither is NaN, which no bound holds off."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """The text as a number."""
        found = float(super().convert(value, parameter, context))
        return found if math.isfinite(found) else self.fail(f"{found} is no finite number", parameter, context)


app = click.option("--app", default="", metavar="MODULE:NAME", help="The services; else JETMESH_APP or pyproject.toml.")
contracts = click.option(
    "--contracts", default="", metavar="PACKAGE", help="The contracts; else JETMESH_CONTRACTS or pyproject.toml."
)
