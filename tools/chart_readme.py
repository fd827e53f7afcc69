"""The table of values in the chart's README, from the comments of its values.yaml."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "jetmesh"
BEGIN, END = "<!-- values -->\n", "<!-- /values -->"
ENTRY = re.compile(r"^(?P<indent> *)(?P<key>[\w./-]+):(?: (?P<value>.+))?$")
MAPS_OF_USERS = ("services",)


class Value(NamedTuple):
    """One line of values.yaml that a user may set."""

    path: str
    default: str
    meaning: str


def files() -> dict[Path, str | None]:
    """The README as it should be."""
    readme = CHART / "README.md"
    return {readme: with_table(readme.read_text(), table(values((CHART / "values.yaml").read_text())))}


def with_table(readme: str, lines: Iterable[str]) -> str:
    """The README with this table between its marks."""
    head, _, rest = readme.partition(BEGIN)
    return head + BEGIN + "".join(f"{line}\n" for line in lines) + END + rest.partition(END)[2]


def table(found: Iterable[Value]) -> Iterable[str]:
    """Markdown."""
    yield "| value | default | meaning |"
    yield "|---|---|---|"
    for value in found:
        yield f"| `{value.path}` | {f'`{value.default}`' if value.default else ''} | {value.meaning} |"


def values(text: str) -> Iterable[Value]:
    """Every key with a default or a comment; the comment is what stands above it. What users name is left out."""
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip().removeprefix("#").strip())
        elif entry := ENTRY.match(line):
            indent = len(entry["indent"])
            parents = [(depth, key) for depth, key in parents if depth < indent] + [(indent, entry["key"])]
            if len(parents) == 1 or parents[0][1] not in MAPS_OF_USERS:
                yield from _described(".".join(key for _, key in parents), entry["value"] or "", " ".join(comment))
            comment = []
        else:
            comment = []


def _described(path: str, default: str, meaning: str) -> Iterable[Value]:
    if default or meaning:
        yield Value(path, default.replace("|", "\\|"), meaning.replace("|", "\\|"))
