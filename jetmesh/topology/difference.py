"""Compares the broker's configuration with what the services need: what changes, what stays, what can't change.

There are three kinds of fields. A field that the mesh relies on is set as declared. A field that operators tune
(`TUNABLE`, and every undeclared one) stays as they set it. Undeclared subjects and filters may belong to a newer
version of a service: they stay unless `prune` is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.subject import covers
from jetmesh.topology.ownership import CLAIM, claims_of

FieldDifference = tuple[str, Any, Any]
"""A field's name, its value on the broker, and the value that is needed."""

TAKES = "jetmesh.takes"
"""A metadata key of an intake's durable: the types that any version takes from it, separated by commas."""
FORMERLY = "jetmesh.formerly"
"""A metadata key of a durable: the former names of its reaction, separated by commas."""
EXPRESS = "jetmesh.express"
"""A metadata key of an express durable: the subjects that it has delivered since it began, separated by commas."""
RENAMED = "jetmesh.renamed"
"""A metadata key of a durable that rests: the one that goes on with its work."""
START = ("deliver_policy", "opt_start_seq", "opt_start_time")
STARTS = frozenset({"all", "new", "by_start_sequence", "by_start_time"})
"""The fields that say where a durable began, which can't be changed, and the policies that miss nothing since."""
IMMUTABLE = frozenset({"storage", "retention"})
IMMUTABLE_CONSUMER = frozenset({"deliver_policy", "ack_policy", "replay_policy"})
LOSES_WHEN_LOWERED = frozenset({"max_age", "max_msgs", "max_msgs_per_subject"})
TUNABLE = {"ack_wait": 30_000_000_000, "max_ack_pending": 8192}
"""Fields of a durable that operators may set, with their defaults. The metadata (`jetmesh.<field>`) remember a value
that jetmesh set and that is not the default; an operator set any other value."""

UNWANTED_OF_STREAM = {"no_ack": False, "subject_transform": None}
UNWANTED_OF_CONSUMER = {"headers_only": False, "priority_policy": None, "priority_groups": None}
"""Fields that are always set back: with another value, records would wait for ever or reactions get no body."""
NO_HINDRANCE = frozenset({"metadata", "description", *TUNABLE})
"""Fields whose value does not keep a service from running."""
ONE_AT_A_TIME = ("max_ack_pending", 1)
"""No operator may set another value where this one is needed: the deliveries would not be in order."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`config` is the resulting configuration; `kept` names what stays although it is not declared."""

    config: Config
    fields: tuple[FieldDifference, ...] = ()
    kept: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    reason: str = ""
    """Why it can't be changed; empty if it can."""


@dataclass(slots=True)
class _Merged:
    config: dict[str, Any]
    kept: list[str] = field(default_factory=list)
    undeclared: tuple[str, ...] = ()


def of_stream(
    has: Config, needs: Config, *, holds: int = 0, prune: bool = False, is_shared: bool = False, take_over: str = ""
) -> Difference:
    """Compare a stream's configuration. `holds` are its bytes; `prune` removes undeclared subjects. Of a shared stream
    each app changes its own part only; `take_over` names the app whose part becomes its own."""
    needs = {**UNWANTED_OF_STREAM, **needs}
    merged = _Merged({**has, **needs})
    if "metadata" in needs:
        merged.config["metadata"] = {**(has.get("metadata") or {}), **needs["metadata"]}
    _keep_room(merged, has, needs, holds)
    if is_shared:
        _keep_copies(merged, has, needs)
    if claims_of(needs):
        reason = _merge_claimed(merged, has, needs, prune=prune, take_over=take_over)
    else:
        reason = _merge_subjects(merged, has, needs, "subjects", prune=prune)
    changed = _changed(has, merged.config, needs)
    reason = next((why for each in changed if (why := _forbidden(*each))), reason)
    if has.get("sealed"):
        reason = "the stream is sealed, which can't be undone: restore it from a backup into a new stream"
    return Difference(merged.config, changed, tuple(merged.kept), merged.undeclared, reason)


def of_consumer(has: Config, needs: Config, *, prune: bool = False) -> Difference:
    """Compare a durable's configuration; `prune` removes undeclared filters."""
    has, needs = {**has, "filter_subjects": filters_of(has)}, {**needs, **UNWANTED_OF_CONSUMER}
    if has.get("deliver_policy") in STARTS:
        needs = {name: value for name, value in needs.items() if name not in START}
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


def hinders(name: str, needs: Any) -> bool:
    """Whether a service can't run while this field has another value than it needs."""
    return name not in NO_HINDRANCE or (name, needs) == ONE_AT_A_TIME


def new_consumer(needs: Config) -> Config:
    """The configuration of a new durable."""
    metadata = _noted(needs.get("metadata") or {}, needs, needs)
    return {**needs, "metadata": metadata} if metadata else needs


def filters_of(config: Config) -> list[str]:
    """The filter subjects of a durable; none if it takes all."""
    return list(config.get("filter_subjects") or ([config["filter_subject"]] if config.get("filter_subject") else []))


def takes_of(config: Config) -> set[str]:
    """The types that any version takes from an intake's durable."""
    return set(filter(None, (config.get("metadata") or {}).get(TAKES, "").split(",")))


