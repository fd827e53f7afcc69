"""`endpoints.json`: the addresses of the mesh that runs on a state folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Endpoints(BaseModel):
    """The addresses and processes of a mesh, and the app's own addresses. `nats_args` are the arguments for the `nats`
    CLI to connect to its broker as an operator."""

    model_config = ConfigDict(extra="allow")

    nats_url: str
    nats_args: list[str]
    tenant: str = Field("", description="The tenant whose names its streams have (JETMESH_TENANT); empty: none.")
    monitor_url: str = Field(description="The broker's monitoring pages; empty if the broker is not the mesh's own.")
    health_urls: dict[str, str] = Field(description="/livez and /readyz of each service.")
    pids: dict[str, int]

    def write(self, path: Path) -> None:
        """Write the file atomically: a reader never sees half of it."""
        fresh = path.with_suffix(".tmp")
        fresh.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")
        fresh.replace(path)


def read(path: Path) -> Mapping[str, Any] | None:
    """The endpoints of a mesh; None if there is no file, or it is invalid."""
    try:
        said = json.loads(path.read_bytes())
        arguments = said["nats_args"]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    is_good = isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments)
    return dict(said) if is_good else None
