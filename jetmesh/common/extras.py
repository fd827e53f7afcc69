"""What an installation of the bare package does not have: each use of it names the extra that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtra(ValueError):
    """A package is needed that an extra brings; the text names both, and the command that installs it."""


@contextmanager
def brought_by(extra: str, what: str) -> Iterator[None]:
    """Import inside what only this extra brings.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        raise MissingExtra(f"{what} needs the package {missing.name}: pip install 'jetmesh[{extra}]'") from None
