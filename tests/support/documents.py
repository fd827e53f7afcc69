"""Documents that are too large for a message: customers upload them, another service scans them."""

import random
from collections.abc import AsyncIterator
from hashlib import sha256

from jetmesh import Blob, Blobs, EventModel, Retry, Service, Token

MB = 1 << 20
SOON = Retry(attempts=3, first_seconds=0.01)


class DocumentEvent(EventModel, owner="documents", key_field="document_id"):
    """An event about a document."""

    document_id: Token


class Uploaded(DocumentEvent, type="documents.uploaded", from_outside=True):
    """Somebody uploaded a document."""

    pages: list[Blob]


class Scanned(EventModel, type="scans.made", owner="scans", key_field="document_id"):
    """A document was read from its first byte to its last."""

    document_id: Token
    size: int
    sha256: str


class Copied(EventModel, type="scans.copied", owner="scans", key_field="document_id"):
    """A document is passed on, in the bucket of whoever passes it on."""

    document_id: Token
    copy_of: Blob


class Printed(EventModel, type="printer.printed", owner="printer", key_field="document_id"):
    """A document was printed."""

    document_id: Token


def documents() -> Service:
    """The service that takes documents."""
    service = Service("documents")

    @service.intake
    async def take(uploaded: Uploaded) -> Uploaded:
        """Somebody uploaded a document: record that."""
        return uploaded

    return service


def scans() -> Service:
    """The service that reads documents."""
    service = Service("scans")

    @service.on(retry=SOON)
    async def scan(uploaded: Uploaded, blobs: Blobs) -> Scanned:
        """A document was uploaded: read it."""
        digest, size = sha256(), 0
        for page in uploaded.pages:
            async for piece in blobs.read(page):
                digest.update(piece)
                size += len(piece)
        return Scanned(document_id=uploaded.document_id, size=size, sha256=digest.hexdigest())

    return service


def copying() -> Service:
    """The service that passes documents on."""
    service = Service("scans")

    @service.on(retry=SOON)
    async def copy(uploaded: Uploaded, blobs: Blobs) -> Copied:
        """A document was uploaded: keep a copy of its first page, unless its name says to name the page itself."""
        (page,) = uploaded.pages
        if not uploaded.document_id.startswith("lazy"):
            page = await blobs.put(Copied, blobs.read(page), content_type=page.content_type)
        return Copied(document_id=uploaded.document_id, copy_of=page)

    return service


def printer() -> Service:
    """The service that prints what was passed on."""
    service = Service("printer")

    @service.on(retry=SOON)
    async def print_out(copied: Copied, blobs: Blobs) -> Printed:
        """A copy was passed on: print it."""
        async for _ in blobs.read(copied.copy_of):
            pass
        return Printed(document_id=copied.document_id)

    return service


async def noise(megabytes: int, seed: int = 1) -> AsyncIterator[bytes]:
    """Bytes that compress badly and are never all in memory, in pieces of odd sizes."""
    block = random.Random(seed).randbytes(MB)
    for number in range(megabytes):
        cut = number * 7919 % MB
        yield block[cut:]
        yield block[:cut]


SERVICES = (documents(), scans())
APP = "tests.support.documents:SERVICES"
