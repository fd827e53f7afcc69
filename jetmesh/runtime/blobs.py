"""Stores and reads the objects that events name, with a span for each."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import aclosing, contextmanager
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from jetmesh.blob import OCTETS, Blob, BlobDamaged, BlobMissing, Source, blobs_in, bucket_of, bucket_stream, has_blobs
from jetmesh.event import EventType
from jetmesh.jetstream import object_store
from jetmesh.jetstream.direct_get import DirectGet
from jetmesh.jetstream.object_store import PIECE_BYTES, digest_text
from jetmesh.jetstream.publisher import Publisher


class ObjectBlobs:
    """`jetmesh.Blobs` over one connection. `event` is the one that a reaction decides about, and `owner` the service
    that does: an error names the field, and only its own bucket is written."""

    def __init__(
        self, publisher: Publisher, direct_get: DirectGet, tracer: Tracer, owner: str = "", event: Any = None
    ) -> None:
        self._publisher, self._direct_get, self._tracer = publisher, direct_get, tracer
        self._owner, self._event = owner, event

    def of(self, owner: str, event: Any) -> "ObjectBlobs":
        """The same for one event."""
        return ObjectBlobs(self._publisher, self._direct_get, self._tracer, owner, event)

    async def put(self, event_type: EventType, source: Source, *, content_type: str = OCTETS) -> Blob:
        """See `jetmesh.Blobs`."""
        self._require(event_type)
        bucket = bucket_of(event_type.owner)
        with self._span("put", bucket) as span:
            stored = await object_store.put(
                self._publisher, bucket, _parts(source), content_type=content_type, description=event_type.type
            )
            blob = Blob(bucket=bucket, content_type=content_type, **stored._asdict())
            span.set_attributes(_facts(blob))
        return blob

    async def read(self, blob: Blob) -> AsyncGenerator[bytes, None]:
        """See `jetmesh.Blobs`."""
        self._require_bucket(blob)
        digest, size, held = sha256(), 0, b""
        with self._span("read", blob.bucket) as span:
            span.set_attributes(_facts(blob))
            async with aclosing(object_store.pieces(self._direct_get, blob.bucket, blob.name)) as pieces:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    if size > blob.size:
                        raise BlobDamaged(f"{self._named(blob)} is larger than {blob.size} bytes")
                    if held:
                        yield held
                    held = piece
            self._require_whole(blob, size, digest_text(digest.digest()))
            if held:
                yield held

    async def download(self, blob: Blob, file: str | PathLike[str]) -> None:
        """See `jetmesh.Blobs`."""
        whole = Path(file)
        part = whole.with_name(f".{whole.name}.{blob.name}.part")
        try:
            with part.open("wb") as target:
                async with aclosing(self.read(blob)) as pieces:
                    async for piece in pieces:
                        await asyncio.to_thread(target.write, piece)
            part.replace(whole)
        finally:
            part.unlink(missing_ok=True)

    async def check(self, blob: Blob) -> None:
        """See `jetmesh.Blobs`."""
        self._require_bucket(blob)
        stored = await object_store.described(self._direct_get, blob.bucket, blob.name)
        if stored is None:
            raise BlobMissing(f"{self._named(blob)} is not there")
        self._require_whole(blob, stored.size, stored.digest)

    def _require(self, event_type: EventType) -> None:
        """Check that an event of this type may name an object that is stored here.

        Raises:
            TypeError: it may not.
        """
        name = getattr(event_type, "__name__", repr(event_type))
        if not has_blobs(event_type):
            raise TypeError(f"{name} names no object: declare a field of it as `jetmesh.Blob`, or put for another type")
        if self._owner and event_type.owner != self._owner:
            raise TypeError(f"{event_type.owner} owns {name}: {self._owner} puts objects for its own events alone")

    def _require_bucket(self, blob: Blob) -> None:
        """Check that a reaction reads what the owner of its event keeps.

        Raises:
            BlobDamaged: the bucket is another one.
        """
        if (owner := getattr(self._event, "owner", "")) and blob.bucket not in (
            bucket_of(owner),
            bucket_of(self._owner),
        ):
            raise BlobDamaged(f"{self._place(blob)}bucket: {blob.bucket} is not {bucket_of(owner)}, that of {owner}")

    def _require_whole(self, blob: Blob, size: int, digest: str) -> None:
        if size < blob.size:
            words = f"has {size} of {blob.size} bytes" if size else "is not there"
            raise BlobMissing(f"{self._named(blob)} {words}")
        if size > blob.size or digest != blob.digest:
            raise BlobDamaged(f"{self._named(blob)} is another one: its digest is {digest}, not {blob.digest}")

    def _named(self, blob: Blob) -> str:
        """The field that names an object, and the object."""
        return f"{self._place(blob, ': ')}the object {blob.name} of {bucket_stream(blob.bucket)}"

    def _place(self, blob: Blob, end: str = ".") -> str:
        found = (place for place, each in blobs_in(self._event) if each == blob)
        return "".join(f"{place}{end}" for place in [next(found, "")] if place)

    @contextmanager
    def _span(self, verb: str, bucket: str) -> Iterator[Span]:
        """The span of one object, below the current one."""
        attributes = {"jetmesh.blob.bucket": bucket, "messaging.nats.stream.name": bucket_stream(bucket)}
        span = self._tracer.start_span(f"{verb} blob", kind=SpanKind.CLIENT, attributes=attributes)
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            raise
        finally:
            span.end()


def _facts(blob: Blob) -> dict[str, str | int]:
    return {
        "jetmesh.blob.name": blob.name,
        "jetmesh.blob.size": blob.size,
        "jetmesh.blob.digest": blob.digest,
        "jetmesh.blob.content_type": blob.content_type,
    }


def _parts(source: Source) -> AsyncIterable[bytes]:
    """What a source holds, part by part.

    Raises:
        TypeError: it is no source.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _once(bytes(source))
    if isinstance(source, (str, PathLike)):
        return _file(Path(source))
    if isinstance(source, AsyncIterable):
        return source
    raise TypeError(f"{type(source).__name__} is no source: give bytes, the path of a file or an async iterator")


async def _once(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


async def _file(path: Path) -> AsyncGenerator[bytes, None]:
    source: BinaryIO = await asyncio.to_thread(path.open, "rb")
    with source:
        while part := await asyncio.to_thread(source.read, PIECE_BYTES):
            yield part
