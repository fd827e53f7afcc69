"""Type annotations, taken apart: the members of a union, what a sequence holds, what a fold folds."""

import types
from collections.abc import Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from jetmesh.event import EventType


def members(hint: Any) -> tuple[Any, ...]:
    """What a union names; anything else is its own only member."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def element(hint: Any) -> Any:
    """What a sequence holds; None: it is no sequence."""
    origin = get_origin(hint)
    return get_args(hint)[0] if isinstance(origin, type) and issubclass(origin, Sequence) else None


def several(hint: Any) -> tuple[Any, ...]:
    """What a tuple or a list of events holds; empty for anything else."""
    return get_args(hint) if get_origin(hint) is tuple or element(hint) is not None else ()


def folded(story: type | None) -> tuple[EventType, ...]:
    """What a fold says that it folds: the annotation of its event; nothing where that can't be resolved."""
    try:
        hints = get_type_hints(story.evolve) if story and hasattr(story, "evolve") else {}
    except NameError:
        return ()
    named = [member for name, hint in hints.items() if name != "return" for member in members(hint)]
    return tuple(member for member in named if isinstance(member, type) and hasattr(member, "read"))


def names(events: Sequence[EventType]) -> str:
    """The names of classes, for an error."""
    return " or ".join(event.__name__ for event in events)
