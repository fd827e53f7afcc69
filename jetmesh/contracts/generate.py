"""Everything that is generated from a package of contracts and committed next to it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jetmesh.contracts import asyncapi, golang, outside, page, tenants, typescript
from jetmesh.contracts.package import Package, project
from jetmesh.contracts.schema import Contracts, text
from jetmesh.service import Service


def files(package: Package, services: Sequence[Service]) -> Mapping[Path, str]:
    """The current content of every generated file, by path.

    Raises:
        PackageError: the package is installed from a wheel: there is no folder to generate into.
    """
    contracts = package.contracts()
    return {
        **dict(_schemas(package.folder, package.release())),
        **documents(package, services, package.folder / "asyncapi"),
        package.folder / "typescript" / "index.ts": typescript.module(contracts),
        package.folder / "go" / "contracts.go": golang.package("contracts", contracts),
    }


def documents(package: Package, services: Sequence[Service], folder: Path, tenant: str = "") -> Mapping[Path, str]:
    """The AsyncAPI document and its page in a folder, with the names that the broker has for a tenant.

    Raises:
        PackageError: the package is installed from a wheel, which has no project file.
    """
    said = project(package)
    info = {"title": said["name"], "version": said["version"], "description": said.get("description", "")}
    users = outside.users_of(package, services) if services else []
    document = asyncapi.document(info, package.contracts(), services, users)
    if tenant:
        document = tenants.on_wire(document, tenant)
    return {folder / "asyncapi.json": text(document), folder / "index.html": page.html(document)}


def stale(wanted: Mapping[Path, str], folder: Path) -> list[Path]:
    """The files that are out of date, missing, or no longer generated."""
    differ = [file for file, content in wanted.items() if not file.is_file() or file.read_text("utf-8") != content]
    return differ + [file for file in folder.glob("schemas/*.json") if file not in wanted]


def write(wanted: Mapping[Path, str], folder: Path) -> list[Path]:
    """Write the files that are out of date; returns those that changed."""
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
