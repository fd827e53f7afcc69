"""How a client authenticates."""

from collections.abc import Mapping
from typing import Any, Protocol


class Identity(Protocol):
    """The credentials that a connection reads at each connect (`jetmesh.jetstream.credentials`)."""

    def options(self) -> Mapping[str, Any]:
        """The options for nats-py: `nkeys_seed_str`, `tls`, `inbox_prefix`."""
        ...

    def trouble(self, error: BaseException | None, server: Mapping[str, Any]) -> str:
        """Why the broker refuses it; empty if it does not."""
        ...


class Anybody:
    """A client without credentials but those in the URL."""

    def options(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def trouble(self, error: BaseException | None, server: Mapping[str, Any]) -> str:
        """Nothing is known."""
        return ""
