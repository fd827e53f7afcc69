"""The durables in the chart's values.yaml, from the topology: each service's `consumers`, and nothing else."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetmesh.topology.chart import values
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES

FILE = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "jetmesh" / "values.yaml"
SERVICES_BEGIN = "\nservices:\n"
SERVICE = re.compile(r"^  (?P<name>[a-z][a-z0-9-]*):\n(?P<more>(?:^    .*\n|^\n)*)", re.MULTILINE)
CONSUMERS = re.compile(r"^    consumers:\n(?:^      .*\n)*", re.MULTILINE)


def files() -> dict[Path, str | None]:
    """The file as it should be."""
    return {FILE: with_durables(FILE.read_text(), values(topology(SERVICES))["services"])}


def with_durables(text: str, wanted: Mapping[str, Any]) -> str:
    """The file with these durables: a service that it does not have is added, one that is not wanted is taken out."""
    head, begin, services = text.partition(SERVICES_BEGIN)
    written = {found["name"]: CONSUMERS.sub("", found["more"]) for found in SERVICE.finditer(services)}
    blocks = (f"  {name}:\n{written.get(name, '')}{_consumers(known['consumers'])}" for name, known in wanted.items())
    return f"{head}{begin}{''.join(blocks)}"


def _consumers(durables: list[dict[str, str]]) -> str:
    lines = (f"      - {{stream: {each['stream']}, durable: {each['durable']}}}\n" for each in durables)
    return f"    consumers:\n{''.join(lines)}"
