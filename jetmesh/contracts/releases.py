"""What contracts were before: in a git tag or commit, in a file, or deployed at the broker."""

import json
import subprocess
from pathlib import Path
from typing import Any

from jetmesh.contracts.schema import Contracts, parse

ROLES = ("producer", "consumer")


class NoRelease(ValueError):
    """There is nothing to compare with; the text says what to do."""


def from_file(file: Path) -> list[Contracts]:
    """The release in a bundle (`jetmesh contracts bundle`), or a whole history: a list of them, oldest first."""
    document = json.loads(file.read_text(encoding="utf-8"))
    return [parse(each) for each in (document if isinstance(document, list) else [document])]


def from_git(folder: Path, ref: str, *, all_tags: bool) -> list[Contracts]:
    """The releases in git, oldest first: the tags up to `ref` if `all_tags`, then `ref` itself (empty: the last tag).

    Raises:
        NoRelease: there is no such commit, or no tag in a shallow clone.
    """
    tags = _git(folder, "tag", "--merged", ref or "HEAD", "--sort=creatordate").split()
    if not ref and not tags and _git(folder, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise NoRelease("no tag in this shallow clone: fetch the tags, or name what to compare with (--against)")
    last = ref or (tags[-1] if tags else "HEAD")
    names = dict.fromkeys([*(tags if all_tags else ()), last])
    found = [_at(folder, name) for name in names]
    return [release for release in found if release]


def _at(folder: Path, ref: str) -> Contracts:
    """The committed schemas of one commit, read in one go; empty where it has none."""
    names = _git(folder, "ls-tree", "--name-only", "-r", ref, "--", "schemas").split()
    documents: dict[str, dict[str, Any]] = {}
    for name in names:
        event, role, extension = Path(name).name.rsplit(".", 2)
        if role in ROLES and extension == "json":
            documents.setdefault(event, {})[role] = json.loads(_git(folder, "show", f"{ref}:./{name}"))
    return parse(documents)


def _git(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NoRelease(f"git {' '.join(arguments)}: {ran.stderr.strip() or 'failed'}")
    return ran.stdout
