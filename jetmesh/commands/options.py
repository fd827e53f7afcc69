"""Options that several commands share."""

import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from jetmesh.local.state import ARCHIVE, StateFolder

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
DURATION = re.compile(r"([0-9]{1,11})([dhms])")
LONGEST = timedelta(days=36_500)


class Figure(click.FloatRange):
    """A finite number between bounds: click's bounds do not exclude NaN."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """The text as a number."""
        found = float(super().convert(value, parameter, context))
        return found if math.isfinite(found) else self.fail(f"{found} is not a finite number", parameter, context)


class Duration(click.ParamType[timedelta]):
    """`30d`, `12h`, `90m`, `0s`."""

    name = "duration"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> timedelta:
        """The text as a length of time."""
        if isinstance(value, timedelta):
            return value
        matched = DURATION.fullmatch(str(value))
        if not matched:
            self.fail(f"{value!r} is not a length of time: write 30d, 12h, 90m or 0s", parameter, context)
        number, unit = int(matched[1]), UNITS[matched[2]]
        if number > LONGEST / timedelta(**{unit: 1}):
            self.fail(f"{value!r} is too long: at most {LONGEST.days}d", parameter, context)
        return timedelta(**{unit: number})


app = click.option("--app", default="", metavar="MODULE:NAME", help="The services; else JETMESH_APP or pyproject.toml.")
contracts = click.option(
    "--contracts", default="", metavar="PACKAGE", help="The contracts; else JETMESH_CONTRACTS or pyproject.toml."
)
owner = click.option("--owner", default="", help="The service that records the event; else the first word of its type.")
key = click.option("--key", default="", help="The field that is the event's key; else <entity>_id.")


def _state(_context: click.Context, _parameter: click.Parameter, folder: Path) -> StateFolder:
    if "\\" in str(folder.absolute()):
        raise click.BadParameter(f"{folder.absolute()} has a backslash, which DuckDB reads as a slash; name another")
    return StateFolder(folder)


state = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=".jetmesh",
    envvar="JETMESH_STATE",
    show_default=True,
    callback=_state,
    help="The folder that holds everything of the mesh.",
)
archive = click.option(
    "--archive",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=ARCHIVE,
    help="The archive; else JETMESH_ARCHIVE, else `archive` in the state folder.",
)
