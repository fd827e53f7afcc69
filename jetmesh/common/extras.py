"""Optional packages: an import that fails names the extra that installs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


class MissingExtra(ValueError):
    """A package of an extra is not installed; the text names both and the command that installs it."""


@contextmanager
def brought_by(extra: str, what: str) -> Iterator[None]:
    """Import the packages of this extra inside the context.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        raise MissingExtra(f"{what} needs the package {missing.name}: pip install 'jetmesh[{extra}]'") from None


def has(*modules: str) -> bool:
    """Whether all these modules of an extra are installed; they are not imported."""
    return all(find_spec(module) for module in modules)
