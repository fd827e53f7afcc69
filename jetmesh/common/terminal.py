"""The one way to standard output and error: what came from outside is data there, and tells the terminal nothing."""

import codecs
import logging
from collections.abc import Iterable
from typing import IO, Any

import click

from jetmesh.common.visible import OneLine, in_json, lines, written

PLAIN = "jetmesh.plain"
"""The error handler of a stream that can't show every character."""
_GLYPHS = str.maketrans("✓✗·–−…→×▲━│├└─’“”", '+x.--~>x!=||`-\'""')


def say(words: object = "", *, err: bool = False, end: bool = True, **style: Any) -> None:
    """Print a line, or several."""
    click.secho(lines(words), err=err, nl=end, **style)


def show(document: object, indent: int | None = None) -> None:
    """Print a document as JSON."""
    click.echo(written(document, indent=indent))


def quiet_logs() -> None:
    """What libraries log while a command runs is a line on standard error, and no traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # what it says there, the command says in its own words


def prepare(streams: Iterable[IO[str]]) -> None:
    """Let text streams take every character, whatever their encoding can show."""
    for stream in streams:
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=PLAIN)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """A sign that looks like it, else its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end].translate(_GLYPHS)
    return "".join(each if each.isascii() else in_json(each) for each in characters), error.end


codecs.register_error(PLAIN, _plain)
