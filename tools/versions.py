"""The version of the project, wherever a file outside Python names it: the image, the chart's app, the npm package."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
NAMED = {
    "deploy/Dockerfile": r"(?<=jetmesh:)\d[\d.]*\d",
    "deploy/compose.yaml": r"(?<=image: jetmesh:)\d[\d.]*\d",
    "deploy/helm/jetmesh/Chart.yaml": r"(?<=appVersion: )\d[\d.]*\d|(?<=image: jetmesh:)\d[\d.]*\d",
    "deploy/helm/jetmesh/README.md": r"(?<=--tag jetmesh:)\d[\d.]*\d",
    "contracts/typescript/package.json": r'(?<="version": ")\d[\d.]*\d',
}
"""Where it stands, and what of the file is the version."""


def files() -> dict[Path, str | None]:
    """Each of these files with the version of pyproject.toml."""
    return {ROOT / name: re.sub(place, VERSION, (ROOT / name).read_text()) for name, place in NAMED.items()}
