"""Whose a stream, a durable or a subject of the intake is: the app and the service that stand in its metadata.

Several apps may share a broker. Each has streams and durables of its own; the intake and the dead letters are shared,
and each app claims its subjects of the intake. What has no owner yet, since an older version made it, is adopted by the
app that declares it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jetmesh.jetstream.consumer_config import Config

APP, SERVICE = "jetmesh.app", "jetmesh.service"
"""Metadata keys of a stream or durable: its owner."""
CLAIM = "jetmesh.subjects."
"""With the name of an app behind it: a metadata key of a shared stream, with the app's subjects in it."""


class Owner(NamedTuple):
    """The app and the service that own something."""

    app: str
    service: str

    def __str__(self) -> str:
        return f"the service {self.service} of the app {self.app}"


def metadata(app: str, service: str) -> dict[str, dict[str, str]]:
    """The part of a configuration that names its owner; none where the app has no name."""
    return {"metadata": {APP: app, SERVICE: service}} if app else {}


def claim(app: str, subjects: list[str]) -> dict[str, dict[str, str]]:
    """The part of a shared stream's configuration that names an app's subjects in it."""
    return {"metadata": {f"{CLAIM}{app}": ",".join(subjects)}} if app else {}


def owner_of(config: Config) -> Owner | None:
    """The owner that a configuration names; None if it names none."""
    metadata = _metadata(config)
    return Owner(metadata[APP], metadata.get(SERVICE, "?")) if APP in metadata else None


def claims_of(config: Config) -> Mapping[str, frozenset[str]]:
    """The subjects of each app in a shared stream."""
    metadata = _metadata(config)
    return {
        key.removeprefix(CLAIM): frozenset(filter(None, subjects.split(",")))
        for key, subjects in metadata.items()
        if key.startswith(CLAIM)
    }


def without(config: Config, app: str) -> Config:
    """A configuration that says nothing of this app."""
    metadata = _metadata(config)
    own = {APP, SERVICE} if metadata.get(APP) == app else set()
    return {**config, "metadata": {k: v for k, v in metadata.items() if k not in own | {f"{CLAIM}{app}"}}}


def conflict(has: Config, needs: Config) -> str:
    """Why what the broker has belongs to somebody else; empty if it does not."""
    return _other_owner(has, needs) or _other_claim(has, needs)


def _other_owner(has: Config, needs: Config) -> str:
    theirs, ours = owner_of(has), owner_of(needs)
    if theirs is None or ours is None or theirs == ours:
        return ""
    renamed = "" if theirs.app == ours.app else f" (or `--take-over {theirs.app}`, if that app is this one now)"
    return f"it belongs to {theirs}, and {ours} would be a second owner: rename the service or the reaction{renamed}"


def _other_claim(has: Config, needs: Config) -> str:
    (ours,) = claims_of(needs) or ("",)
    for app, subjects in claims_of(has).items():
        if ours and app != ours and (both := subjects & set(needs["subjects"])):
            return (
                f"{', '.join(sorted(both))} belongs to the app {app}, and the app {ours} would take it as well: rename "
                f"the type's first word (or `--take-over {app}`, if that app is this one now)"
            )
    return ""


def _metadata(config: Config) -> Mapping[str, Any]:
    return config.get("metadata") or {}
