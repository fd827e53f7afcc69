"""The services of the reference mesh, wherever a file outside Python lists them: their one registry is its flow."""

import re
from pathlib import Path

from jetmesh_shop.flow import SERVICES

ROOT = Path(__file__).resolve().parent.parent
NAMES = [service.name for service in SERVICES]
LISTS = {
    "README.md": {r"(?<=the reference mesh: )[a-z_, ]+(?= \|)": ", ".join(NAMES)},
    "deploy/compose.yaml": {
        r"(?<=for service in )[a-z_ ]+(?=; do)": " ".join(NAMES),
        r"(?<= keys-client:/given/client\n)(?: +- keys-\w+:/given/\w+\n)+": "".join(
            f"      - keys-{name}:/given/{name}\n" for name in NAMES
        ),
        r"(?<=\n  keys-client:\n)(?:  keys-\w+:\n)+": "".join(f"  keys-{name}:\n" for name in NAMES),
    },
    "docs/glossary.md": {r"(?<=services of this repository: )[a-z_, ]+(?= \|)": ", ".join(NAMES)},
    "docs/operations.md": {r"(?<=jetmesh@\{)[a-z_,]+(?=\})": ",".join(NAMES)},
    "pyproject.toml": {
        r'(?<=    "flow",\n    ")[a-z_ |]+(?=")': " | ".join(sorted(NAMES)),
        r'(?<=containers = \[\n)(?:    "jetmesh_shop\.\w+",\n)+(?=\])': "".join(
            f'    "jetmesh_shop.{name}",\n' for name in sorted(NAMES)
        ),
    },
}
"""By file: where a list stands, and what it says."""


def files() -> dict[Path, str | None]:
    """Each of these files with the services that there are."""
    return {ROOT / name: with_lists((ROOT / name).read_text(), lists) for name, lists in LISTS.items()}


def with_lists(text: str, lists: dict[str, str]) -> str:
    """The text with each list in its place.

    Raises:
        ValueError: a place is gone, or there are several.
    """
    for place, names in lists.items():
        text, found = re.subn(place, names, text)
        if found != 1:
            raise ValueError(f"{found} lists of services at {place}: write one, or change tools/service_lists.py")
    return text
