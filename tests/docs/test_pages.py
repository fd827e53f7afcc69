"""Links lead somewhere, and the pages name what is there."""

import re
from pathlib import Path

import pytest

import jetmesh
import jetmesh.extend
import jetmesh.http
import jetmesh.sql
import jetmesh.testing
from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)")


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target, anchor in LINK.findall(prose(page)):
        file = page.parent / target if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            lost.append(f"{target}#{anchor}")
    assert lost == []


def test_the_index_of_the_readme_names_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [page.relative_to(ROOT).as_posix() for page in PAGES if "decisions" not in page.parts]
    apart = {"README.md", "CHANGELOG.md", "deploy/helm/jetmesh/UPGRADING.md"}
    assert [page for page in pages if page not in apart and f"({page}" not in readme] == []


def test_the_glossary_is_in_order_and_names_each_word_once() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    words = [row.lower() for row in rows if row != "word"]
    assert words == sorted(set(words))


def test_the_reference_has_every_public_name_with_its_meaning() -> None:
    text = (ROOT / "docs/authors/reference.md").read_text()
    entries = dict(re.findall(r"^### `(\w+)`\n\n(.*?)(?=^###|^<!--)", text, re.MULTILINE | re.DOTALL))
    public = (jetmesh, jetmesh.testing, jetmesh.sql, jetmesh.extend, jetmesh.http)
    assert set(entries) == {name for module in public for name in module.__all__}
    assert [name for name, entry in entries.items() if len(entry.strip().split("\n\n")) < 2] == []
