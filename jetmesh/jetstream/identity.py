"""How a client proves who it is."""

from collections.abc import Mapping
from typing import Any, Protocol


class Identity(Protocol):
    """What a connection asks whenever it introduces itself (`jetmesh.jetstream.credentials`)."""

    def options(self) -> Mapping[str, Any]:
        """What nats-py is told: `nkeys_seed_str`, `tls`, `inbox_prefix`."""
        ...

    def trouble(self, error: BaseException | None, server: Mapping[str, Any]) -> str:
        """Why a broker that is there does not let it in; empty where it would."""
        ...


class Anybody:
    """A client that proves nothing, but for what stands in the address."""

    def options(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def trouble(self, error: BaseException | None, server: Mapping[str, Any]) -> str:
        """Nothing is known."""
        return ""
