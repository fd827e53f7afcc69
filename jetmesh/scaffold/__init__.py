"""The files of a new service, from the templates of this package: `$name`, `$module` and `$stream` are filled in."""

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from jetmesh.event import stream_of

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PACKAGE, SUFFIX = "package", ".template"


def service(name: str, into: Path) -> list[Path]:
    """Write a service called `name` into the folder `into / name`; the files, as written.

    Raises:
        ValueError: the name can't be a service's, or the folder exists already.
    """
    if not NAME.fullmatch(name) or len(name) > 32:
        raise ValueError(f"{name!r} can't be a service's name: lower-case letters, digits and hyphens, 32 at most")
    folder = into / name
    if folder.exists():
        raise ValueError(f"{folder} exists already")
    module = name.replace("-", "_")
    words = {"name": name, "module": module, "stream": stream_of(name)}
    return [_write(folder, path, text, words) for path, text in _templates(files(__name__) / "service")]


def _templates(folder: Traversable, path: str = "") -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        inside = f"{path}/{entry.name}".lstrip("/")
        if entry.is_dir():
            yield from _templates(entry, inside)
        elif entry.name.endswith(SUFFIX):
            yield inside.removesuffix(SUFFIX), entry.read_text("utf-8")


def _write(folder: Path, path: str, text: str, words: dict[str, str]) -> Path:
    module = words["module"]
    file = folder / re.sub(rf"^{PACKAGE}/", f"{module}/", path).replace("test_service", f"test_{module}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(Template(text).substitute(words), "utf-8")
    return file
