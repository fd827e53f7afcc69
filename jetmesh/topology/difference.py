"""How what the broker has differs from what the services need: what is changed, what is kept, what can't be changed.

Three kinds of fields. What the mesh relies on is made as it is declared. What operators tune (`TUNABLE`, and whatever
is declared nowhere) stays as they left it. Of subjects and filters, what is not declared here may be a newer version's:
it is kept, until somebody says that it may go.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.subject import covers

Field = tuple[str, Any, Any]
"""A field's name, what it has, and what it needs."""

TAKES = "jetmesh.takes"
"""In the metadata of an intake's durable: the types that some version takes from it, separated by commas."""
IMMUTABLE = frozenset({"storage", "retention"})
IMMUTABLE_CONSUMER = frozenset({"deliver_policy", "ack_policy", "replay_policy"})
LOSES_WHEN_LOWERED = frozenset({"max_age", "max_msgs", "max_msgs_per_subject"})
TUNABLE = {"ack_wait": 30_000_000_000, "max_ack_pending": 8192}
"""Fields of a durable that operators may set, each with its default. What jetmesh set itself, where that is something
else, is remembered in the metadata (`jetmesh.<field>`); a value that is neither was set by somebody."""

UNWANTED_OF_STREAM = {"no_ack": False, "subject_transform": None}
UNWANTED_OF_CONSUMER = {"headers_only": False, "priority_policy": None, "priority_groups": None}
"""What nobody may tune: a recording would wait for ever or be found by nobody, a reaction would get nothing to read."""
NO_HINDRANCE = frozenset({"metadata", "description", *TUNABLE})
"""A service runs whatever these say."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`config` is the whole configuration as it would be; `kept` says what stays though nobody declares it here."""

    config: Config
    fields: tuple[Field, ...] = ()
    kept: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    reason: str = ""
    """Why it can't be changed; empty where it can."""


@dataclass(slots=True)
class _Merged:
    config: dict[str, Any]
    kept: list[str] = field(default_factory=list)
    undeclared: tuple[str, ...] = ()


def of_stream(has: Config, needs: Config, *, holds: int = 0, prune: bool = False) -> Difference:
    """Compare a stream's configuration; it holds so many bytes. With `prune`, subjects that are not declared go."""
    needs = {**UNWANTED_OF_STREAM, **needs}
    merged = _Merged({**has, **needs})
    _keep_room(merged, has, needs, holds)
    reason = _merge_subjects(merged, has, needs, "subjects", prune=prune)
    changed = _changed(has, merged.config, needs)
    reason = next((why for each in changed if (why := _forbidden(*each))), reason)
    if has.get("sealed"):
        reason = "the stream is sealed, which can't be undone, and takes nothing"
    return Difference(merged.config, changed, tuple(merged.kept), merged.undeclared, reason)


def of_consumer(has: Config, needs: Config, *, prune: bool = False) -> Difference:
    """Compare a durable's configuration; with `prune`, filters that are not declared go."""
    has, needs = {**has, "filter_subjects": filters_of(has)}, {**needs, **UNWANTED_OF_CONSUMER}
    merged = _Merged({**has, **needs})
    merged.config.pop("filter_subject", None)
    reason = _merge_subjects(merged, has, needs, "filter_subjects", prune=prune)
    metadata = _metadata(has, needs, prune=prune)
    for name, default in TUNABLE.items():
        _tune(merged, name, has, needs, int(metadata.get(f"jetmesh.{name}", default)))
    merged.config["metadata"] = _noted(metadata, merged.config, needs)
    changed = _changed(has, merged.config, {**needs, "metadata": None})
    if fixed := [name for name, _, _ in changed if name in IMMUTABLE_CONSUMER]:
        reason = f"{fixed[0]} of a durable can't be changed; remove it, and what it has not acknowledged comes again"
    if pushes := has.get("deliver_subject"):
        reason = f"the durable pushes to {pushes}, and its service pulls; remove it"
    config = {name: value for name, value in merged.config.items() if value is not None}
    return Difference(config, changed, tuple(merged.kept), merged.undeclared, reason)


