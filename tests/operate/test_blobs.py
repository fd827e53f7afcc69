"""Objects that no message names any more are found and removed; what a message names stays."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh import Blob, connect
from jetmesh.blob import description_of
from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.operate.blobs import names_in
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.support.documents import APP, SERVICES, Scanned, Uploaded, noise


async def _command(broker: Broker, *arguments: str) -> Any:
    run = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": APP})
    return await asyncio.to_thread(run.invoke, commands, arguments)


async def _run(mesh: LocalMesh, *arguments: str) -> Any:
    run = CliRunner(env={"NATS_URL": mesh.settings.nats_url, "JETMESH_APP": APP})
    return await asyncio.to_thread(run.invoke, commands, ["blobs", *arguments])


async def _pieces(mesh: LocalMesh) -> int:
    return await mesh.count("OBJ_DOCUMENTS")


async def _purge(mesh: LocalMesh, stream: str, subject: str) -> None:
    await api.request(mesh.context.connection, f"STREAM.PURGE.{stream}", {"filter": subject}, strict=True)


async def test_what_no_message_names_is_removed_and_no_other(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES)
    put = mesh.context.blobs.put
    named, archived, lost, unused, unfinished = [await put(Uploaded, noise(1, seed)) for seed in range(5)]
    await mesh.outside(Uploaded(document_id="d-1", pages=[named]))
    await mesh.outside(Uploaded(document_id="d-2", pages=[archived]))
    await mesh.outside(Uploaded(document_id="d-3", pages=[lost.model_copy(update={"size": 1})]))
    for key in ("d-1", "d-2"):
        await mesh.recorded(Scanned, key)
    await mesh.dead_letters(1)
    await mesh.settled()
    await _purge(mesh, "OBJ_DOCUMENTS", description_of("DOCUMENTS", unfinished.name))
    await _purge(mesh, "INTAKE", "documents.uploaded")  # as the archive does, of stories that ended
    await _purge(mesh, "DOCUMENTS", "documents.uploaded.d-2")
    await _purge(mesh, "DOCUMENTS", "documents.uploaded.d-3")
    listed = {each["name"]: each for each in json.loads((await _run(mesh, "list", "--json")).stdout)}
    assert {name for name, each in listed.items() if each["named"]} == {named.name, lost.name}
    assert listed[named.name]["size"] == 1 << 20
    assert listed[unfinished.name]["size"] is None
    before = await _pieces(mesh)
    young = await _run(mesh, "prune")
    assert (young.exit_code, young.output, await _pieces(mesh)) == (0, "0 objects of 0 bytes were removed\n", before)
    tried = await _run(mesh, "prune", "--older-than", "0s", "--dry-run")
    assert (tried.output, await _pieces(mesh)) == ("3 objects of 2,097,152 bytes would be removed\n", before)
    done = await _run(mesh, "prune", "--older-than", "0s")
    assert (done.exit_code, done.output) == (0, "3 objects of 2,097,152 bytes were removed\n")
    assert await _pieces(mesh) == 2 * (8 + 1)
    await mesh.context.blobs.check(named)
    assert "yes" in (await _run(mesh, "list")).output
    left = {each["name"] for each in json.loads((await _run(mesh, "list", "--json")).stdout)}
    assert left == {named.name, lost.name}
    assert {archived.name, unused.name}.isdisjoint(left)


async def test_a_backup_has_the_objects_that_its_events_name(
    mesh_of: MeshOf, nats_broker: Broker, tmp_path: Path
) -> None:
    mesh = await mesh_of(*SERVICES)
    blob = await mesh.context.blobs.put(Uploaded, noise(2))
    await mesh.outside(Uploaded(document_id="d-1", pages=[blob]))
    await mesh.recorded(Scanned, "d-1")
    assert (await _command(nats_broker, "backup", str(tmp_path / "backup"))).exit_code == 0
    with Broker(tmp_path / "other") as other:
        restored = await _command(other, "restore", str(tmp_path / "backup"))
        assert restored.exit_code == 0, restored.output
        async with connect(other.url) as elsewhere:
            assert sum([len(piece) async for piece in elsewhere.blobs.read(blob)]) == blob.size


async def test_an_app_without_objects_says_so(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES, start=False)
    assert (await _run(mesh, "list")).output == "no objects\n"
    assert json.loads((await _run(mesh, "prune", "--json")).stdout) == []


@pytest.mark.parametrize(
    "body",
    [b"", b'"digest"', b'{"digest": 1', b'[{"bucket": 1, "digest": 2}]', b'{"bucket": "B", "name2": "n", "digest": 0}'],
    ids=["empty", "text", "broken", "nameless", "other"],
)
def test_a_body_that_names_nothing_names_nothing(body: bytes) -> None:
    assert list(names_in(body)) == []


def test_a_body_names_objects_wherever_they_are() -> None:
    digest = f"SHA-256={'A' * 43}="
    first, second = (Blob(bucket="DOCUMENTS", name=name, digest=digest, size=1) for name in ("one", "two"))
    body = json.dumps({"pages": [first.model_dump()], "cover": {"front": second.model_dump()}}).encode()
    assert list(names_in(body)) == [("DOCUMENTS", "one"), ("DOCUMENTS", "two")]
