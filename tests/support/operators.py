"""What an operator changes by hand at the broker."""

from typing import Any

from jetmesh.jetstream import api
from jetmesh.testing import LocalMesh


async def config_of(mesh: LocalMesh, call: str) -> dict[str, Any]:
    """The configuration in an answer of the API: `STREAM.INFO.WORK`."""
    info = await api.request(mesh.context.connection, call, strict=True)
    return dict(info["config"])


async def change_stream(mesh: LocalMesh, stream: str, **fields: Any) -> None:
    """Change these fields of a stream."""
    config = {**await config_of(mesh, f"STREAM.INFO.{stream}"), **fields}
    await api.request(mesh.context.connection, f"STREAM.UPDATE.{stream}", config, strict=True)


async def change_durable(mesh: LocalMesh, place: str, **fields: Any) -> None:
    """Change these fields of a durable: `JOBS.work-finish`."""
    config = {**await config_of(mesh, f"CONSUMER.INFO.{place}"), **fields}
    body = {"stream_name": place.partition(".")[0], "config": config}
    await api.request(mesh.context.connection, f"CONSUMER.CREATE.{place}", body, strict=True)