def new_consumer(needs: Config) -> Config:
    """The configuration of a durable that is not there yet."""
    metadata = _noted(needs.get("metadata") or {}, needs, needs)
    return {**needs, "metadata": metadata} if metadata else needs


def filters_of(config: Config) -> list[str]:
    """The subjects that a durable admits; none where it admits all."""
    return list(config.get("filter_subjects") or ([config["filter_subject"]] if config.get("filter_subject") else []))


def takes_of(config: Config) -> set[str]:
    """The types that some version takes from an intake's durable."""
    return set(filter(None, (config.get("metadata") or {}).get(TAKES, "").split(",")))


def _merge_subjects(merged: _Merged, has: Config, needs: Config, name: str, *, prune: bool) -> str:
    """Keep what is not declared; the reason why that can't be."""
    declared = needs[name]
    extra = [one for one in has.get(name) or () if not any(covers(each, one) for each in declared)]
    merged.undeclared = tuple(extra)
    if not extra or prune:
        return ""
    routed = needs.get("subject_transform")
    if routed and has.get("subject_transform") not in (None, routed):
        return f"the stream holds messages of {', '.join(sorted(extra))}"
    merged.config[name] = [*declared, *extra]
    merged.kept.append(f"{name} {', '.join(sorted(extra))}")
    return ""


def _keep_room(merged: _Merged, has: Config, needs: Config, holds: int) -> None:
    """How much a stream may hold is for operators to say. Where nobody has, it is what is declared, unless the stream
    were half full then: what was taken yesterday must be taken today."""
    limit, declared = has.get("max_bytes", -1), needs.get("max_bytes", -1)
    if declared > 0 and limit != declared and (limit > 0 or 2 * holds > declared):
        merged.config["max_bytes"] = limit
        merged.kept.append(f"max_bytes {limit}")


def _metadata(has: Config, needs: Config, *, prune: bool) -> dict[str, str]:
    """What stands there, and what we say; the types that an intake takes are everybody's."""
    metadata = {**(has.get("metadata") or {}), **(needs.get("metadata") or {})}
    if takes := takes_of(needs) | (set() if prune else takes_of(has)):
        metadata[TAKES] = ",".join(sorted(takes))
    return metadata


def _tune(merged: _Merged, name: str, has: Config, needs: Config, ours: int) -> None:
    """Leave a field as it is if somebody set it."""
    if name not in needs or has.get(name) in (ours, needs[name], None):
        return
    merged.config[name] = has[name]
    merged.kept.append(f"{name} {has[name]}")


def _noted(metadata: Mapping[str, str], config: Config, needs: Config) -> dict[str, str]:
    """The metadata with what we set ourselves, where that is not the default."""
    noted = dict(metadata)
    for name, default in TUNABLE.items():
        if config.get(name) == needs.get(name) == default:
            noted.pop(f"jetmesh.{name}", None)
        elif name in needs and config.get(name) == needs[name]:
            noted[f"jetmesh.{name}"] = str(needs[name])
    return noted


def _changed(has: Config, merged: Config, needs: Iterable[str]) -> tuple[Field, ...]:
    return tuple((name, has.get(name), merged[name]) for name in needs if not _same(has.get(name), merged[name]))


def _same(has: Any, needs: Any) -> bool:
    if isinstance(needs, Sequence) and not isinstance(needs, str):
        return sorted(has or [], key=str) == sorted(needs, key=str)
    return bool(has == needs or (not has and not needs))


def _forbidden(name: str, has: Any, needs: Any) -> str:
    """Why a stream's field can't be changed without losing what is kept; empty where it can."""
    if name in IMMUTABLE:
        return f"{name} of a stream can't be changed; move its messages to a new stream"
    if name in LOSES_WHEN_LOWERED and needs not in (-1, 0, None) and (has in (-1, 0, None) or needs < has):
        return f"a lower {name} would delete messages"
    if name == "num_replicas" and needs < (has or 1):
        return (
            f"the stream has {has} copies: set JETMESH_REPLICAS={has}, or take copies away by hand (`nats stream edit`)"
        )
    return ""
