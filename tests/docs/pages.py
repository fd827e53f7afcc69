"""The pages that people read, and their code blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "contracts/*.md",
        "services/*.md",
        "examples/*/*.md",
        "deploy/helm/jetmesh/*.md",
    )
    for path in ROOT.glob(pattern)
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page."""

    page: str
    number: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """`README.md#2`: the second block of the README."""
        return f"{self.page}#{self.number}"


def blocks(*languages: str) -> Iterator[Block]:
    """The blocks of every page, of these languages; all, if none is given."""
    for path in PAGES:
        found = re.findall(r"^```([a-z]*)\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        for number, (language, text) in enumerate(found, 1):
            if not languages or language in languages:
                yield Block(path.relative_to(ROOT).as_posix(), number, language, text)
