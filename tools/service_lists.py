"""The services of the reference mesh, wherever a file outside Python lists them: their one registry is its flow."""

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from jetmesh_contracts import EVENTS
from jetmesh_shop.flow import SERVICES

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "deploy" / "compose.yaml"
NAMES = [service.name for service in SERVICES]
OWNERS = sorted({event.__module__.rpartition(".")[2] for event in EVENTS} - {"orders"})
"""The modules of contracts beside that of the orders, which the others import."""

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
        r'(?<=layers = \[")[a-z_ |]+(?=", "orders", "event)': " | ".join(OWNERS),
    },
}
"""By file: where a list stands, and what it says."""


def files() -> dict[Path, str | None]:
    """Each of these files with the services that there are."""
    found = {ROOT / name: with_lists((ROOT / name).read_text(), lists) for name, lists in LISTS.items()}
    return {**found, COMPOSE: with_containers(found[COMPOSE], NAMES)}


def with_containers(compose: str, names: Sequence[str]) -> str:
    """The compose file with a container for each service that has none; what one needs beside, one says there."""
    missing = [name for name in names if f"\n  {name}:\n" not in compose.partition("\nvolumes:\n")[0]]
    blocks = (
        f'  {name}:\n    <<: *mesh\n    command: [run, {name}]\n    volumes: ["keys-{name}:/run/keys:ro"]\n\n'
        for name in missing
    )
    return compose.replace("\n  mail:\n", f"\n{''.join(blocks)}  mail:\n", 1)


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


def markdown() -> str:
    """The services as a table, each with the sentence that its module begins with."""
    said = {name: (import_module(f"jetmesh_shop.{name}.service").__doc__ or "").partition("\n")[0] for name in NAMES}
    rows = (f"| [`{name}`](jetmesh_shop/{name}) | {words} |" for name, words in said.items())
    return "\n".join(["| service | what it does |", "|---|---|", *rows])
