"""`endpoints.json`: where the mesh that runs on a state folder is reached."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Endpoints(BaseModel):
    """The addresses and processes of a mesh, and whatever else its app serves. `nats_args` are the arguments with which
    the `nats` CLI gets to its broker as an operator."""

    model_config = ConfigDict(extra="allow")

    nats_url: str
    nats_args: list[str]
    monitor_url: str = Field(description="The broker's monitoring pages; empty where the broker is somebody else's.")
    health_urls: dict[str, str] = Field(description="/livez and /readyz of each service.")
    pids: dict[str, int]

    def write(self, path: Path) -> None:
        """Put the file there in one step: whoever sees it sees all of it."""
        fresh = path.with_suffix(".tmp")
        fresh.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")
        fresh.replace(path)


def read(path: Path) -> Mapping[str, Any] | None:
    """What a mesh says about itself; None where there is none, or what it left can't be used."""
    try:
        said = json.loads(path.read_bytes())
        arguments = said["nats_args"]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    is_good = isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments)
    return dict(said) if is_good else None
