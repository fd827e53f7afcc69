"""A new event: its class, its export from the package, its first example, and a test."""

import ast
import json
import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from jetmesh.contracts.package import Package
from jetmesh.event import TYPE

SERVICE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
BASES = ("event", "__init__")
"""The modules of a package that are no owner's."""
RESERVED = frozenset({*dir(BaseModel), "type", "owner", "key", "key_field", "from_outside", "state", "ending", "read"})
"""The names of members that every event has."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The requested event: a type (`orders.returned`), the service that records it, and the field that is its key."""

    type: str
    owner: str
    key: str

    @property
    def name(self) -> str:
        """The name of the class: `OrderReturned`."""
        entity, _, happened = self.type.partition(".")
        return "".join(word.capitalize() for word in [entity.removesuffix("s"), *happened.split("_")])

    @property
    def module(self) -> str:
        """The module that the class goes into: its owner's."""
        return self.owner.replace("-", "_")


def files(package: Package, draft: Draft, tests: Path) -> dict[Path, str]:
    """The content of each file, by path; this function writes nothing.

    Raises:
        ValueError: the type is invalid, or exists already.
    """
    if not TYPE.fullmatch(draft.type):
        raise ValueError(f"{draft.type}: a type is <entity>.<event>, in small letters, digits and underscores")
    if any(event.type == draft.type for event in package.events):
        raise ValueError(f"{draft.type} exists already")
    _check(package, draft)
    home = package.folder / package.name
    init, module = home / "__init__.py", home / f"{draft.module}.py"
    example = {draft.key: f"{draft.key[0]}-1"}
    return {
        module: _module(package, draft, module.read_text("utf-8") if module.is_file() else ""),
        init: _listed(package, draft, init.read_text("utf-8")),
        package.folder / "examples" / draft.type / "1.json": json.dumps(example, indent=2) + "\n",
        tests / f"test_{draft.type.replace('.', '_')}.py": _test(package, draft),
    }


def _check(package: Package, draft: Draft) -> None:
    """Check that the names of a draft make valid Python.

    Raises:
        ValueError: one does not; the text names the option.
    """
    if not SERVICE.fullmatch(draft.owner) or keyword.iskeyword(draft.module):
        raise ValueError(f"--owner {draft.owner}: a service is small letters, digits and hyphens, and no keyword")
    if not draft.key.isidentifier() or keyword.iskeyword(draft.key) or draft.key in RESERVED or draft.key[0] == "_":
        raise ValueError(f"--key {draft.key}: a field is a Python name, and none that every event has")
    if draft.module in BASES or not draft.name.isidentifier() or keyword.iskeyword(draft.name):
        raise ValueError(f"{draft.type}: {draft.module}.{draft.name} can't be a class; choose another owner or type")
    module = sys.modules.get(package.name)
    there = set(vars(module)) if module else set()
    there |= _classes(package.folder / package.name / f"{draft.module}.py")
    if draft.name in there:
        raise ValueError(f"{draft.type}: there is a class {draft.name} already; choose another type")


def _classes(module: Path) -> set[str]:
    if not module.is_file():
        return set()
    return {each.name for each in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(each, ast.ClassDef)}


def _imported(package: Package, module: str) -> str:
    """The module, with what the new class needs imported."""
    tree = ast.parse(module)
    known = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    needed = {"Field": "pydantic", "Event": f"{package.name}.event", "Token": f"{package.name}.event"}
    missing = [f"from {home} import {name}" for name, home in needed.items() if name not in known]
    if not missing:
        return module
    lines, body = module.splitlines(), tree.body
    after = body[0].end_lineno or 0 if body and isinstance(body[0], ast.Expr) else 0
    while after < len(lines) and lines[after].startswith("from __future__"):
        after += 1
    return "\n".join([*lines[:after], "", *missing, *lines[after:]]) + "\n"


def _module(package: Package, draft: Draft, before: str) -> str:
    head = (
        _imported(package, before)
        if before
        else (
            f'"""What {draft.owner} tells the world."""\n\nfrom pydantic import Field\n\n'
            f"from {package.name}.event import Event, Token\n"
        )
    )
    return head + "\n\n" + "\n".join(_class(draft, head))


def _class(draft: Draft, module: str) -> Iterator[str]:
    """The class; if the module has a base class with the same owner and key, it inherits from it."""
    alike = rf'^class (\w+)\(Event, owner="{draft.owner}", key_field="{draft.key}"\):$'
    base = re.search(alike, module, re.MULTILINE)
    facts = "" if base else f', owner="{draft.owner}", key_field="{draft.key}"'
    yield f'class {draft.name}({base[1] if base else "Event"}, type="{draft.type}"{facts}):'
    yield '    """What happened, in one sentence.\n\n    Recorded when …\n    """\n'
    if not base:
        yield f'    {draft.key}: Token = Field(description="What it is about: the key.")\n'


def _listed(package: Package, draft: Draft, init: str) -> str:
    """The package's `__init__` with the class imported, in `EVENTS` and in `__all__`."""
    line = f"from {package.name}.{draft.module} import {draft.name}\n"
    init = re.sub(r"\n\nEVENTS", lambda _: f"\n{line}\nEVENTS", init, count=1)
    init = re.sub(r"(EVENTS[^=]*= \([^)]*)\)", lambda found: f"{found[1]}    {draft.name},\n)", init, count=1)
    return re.sub(r"__all__ = \[([^\]]*)\]", lambda found: _exports(found[1], draft.name), init, count=1)


def _exports(names: str, name: str) -> str:
    known = sorted({*re.findall(r'"(\w+)"', names), name}, key=lambda each: (not each.isupper(), each))
    return "__all__ = [\n" + "".join(f'    "{each}",\n' for each in known) + "]"


def _test(package: Package, draft: Draft) -> str:
    return f'''"""{draft.type}: what readers rely on."""

from {package.name} import {draft.name}


def test_{draft.type.replace(".", "_")}_is_about_its_key() -> None:
    event = {draft.name}.read(b'{{"{draft.key}": "{draft.key[0]}-1"}}')
    assert event.key == "{draft.key[0]}-1"
'''
