"""Everything that is generated from a package of contracts and committed beside it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jetmesh.contracts import asyncapi, golang, page, typescript
from jetmesh.contracts.package import Package, project
from jetmesh.contracts.schema import Contracts, text
from jetmesh.service import Service

GENERATED = ("schemas", "asyncapi", "typescript", "go")
"""The folders in which nothing but generated files and what describes them to other tools (go.mod) may be."""


def files(package: Package, services: Sequence[Service]) -> Mapping[Path, str]:
    """The files as they should be, by their paths.

    Raises:
        PackageError: the package is installed from a wheel: there is no folder to generate into.
    """
    said = project(package)
    info = {"title": said["name"], "version": said["version"], "description": said.get("description", "")}
    contracts = package.contracts()
    document = asyncapi.document(info, contracts, services)
    return {
        **dict(_schemas(package.folder, contracts)),
        package.folder / "asyncapi" / "asyncapi.json": text(document),
        package.folder / "asyncapi" / "index.html": page.html(document),
        package.folder / "typescript" / "index.ts": typescript.module(contracts),
        package.folder / "go" / "contracts.go": golang.package("contracts", contracts),
    }


def stale(wanted: Mapping[Path, str], folder: Path) -> list[Path]:
    """The files that are not as they should be, those among them that should not be at all."""
    differ = [file for file, content in wanted.items() if not file.is_file() or file.read_text("utf-8") != content]
    return differ + [file for file in folder.glob("schemas/*.json") if file not in wanted]


def write(wanted: Mapping[Path, str], folder: Path) -> list[Path]:
    """Make the files as they should be; which were changed."""
    changed = stale(wanted, folder)
    for file in changed:
        if file in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file], "utf-8")
        else:
            file.unlink()
    return changed


def _schemas(folder: Path, contracts: Contracts) -> Iterator[tuple[Path, str]]:
    for contract in contracts.values():
        for role, schema in contract.document().items():
            yield folder / "schemas" / f"{contract.type}.{role}.json", text(schema)
