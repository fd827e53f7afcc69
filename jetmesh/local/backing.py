"""The backing services of an app on one machine: what its services need beside the broker, such as a mail server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec

BACKING = "jetmesh.backing_services"
"""Under this an app declares its `BackingServices` (`jetmesh.app.added`)."""
AFTERWARDS = 15
"""The niceness of what nobody waits for: in a burst on few cores it comes after what somebody does."""


def _nothing(_: str) -> Mapping[str, str]:
    return {}


def _not_nice(_: str) -> int:
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """What runs beside the services of an app, and what the services are told of it."""

    processes: Sequence[Spec] = ()
    """Started with the broker, before the services."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Further addresses for `endpoints.json`, such as `http_url`."""
    environment: Callable[[str], Mapping[str, str]] = _nothing
    """The variables of a service, by its name."""
    niceness: Callable[[str], int] = _not_nice
    """The niceness of a service's process (nice(2))."""

    def over(self, other: "Backing") -> "Backing":
        """Both; where both name the same address or variable, it is this one's."""
        return replace(
            self,
            processes=[*other.processes, *self.processes],
            urls={**other.urls, **self.urls},
            environment=lambda name: {**other.environment(name), **self.environment(name)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackingServices:
    """What an app has beside its services when it runs on one machine (`jetmesh dev`)."""

    at: Callable[[StateFolder, Mapping[str, int]], Backing]
    """Everything on a state folder, with a port for each name."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The usual port of each, by name."""
    files: Sequence[str] = ()
    """The names of its files in the state folder, which only their owner may read."""


def _none(_: StateFolder, __: Mapping[str, int]) -> Backing:
    return Backing()


NONE = BackingServices(at=_none)
