"""The files of a new service or package of contracts, from the templates of this package: `$name`, `$module` and
`$stream` are filled in."""

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from string import Template

from jetmesh.contracts.package import Package
from jetmesh.contracts.scaffold import Draft, write
from jetmesh.event import CLIENT, INTAKE, stream_of
from jetmesh.topology.accounts import CORE, OPERATOR
from jetmesh.topology.names import DEAD_LETTERS, blobs_of, claims_of, limits_of, timers_of

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LENGTH_MAX = 32
PACKAGE, SUFFIX = "package", ".template"


def service(name: str, into: Path) -> list[Path]:
    """Write a service called `name` into the folder `into / name`; the files, as written.

    Raises:
        ValueError: the name can't be a service's, or the folder exists already.
    """
    if why := _unfit(name) or _taken(name):
        raise ValueError(f"{name!r} can't be a service's name: {why}")
    return _made("service", name, into)


def contracts(name: str, into: Path, event: Draft) -> list[Path]:
    """Write a package of contracts called `name` with this event into the folder `into / name`; the files, as written.

    Raises:
        ValueError: the name can't be a package's, or the folder exists already.
    """
    if why := _unfit(name):
        raise ValueError(f"{name!r} can't be the name of a package of contracts: {why}")
    made = _made("contracts", name, into)
    package = Package(name.replace("-", "_"), (), into / name)
    return list(dict.fromkeys([*made, *write(package, event, into / name / "tests")]))


def _unfit(name: str) -> str:
    """Why no Python package may have the name; empty if one may."""
    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > LENGTH_MAX:
        return f"lower-case letters, digits and hyphens, {LENGTH_MAX} at most"
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        return "it is a keyword of Python"
    if module in sys.stdlib_module_names or module in ("tests", "jetmesh") or find_spec(module):
        return f"it would hide the package {module} that is there already"
    return ""


def _taken(name: str) -> str:
    """Why no service may have the name; empty if one may."""
    stream = stream_of(name)
    beside = timers_of(""), claims_of(""), limits_of("")
    if stream in (INTAKE, DEAD_LETTERS) or stream.endswith(beside) or stream.startswith(blobs_of("")):
        return f"the stream {stream} is for something else"
    if stream == CORE or name in (OPERATOR, CLIENT):
        return f"the broker has a user or an account {name} already"
    return ""


def _made(kind: str, name: str, into: Path) -> list[Path]:
    folder = into / name
    if folder.exists():
        raise ValueError(f"{folder} exists already")
    words = {"name": name, "module": name.replace("-", "_"), "stream": stream_of(name)}
    return [_write(folder, path, text, words) for path, text in _templates(files(__name__) / kind)]


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
