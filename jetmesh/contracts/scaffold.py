"""A new event: its class, its export from the package, its first example, and a test."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jetmesh.contracts.lint import TYPE
from jetmesh.contracts.package import Package


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
    home = package.folder / package.name
    init, module = home / "__init__.py", home / f"{draft.module}.py"
    example = {draft.key: f"{draft.key[0]}-1"}
    return {
        module: _module(package, draft, module.read_text("utf-8") if module.is_file() else ""),
        init: _listed(package, draft, init.read_text("utf-8")),
        package.folder / "examples" / draft.type / "1.json": json.dumps(example, indent=2) + "\n",
        tests / f"test_{draft.type.replace('.', '_')}.py": _test(package, draft),
    }


def _module(package: Package, draft: Draft, before: str) -> str:
    head = before or (
        f'"""What {draft.owner} tells the world."""\n\nfrom pydantic import Field\n\n'
        f"from {package.name}.event import Event, Token\n"
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
