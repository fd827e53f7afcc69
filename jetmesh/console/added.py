"""Pages that an app adds to the console: it says what there is and what can be done; the console draws the page, lets
operators alone act, and logs it."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from jetmesh.console.effects import SideEffects
from jetmesh.reaction import DeclarationError

PAGES = "jetmesh.console_pages"
"""Under this an app declares a function without parameters that gives its pages (`jetmesh.app.added`)."""
PATH = re.compile(r"[a-z][a-z-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleItem:
    """One thing on a page that an app adds to the console: what it is, how it is now, and what can be done with it."""

    name: str
    """In addresses and in the log."""
    title: str
    words: str = ""
    state: str = ""
    is_good: bool = True
    progress: tuple[int, int] | None = None
    """So many of so many, of what takes a while."""
    actions: Mapping[str, str] = field(default_factory=dict)
    """The words on the button of each, by its name."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses in the console, such as `/mesh/letters`, by their words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePage:
    """A page that an app adds to the console (`jetmesh console`).

    It is at `/mesh/<path>`, and its items are asked for once a second while somebody looks. `act` gets the name of an
    item and of one of its actions, and returns what was done, in words; what it raises as `Unavailable` is shown.
    """

    path: str
    title: str
    key: str
    """The letter that opens it, after `g`."""
    words: str
    items: Callable[[], Awaitable[Sequence[ConsoleItem]]]
    act: Callable[[str, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Added:
    """All that an app adds to the console."""

    pages: Sequence[ConsolePage] = ()
    effects: Sequence[SideEffects] = ()


def require_fitting(pages: Sequence[ConsolePage], views: Mapping[str, tuple[str, str]]) -> None:
    """Refuse pages that have the address or the key of another one.

    Raises:
        DeclarationError: it names the page and the fix.
    """
    paths: Collection[str] = {*views, "login", "logout", "livez", "live", "at", "reactions", "messages"}
    keys = {key for _, key in views.values()}
    for page in pages:
        if not PATH.fullmatch(page.path) or page.path in paths:
            raise DeclarationError(
                f"ConsolePage(path={page.path!r}): choose another one, of small letters, not {sorted(paths)}"
            )
        if len(page.key) != 1 or page.key in keys:
            raise DeclarationError(f"ConsolePage(key={page.key!r}): choose another letter, not {sorted(keys)}")
        paths, keys = {*paths, page.path}, {*keys, page.key}
