"""A new event: its class, its export from the package, its first example, and a test."""

import ast
import json
import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from jetmesh.contracts.package import Package
from jetmesh.event import TYPE

SERVICE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
BASES = ("event", "__init__")
"""The modules of a package that are no owner's."""
PLURALS = (
    ("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x"), ("ss", "ss"), ("us", "us"), ("s", ""),
)  # fmt: skip
RESERVED = frozenset({*dir(BaseModel), "type", "owner", "key", "key_field", "from_outside", "state", "ending", "read"})
"""The names of members that every event has."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The requested event: a type (`orders.returned`), the service that records it, and the field that is its key."""

    type: str
    owner: str
    key: str

    def __post_init__(self) -> None:
        """Check that the names make valid Python.

        Raises:
            ValueError: one does not; the text names the option.
        """
        if not TYPE.fullmatch(self.type):
            raise ValueError(f"{self.type}: a type is <entity>.<event>, in small letters, digits and underscores")
        if not SERVICE.fullmatch(self.owner) or keyword.iskeyword(self.module):
            raise ValueError(f"--owner {self.owner}: a service is small letters, digits and hyphens, and no keyword")
        if not self.key.isidentifier() or keyword.iskeyword(self.key) or self.key in RESERVED or self.key[0] == "_":
            raise ValueError(f"--key {self.key}: a field is a Python name, and none that every event has")
        if self.module in BASES or not self.name.isidentifier() or keyword.iskeyword(self.name):
            raise ValueError(f"{self.type}: {self.module}.{self.name} can't be a class; choose another owner or type")

    @classmethod
    def of(cls, type_: str, owner: str = "", key: str = "") -> Self:
        """A draft whose owner is the entity, and whose key is named after it, unless they are given."""
        entity = type_.partition(".")[0]
        return cls(type_, owner or entity, key or f"{singular(entity)}_id")

    @property
    def name(self) -> str:
        """The name of the class: `OrderReturned`."""
        entity, _, happened = self.type.partition(".")
        return "".join(word.capitalize() for word in [*singular(entity).split("_"), *happened.split("_")])

    @property
    def module(self) -> str:
        """The module that the class goes into: its owner's."""
        return self.owner.replace("-", "_")


def singular(entity: str) -> str:
    """One of what an entity names: `order` of `orders`, `dish` of `dishes`, `delivery` of `deliveries`."""
    for ending, one in PLURALS:
        if entity.endswith(ending) and entity != ending:
            return entity.removesuffix(ending) + one
    return entity


def files(package: Package, draft: Draft, tests: Path) -> dict[Path, str]:
    """The content of each file, by path; this function writes nothing.

    Raises:
        ValueError: the type exists already, or its class.
    """
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


def write(package: Package, draft: Draft, tests: Path) -> list[Path]:
    """Write the files of a new event; their paths."""
    wanted = files(package, draft, tests)
    for file, content in wanted.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    return list(wanted)


def _check(package: Package, draft: Draft) -> None:
    """Check that the module has no class of this name yet."""
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
