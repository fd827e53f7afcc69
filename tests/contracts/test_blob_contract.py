"""An event that names an object has a contract like any other: linted, and generated for other languages."""

from pydantic import BaseModel

from jetmesh import EventModel, Token
from jetmesh.blob import blobs_in, has_blobs
from jetmesh.contracts import golang, lint, typescript
from jetmesh.contracts.schema import contract
from tests.support.documents import Copied, Scanned, Uploaded

CONTRACTS = {event.type: contract(event, [{}]) for event in (Uploaded, Copied)}


class Reference(BaseModel):
    """A blob, as a package of contracts without jetmesh declares it."""

    bucket: str
    name: str
    digest: str
    size: int
    content_type: str


class Chapter(BaseModel):
    """A part of a book; it may have parts."""

    scans: tuple[Reference, ...] = ()
    chapters: "list[Chapter]" = []


class Printed(EventModel, type="books.printed", owner="books", key_field="book_id"):
    """A book was printed."""

    book_id: Token
    chapters: list[Chapter]


def test_a_blob_leaves_nothing_to_say() -> None:
    found = [finding for finding in lint.lint(CONTRACTS) if "." in finding.field]
    assert found == []


def test_other_languages_have_a_type_for_it() -> None:
    assert "type Blob struct {" in golang.package("documents", CONTRACTS)
    assert "pages: Array<Blob>;" in typescript.module(CONTRACTS)


def test_a_model_with_the_fields_of_a_blob_is_one_wherever_it_is() -> None:
    assert (has_blobs(Printed), has_blobs(Scanned)) == (True, False)
    scan = Reference(bucket="BOOKS", name="s-1", digest="", size=0, content_type="")
    book = Printed(book_id="b-1", chapters=[Chapter(), Chapter(chapters=[Chapter(scans=(scan,))])])
    assert list(blobs_in(book)) == [("chapters.1.chapters.0.scans.0", scan)]
