"""What is too large for a message is an object that the event names: stored before, checked when it is read."""

import asyncio
import os
import sys
from hashlib import sha256
from pathlib import Path

import nats
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from jetmesh import Blob, BlobDamaged, BlobMissing
from jetmesh.blob import pieces_of
from jetmesh.jetstream import api
from jetmesh.runtime.blobs import ObjectBlobs
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.documents import MB, SERVICES, Copied, Printed, Scanned, Uploaded, copying, documents, noise, printer

MEMORY_BYTES = 40 * MB


async def digest_of(megabytes: int) -> str:
    digest = sha256()
    async for piece in noise(megabytes):
        digest.update(piece)
    return digest.hexdigest()


async def remove_pieces(mesh: LocalMesh, blob: Blob, keep: int = 0) -> None:
    """As somebody would who removes objects by hand."""
    wanted = {"filter": pieces_of(blob.bucket, blob.name), **({"keep": keep} if keep else {})}
    await api.request(mesh.context.connection, f"STREAM.PURGE.OBJ_{blob.bucket}", wanted, strict=True)


async def test_a_document_of_five_megabytes_is_read_whole(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(*SERVICES)
    blob = await mesh.context.blobs.put(Uploaded, noise(5), content_type="application/pdf")
    assert (blob.bucket, blob.size, blob.content_type) == ("DOCUMENTS", 5 * MB, "application/pdf")
    await mesh.outside(Uploaded(document_id="d-1", pages=[blob]))
    scanned = await mesh.recorded(Scanned, "d-1")
    assert (scanned.size, scanned.sha256) == (5 * MB, await digest_of(5))
    await mesh.context.blobs.download(blob, tmp_path / "d-1.pdf")
    assert sha256((tmp_path / "d-1.pdf").read_bytes()).hexdigest() == scanned.sha256
    assert await mesh.dead_letters() == []


@pytest.mark.parametrize("size", [0, 1, (128 << 10) - 1, 128 << 10, (128 << 10) + 1])
async def test_bytes_of_any_number_and_files_come_back(mesh_of: MeshOf, tmp_path: Path, size: int) -> None:
    mesh = await mesh_of(documents(), start=False)
    blobs, data = mesh.context.blobs, bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "in").write_bytes(data)
    for source in (data, tmp_path / "in", str(tmp_path / "in")):
        blob = await blobs.put(Uploaded, source)
        await blobs.check(blob)
        assert b"".join([piece async for piece in blobs.read(blob)]) == data


