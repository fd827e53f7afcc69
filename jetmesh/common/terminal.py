"""Writes to standard output and error. Text from outside is escaped, so that it controls no terminal."""

import codecs
import logging
from collections.abc import Callable, Iterable
from typing import IO, Any

import click

from jetmesh.common.visible import OneLine, in_json, lines, written

Say = Callable[[str], None]
"""Reports the progress of a command, in a line."""
PLAIN = "jetmesh.plain"
"""The name of the error handler for streams that can't show every character."""
_GLYPHS = str.maketrans("✓✗·–−…→×▲━│├└─’“”", '+x.--~>x!=||`-\'""')


def say(words: object = "", *, err: bool = False, end: bool = True, **style: Any) -> None:
    """Print a line, or several."""
    click.secho(lines(words), err=err, nl=end, **style)


def show(document: object, indent: int | None = None) -> None:
    """Print a document as JSON."""
    click.echo(written(document, indent=indent))


def quiet_logs() -> None:
    """Let libraries log one line on standard error, without a traceback, while a command runs."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # the command reports the same in its own words


def prepare(streams: Iterable[IO[str]]) -> None:
    """Let text streams accept every character, whatever their encoding."""
    for stream in streams:
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=PLAIN)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """An ASCII character that looks like it, else its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end].translate(_GLYPHS)
    return "".join(each if each.isascii() else in_json(each) for each in characters), error.end


codecs.register_error(PLAIN, _plain)