def former_names(config: Config) -> list[str]:
    """The names that the reaction of a durable had before."""
    return [name for name in (config.get("metadata") or {}).get(FORMERLY, "").split(",") if name]


def _merge_subjects(merged: _Merged, has: Config, needs: Config, name: str, *, prune: bool) -> str:
    """Keep undeclared subjects, or remove them; the reason if they can't be removed."""
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


def _merge_claimed(merged: _Merged, has: Config, needs: Config, *, prune: bool, take_over: str) -> str:
    """The subjects of a stream that apps share: an app adds its own and prunes what it claimed itself. Those of others
    stay, and so does what nobody claims: an older version may rely on it."""
    ((app, declared),) = claims_of(needs).items()
    claims = dict(claims_of(has))
    mine = claims.pop(app, frozenset()) | claims.pop(take_over, frozenset())
    stale = mine - declared if prune else frozenset()
    extra = [one for one in has["subjects"] if one not in declared | stale]
    merged.config["subjects"] = [*needs["subjects"], *extra] or has["subjects"]  # a stream has one at least
    merged.undeclared = tuple(sorted(stale))
    if left := sorted(set(extra).difference(*claims.values())):
        merged.kept.append(f"subjects {', '.join(left)}")
    noted = merged.config["metadata"]
    noted.pop(f"{CLAIM}{take_over}", None)
    noted[f"{CLAIM}{app}"] = ",".join(sorted(declared | (mine - stale)))
    return ""


def _keep_copies(merged: _Merged, has: Config, needs: Config) -> None:
    """Keep the copies of a shared stream where another app asked for more."""
    if has.get("num_replicas", 1) > needs.get("num_replicas", 1):
        merged.config["num_replicas"] = has["num_replicas"]
        merged.kept.append(f"num_replicas {has['num_replicas']}")


def _keep_room(merged: _Merged, has: Config, needs: Config, holds: int) -> None:
    """Keep `max_bytes` if an operator set it. Else it is the declared value, unless the stream would be half full then:
    it must not refuse today what it took yesterday."""
    limit, declared = has.get("max_bytes", -1), needs.get("max_bytes", -1)
    if declared > 0 and limit != declared and (limit > 0 or 2 * holds > declared):
        merged.config["max_bytes"] = limit
        merged.kept.append(f"max_bytes {limit}")


def _metadata(has: Config, needs: Config, *, prune: bool) -> dict[str, str]:
    """The metadata on the broker, with ours; the types of an intake are those of all versions."""
    metadata = {**(has.get("metadata") or {}), **(needs.get("metadata") or {})}
    if takes := takes_of(needs) | (set() if prune else takes_of(has)):
        metadata[TAKES] = ",".join(sorted(takes))
    return metadata


def _tune(merged: _Merged, name: str, has: Config, needs: Config, ours: int) -> None:
    """Leave a field as it is if an operator set it."""
    if name not in needs or has.get(name) in (ours, needs[name], None) or (name, needs[name]) == ONE_AT_A_TIME:
        return
    merged.config[name] = has[name]
    merged.kept.append(f"{name} {has[name]}")


def _noted(metadata: Mapping[str, str], config: Config, needs: Config) -> dict[str, str]:
    """The metadata, with each value that we set and that is not the default."""
    noted = dict(metadata)
    for name, default in TUNABLE.items():
        if config.get(name) == needs.get(name) == default:
            noted.pop(f"jetmesh.{name}", None)
        elif name in needs and config.get(name) == needs[name]:
            noted[f"jetmesh.{name}"] = str(needs[name])
    return noted


def _changed(has: Config, merged: Config, needs: Iterable[str]) -> tuple[FieldDifference, ...]:
    return tuple(
        (name, *_shown(name, has.get(name), merged[name])) for name in needs if not _same(has.get(name), merged[name])
    )


def _shown(name: str, has: Any, needs: Any) -> tuple[Any, Any]:
    """Both values; of the metadata, what differs."""
    if name != "metadata":
        return has, needs
    before = has or {}
    keys = [key for key in {**before, **needs} if before.get(key) != needs.get(key)]
    return {k: before[k] for k in keys if k in before}, {k: needs[k] for k in keys if k in needs}


def _same(has: Any, needs: Any) -> bool:
    if isinstance(needs, Sequence) and not isinstance(needs, str):
        return sorted(has or [], key=str) == sorted(needs, key=str)
    return bool(has == needs or (not has and not needs))


def _forbidden(name: str, has: Any, needs: Any) -> str:
    """Why a stream's field can't be changed without losing messages; empty if it can."""
    if name in IMMUTABLE:
        return f"{name} of a stream can't be changed; move its messages to a new stream"
    if name in LOSES_WHEN_LOWERED and needs not in (-1, 0, None) and (has in (-1, 0, None) or needs < has):
        return f"a lower {name} would delete messages"
    if name == "num_replicas" and needs < (has or 1):
        return (
            f"the stream has {has} copies: set JETMESH_REPLICAS={has}, or take copies away by hand (`nats stream edit`)"
        )
    return ""