async def test_five_hundred_megabytes_take_little_memory(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(documents(), start=False)
    command = sys.executable, "-m", "tests.support.blob_memory", mesh.settings.nats_url, "500"
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    stored, read, grown = map(int, output.split())
    await api.request(mesh.context.connection, "STREAM.PURGE.OBJ_DOCUMENTS", strict=True)  # the folder is kept a while
    assert (stored, read) == (500 * MB, 500 * MB)
    assert grown < MEMORY_BYTES


async def test_what_is_missing_is_tried_again_and_then_a_letter_that_names_the_field(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES)
    there, gone = [await mesh.context.blobs.put(Uploaded, noise(1, seed)) for seed in (1, 2)]
    await remove_pieces(mesh, gone)
    await mesh.outside(Uploaded(document_id="d-1", pages=[there, gone]))
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reason"] == f"pages.1: the object {gone.name} of OBJ_DOCUMENTS is not there"
    assert letter.headers["Jetmesh-Attempts"] == "3"


async def test_what_is_damaged_is_a_letter_at_once(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES)
    blob = await mesh.context.blobs.put(Uploaded, noise(1))
    other = blob.model_copy(update={"digest": f"SHA-256={'A' * 43}="})
    shorter = blob.model_copy(update={"size": MB - 1})
    await mesh.outside(Uploaded(document_id="d-1", pages=[other]))
    await mesh.outside(Uploaded(document_id="d-2", pages=[shorter]))
    reasons = {letter.subject.split(".")[1]: letter for letter in await mesh.dead_letters(2)}
    assert set(reasons) == {"scans"}
    said = sorted(letter.headers["Jetmesh-Reason"] for letter in await mesh.dead_letters(2))
    name = f"pages.0: the object {blob.name} of OBJ_DOCUMENTS"
    assert said[0].startswith(f"{name} is another one: its digest is {blob.digest}, not SHA-256=AAAA")
    assert said[1] == f"{name} is larger than {MB - 1} bytes"
    assert {letter.headers["Jetmesh-Attempts"] for letter in await mesh.dead_letters(2)} == {"1"}


async def test_the_last_piece_comes_only_of_a_whole_object(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(documents(), start=False)
    blobs = mesh.context.blobs
    blob = await blobs.put(Uploaded, noise(1))
    await remove_pieces(mesh, blob, keep=3)
    pieces = blobs.read(blob)
    assert [len(await anext(pieces)) for _ in range(2)] == [128 << 10] * 2
    with pytest.raises(BlobMissing, match=rf"has {3 * (128 << 10)} of {MB} bytes"):
        await anext(pieces)
    kept = tmp_path / "files" / "kept"
    kept.parent.mkdir()
    kept.write_text("as before")
    with pytest.raises(BlobMissing):
        await blobs.download(blob, kept)
    assert os.listdir(kept.parent) == ["kept"]
    assert kept.read_text() == "as before"
    await blobs.check(blob)  # its description is there
    with pytest.raises(BlobDamaged, match="is another one"):
        await blobs.check(blob.model_copy(update={"digest": f"SHA-256={'A' * 43}="}))
    with pytest.raises(BlobMissing, match="is not there"):
        await blobs.check(blob.model_copy(update={"name": "nobody"}))


async def test_what_is_passed_on_is_stored_again_by_who_passes_it_on(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(documents(), copying(), printer())
    blob = await mesh.context.blobs.put(Uploaded, noise(1))
    await mesh.outside(Uploaded(document_id="d-1", pages=[blob]))
    await mesh.recorded(Printed, "d-1")
    copied = (await mesh.recorded(Copied, "d-1")).copy_of
    assert (copied.bucket, copied.digest) == ("SCANS", blob.digest)
    await mesh.outside(Uploaded(document_id="lazy-1", pages=[blob]))
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reason"].startswith("copy_of.bucket: DOCUMENTS is not SCANS, the bucket of scans")


async def test_a_bucket_that_the_owner_does_not_keep_is_refused_when_it_comes_from_outside(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES)
    blob = await mesh.context.blobs.put(Uploaded, b"x")
    await mesh.outside(Uploaded(document_id="d-1", pages=[blob.model_copy(update={"bucket": "SECRETS"})]))
    (letter,) = await mesh.dead_letters(1)
    assert letter.subject.startswith("dead.documents.take.")
    assert letter.headers["Jetmesh-Reason"].startswith("pages.0.bucket: SECRETS is not DOCUMENTS")


async def test_only_what_names_objects_can_have_one(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(documents(), start=False)
    with pytest.raises(TypeError, match=r"Scanned names no object: declare a field of it as `jetmesh\.Blob`"):
        await mesh.context.blobs.put(Scanned, b"")
    with pytest.raises(TypeError, match="documents owns Uploaded: scans puts objects for its own events alone"):
        await mesh.context.blobs.of("scans", None).put(Uploaded, b"")
    with pytest.raises(TypeError, match="int is no source: give bytes, the path of a file or an async iterator"):
        await mesh.context.blobs.put(Uploaded, 5)  # type: ignore[arg-type]


async def test_other_clients_of_the_object_store_read_it(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(documents(), start=False)
    blob = await mesh.context.blobs.put(Uploaded, b"as everybody reads it", content_type="text/plain")
    connection = await nats.connect(mesh.settings.nats_url)
    try:
        store = await connection.jetstream().object_store(blob.bucket)
        found = await store.get(blob.name)
    finally:
        await connection.close()
    assert found.data == b"as everybody reads it"
    assert (found.info.size, found.info.digest, found.info.description) == (21, blob.digest, "documents.uploaded")


async def test_the_span_says_what_was_stored_and_read(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(documents(), start=False)
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    on = mesh.context
    blobs = ObjectBlobs(on.publisher, on.direct_get, provider.get_tracer("test"))
    blob = await blobs.put(Uploaded, b"four")
    assert [piece async for piece in blobs.read(blob)] == [b"four"]
    with pytest.raises(BlobMissing):
        _ = [piece async for piece in blobs.read(blob.model_copy(update={"name": "nobody"}))]
    put, read, failed = kept.get_finished_spans()
    facts = {
        "jetmesh.blob.bucket": "DOCUMENTS",
        "jetmesh.blob.name": blob.name,
        "jetmesh.blob.size": 4,
        "jetmesh.blob.digest": blob.digest,
        "jetmesh.blob.content_type": "application/octet-stream",
        "messaging.nats.stream.name": "OBJ_DOCUMENTS",
    }
    assert [(span.name, dict(span.attributes or {})) for span in (put, read)] == [
        ("put blob", facts),
        ("read blob", facts),
    ]
    assert (failed.status.status_code, (failed.attributes or {})["error.type"]) == (StatusCode.ERROR, "BlobMissing")
