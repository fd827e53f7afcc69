"""Bodies that are too large for a message: the event names the object that has the bytes (a claim check)."""

from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from functools import cache
from os import PathLike
from typing import Annotated, Any, Protocol, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from jetmesh.event import Event, EventType, stream_of
from jetmesh.event_model import Token
from jetmesh.failure import BrokenContract, Deferred

Source: TypeAlias = bytes | str | PathLike[str] | AsyncIterable[bytes]
"""What an object is made of: bytes, the path of a file, or an async iterator of bytes."""

OCTETS = "application/octet-stream"


class BlobMissing(Deferred):
    """The object is not there, or not whole: it may come, so that the delivery is tried again until its attempts are
    used up."""


class BlobDamaged(BrokenContract):
    """The object is another one than the event names."""


class Blob(BaseModel):
    """The name of an object in JetStream's Object Store, which has the bytes; `Blobs.put` stores one and returns it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    bucket: Annotated[
        str, Field(pattern=r"^[A-Z0-9_]{1,64}$", description="The bucket: that of the service that owns the event.")
    ]
    name: Annotated[Token, Field(description="The object in it; no other has this name.")]
    digest: Annotated[
        str, Field(pattern=r"^SHA-256=[A-Za-z0-9_-]{43}=$", description="The SHA-256 of its bytes, as base64url.")
    ]
    size: Annotated[int, Field(ge=0, description="How many bytes it has.", json_schema_extra={"x-unit": "bytes"})]
    content_type: Annotated[
        str, Field(min_length=1, max_length=127, pattern=r"^[ -~]+$", description="The media type of its bytes.")
    ] = OCTETS


class Blobs(Protocol):
    """What a reaction stores and reads objects with."""

    async def put(self, event_type: EventType, source: Source, *, content_type: str = OCTETS) -> Blob:
        """Store an object for an event of this type; what names it. A second call stores a second object.

        Raises:
            Unavailable: the broker does not take it now, and nothing names what it has got of it.
            TypeError: the type has no field that is a `Blob`, or another service owns it.
        """

    def read(self, blob: Blob) -> AsyncGenerator[bytes, None]:
        """The bytes of an object, piece by piece; the last piece comes when the digest of all is right.

        Raises:
            BlobMissing: it is not there, or not all of it.
            BlobDamaged: it is not what the blob says.
            Unavailable: the broker does not answer.
        """

    async def download(self, blob: Blob, file: str | PathLike[str]) -> None:
        """Write an object to a file, which is there with the whole contents, or as it was before.

        Raises what `read` raises, and OSError.
        """

    async def check(self, blob: Blob) -> None:
        """Ask whether the object is there, with this size and digest, without reading it.

        Raises what `read` raises.
        """


def bucket_of(owner: str) -> str:
    """The bucket of the objects that the events of a service name."""
    return stream_of(owner)


def bucket_stream(bucket: str) -> str:
    """The stream of a bucket (ADR-20)."""
    return f"OBJ_{bucket}"


def is_bucket(stream: str) -> bool:
    """Whether a stream is that of a bucket."""
    return stream.startswith(bucket_stream(""))


def pieces_of(bucket: str, name: str = "*") -> str:
    """The subject of an object's pieces, or of all of them."""
    return f"$O.{bucket}.C.{name}"


def description_of(bucket: str, name: str = "") -> str:
    """The subject of what describes an object, or of all of them."""
    return f"$O.{bucket}.M.{urlsafe_b64encode(name.encode()).decode() if name else '*'}"


@cache
def has_blobs(event_type: EventType) -> bool:
    """Whether a field of the event names objects."""
    return _holds(event_type, frozenset())


def blobs_in(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every blob in an event or in a part of it, with the name of its field (`pages.0.scan`)."""
    if _is_blob(type(value)):
        yield place, value
        return
    if isinstance(value, BaseModel):
        parts: Any = ((name, getattr(value, name, None)) for name in type(value).model_fields)
    elif isinstance(value, dict):
        parts = value.items()
    else:
        parts = enumerate(value) if isinstance(value, (list, tuple)) else ()
    for name, part in parts:
        yield from blobs_in(part, f"{place}.{name}" if place else str(name))


def require_own(event: Event) -> None:
    """Check that every object of an event is in the bucket of its owner, which keeps it for as long as the event.

    Raises:
        BrokenContract: naming the field that is not.
    """
    own = bucket_of(event.owner)
    for place, blob in blobs_in(event):
        if blob.bucket != own:
            raise BrokenContract(
                f"{place}.bucket: {blob.bucket} is not {own}, the bucket of {event.owner}: what is passed on is stored "
                f"again, `await blobs.put({type(event).__name__}, blobs.read(…))`"
            )


def _is_blob(hint: Any) -> bool:
    """Whether it is `Blob`, or a class with its fields: a package of contracts may know nothing of jetmesh."""
    return isinstance(hint, type) and issubclass(hint, BaseModel) and hint.model_fields.keys() >= _NAMES


def _holds(hint: Any, entered: frozenset[type]) -> bool:
    if _is_blob(hint):
        return True
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        deeper = entered | {hint}
        return hint not in entered and any(_holds(each.annotation, deeper) for each in hint.model_fields.values())
    return any(_holds(each, entered) for each in get_args(hint))


_NAMES = Blob.model_fields.keys()
