"""Earlier contracts: in the releases next to the package, in a git commit, or in a file.

A release is committed as `releases/<version>.json`, a bundle of all contracts. It is in the tree and not only in a tag,
so that every clone compares with the same releases.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from jetmesh.contracts.schema import Contracts, bundle, parse, text

ROLES = ("producer", "consumer")
VERSION = re.compile(r"\d+(\.\d+)*")


class NoRelease(ValueError):
    """There is no release to compare with; the text says what to do."""


def from_file(file: Path) -> list[Contracts]:
    """The release in a bundle (`jetmesh contracts bundle`), or a whole history: a list of them, oldest first."""
    document = json.loads(file.read_text(encoding="utf-8"))
    return [parse(each) for each in (document if isinstance(document, list) else [document])]


def released(folder: Path) -> list[Contracts]:
    """The releases of the package in `folder`, oldest first.

    Raises:
        NoRelease: there is none.
    """
    found = by_version(folder)
    if not found:
        raise NoRelease(f"no release in {folder / 'releases'}: write the first with `jetmesh contracts release`")
    return list(found.values())


def by_version(folder: Path) -> dict[str, Contracts]:
    """The releases of the package in `folder` by their versions, oldest first."""
    files = sorted(folder.glob("releases/*.json"), key=lambda file: _number(file.stem))
    return {file.stem: release for file in files for release in from_file(file)}


def write(folder: Path, version: str, contracts: Contracts) -> Path:
    """Write the release of this version, which must be newer than all others. A release never changes.

    Raises:
        ValueError: the version is invalid, is not the newest, or was released with other contracts.
    """
    number, file = _number(version), folder / "releases" / f"{version}.json"
    newer = [other.stem for other in folder.glob("releases/*.json") if _number(other.stem) > number]
    content = text(bundle(contracts))
    if newer or (file.is_file() and file.read_text("utf-8") != content):
        last = newer[0] if newer else version
        raise ValueError(f"version {version}: {last} was released already: raise `version` in {folder}/pyproject.toml")
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, "utf-8")
    return file


def _number(version: str) -> tuple[int, ...]:
    if not VERSION.fullmatch(version):
        raise ValueError(f"version {version}: a release has a version of numbers and dots, such as 1.4.0")
    return tuple(int(part) for part in version.split("."))


def at(folder: Path, ref: str) -> Contracts:
    """The generated schemas in a git commit or tag, read in one go.

    Raises:
        NoRelease: there is no such commit, or it has no contracts.
    """
    names = _git(folder, "ls-tree", "--name-only", "-r", ref, "--", "schemas").split()
    documents: dict[str, dict[str, Any]] = {}
    for name in names:
        event, role, extension = Path(name).name.rsplit(".", 2)
        if role in ROLES and extension == "json":
            documents.setdefault(event, {})[role] = json.loads(_git(folder, "show", f"{ref}:./{name}"))
    if not documents:
        raise NoRelease(f"{ref}: there are no contracts in {folder / 'schemas'} of this commit")
    return parse(documents)


def _git(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NoRelease(f"git {' '.join(arguments)}: {ran.stderr.strip() or 'failed'}")
    return ran.stdout
