"""The page about every public name, from signatures and docstrings: docs/authors/reference.md."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/authors/reference.md"
PACKAGES = ("jetmesh", "jetmesh.testing", "jetmesh.sql", "jetmesh.extend", "jetmesh.http")
FORMAL = {"Generic", "NamedTuple"}
"""Bases that say how a class is written."""
INSIDE = {"KeyedModel": "jetmesh.keyed_model"}
"""Bases that are no public names, and their modules: a class is shown with their members as its own."""
GIVEN = {"Books", "Context", "LocalMesh", "Mesh", "Replica", "SyncMesh"}
"""What users get and never make."""

Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class Documented(NamedTuple):
    """A definition, and the docstring of it or below it."""

    node: ast.stmt
    text: str


def files() -> Mapping[Path, str | None]:
    """The page, with what is generated between its marks."""
    text = PAGE.read_text()
    for package in PACKAGES:
        mark = f"<!-- {package} -->\n"
        head, begin, rest = text.partition(mark)
        _, end, tail = rest.partition(f"<!-- /{package} -->")
        if not (begin and end):
            raise ValueError(f"{PAGE.name} has no {mark.strip()}")
        text = "\n".join([head + begin, *entries(package), end + tail])
    return {PAGE: text}


def entries(package: str) -> Iterator[str]:
    """The entry of each public name, in alphabetical order."""
    for name, (module, own_name) in sorted(public(package).items(), key=lambda entry: entry[0].lower()):
        written = entry(name, definition(module, own_name))
        yield f"### `{name}`\n\n{renamed(written)}"


def renamed(text: str) -> str:
    """The text with each class by its public name."""
    for name, (_, own_name) in public("jetmesh").items():
        text = text.replace(f"`{own_name}`", f"`{name}`") if own_name[0].isupper() else text
    return text


def public(package: str) -> dict[str, tuple[str, str]]:
    """The module and the name there of each public name."""
    tree = parsed(package)
    found = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (names,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return {name: found[name] for name in ast.literal_eval(names)}


def parsed(module: str) -> ast.Module:
    """The source of a module of the runtime."""
    path = ROOT / module.replace(".", "/")
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())


def definition(module: str, name: str) -> Documented:
    """The definition of a name in its module; that of an overloaded function is the last."""
    return [each for each in documented(parsed(module).body) if name_of(each.node) == name][-1]


def documented(body: Sequence[ast.stmt]) -> Iterator[Documented]:
    """Every definition of a body, with its docstring; an assignment has it below."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield Documented(node, ast.get_docstring(node) or "")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            below = after.value if isinstance(after, ast.Expr) else None
            is_text = isinstance(below, ast.Constant) and isinstance(below.value, str)
            yield Documented(node, str(below.value) if is_text and isinstance(below, ast.Constant) else "")


def name_of(node: ast.stmt) -> str:
    """The name that a statement defines; empty if it defines none."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def entry(name: str, found: Documented) -> str:
    """The signature, the meaning, the members."""
    match found.node:
        case ast.ClassDef() as node:
            made = "" if name in GIVEN else constructor(node)
            lines = [f"`{name}{made}`{bases(node)}", prose(found.text), *members(node)]
        case ast.FunctionDef() | ast.AsyncFunctionDef() as node:
            lines = [f"`{signature(node, name)}`", prose(found.text)]
        case _:
            what = "A value" if name.isupper() else "A type"
            lines = [f"{what}: `{ast.unparse(found.node).partition(' = ')[2]}`", prose(found.text)]
    return "\n\n".join(filter(None, lines)) + "\n"


def bases(node: ast.ClassDef) -> str:
    """What a class is besides: an exception, a protocol, a kind of another class."""
    named = [text for base in node.bases if (text := ast.unparse(base)).partition("[")[0] not in FORMAL]
    if not named:
        return ""
    if "Protocol" in named:
        return ": any object with these members"
    first = named[0].partition("[")[0]
    return bases(inside(first)) if first in INSIDE else f": a kind of `{first}`"


def inside(name: str) -> ast.ClassDef:
    """The definition of a base that is no public name."""
    node = definition(INSIDE[name], name).node
    assert isinstance(node, ast.ClassDef)
    return node


def constructor(node: ast.ClassDef) -> str:
    """The arguments that a class is made with."""
    if any(ast.unparse(base).partition("[")[0] == "Protocol" for base in node.bases):
        return ""
    made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    if made:
        return arguments(made[0])
    is_data = any("dataclass" in ast.unparse(each) for each in node.decorator_list) or "NamedTuple" in map(
        ast.unparse, node.bases
    )
    return f"({', '.join(ast.unparse(each) for each in fields(node))})" if is_data and fields(node) else ""


def fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """The public fields of a class."""
    found = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return [each for each in found if is_public(name_of(each)) and "ClassVar" not in ast.unparse(each.annotation)]


def is_public(name: str) -> bool:
    """Whether a member is for users."""
    return name == "__call__" or (bool(name) and not name.startswith("_"))


def members(node: ast.ClassDef) -> Iterator[str]:
    """The members that users may use, in the order of the class."""
    inherited = [inside(name) for base in node.bases if (name := ast.unparse(base)) in INSIDE]
    lines = []
    for each in (each for owner in (node, *inherited) for each in documented(owner.body)):
        name = name_of(each.node)
        if is_public(name) and each.text:
            lines.append(f"- `{member(each.node)}`: {' '.join(prose(each.text).split())}")
    if lines:
        yield "\n".join(lines)


def member(node: ast.stmt) -> str:
    """A member as it is used."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        is_property = any(ast.unparse(each) in ("property", "cached_property") for each in node.decorator_list)
        return node.name if is_property else signature(node, node.name.replace("__call__", ""))
    return name_of(node)


def signature(node: Function, name: str) -> str:
    """`async name(arguments) -> answer`."""
    before = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{before}{name}{arguments(node)}{f' -> {ast.unparse(node.returns)}' if node.returns else ''}"


def arguments(node: Function) -> str:
    """The arguments, without the object itself."""
    return re.sub(r"^\((?:self|cls)(?:, /)?(?:, )?", "(", f"({ast.unparse(node.args)})")


def prose(docstring: str) -> str:
    """A docstring as Markdown: paragraphs on one line, the errors as a list."""
    paragraphs = re.split(r"\n\s*\n", docstring.strip())
    return "\n\n".join(filter(None, map(_paragraph, paragraphs)))


def _paragraph(text: str) -> str:
    head, raises, errors = text.partition("Raises:\n")
    if not raises:
        return " ".join(text.split())
    joined = re.sub(r"\n {8,}", " ", errors)
    listed = [
        f"`{name}` ({why.strip()})" for name, _, why in (line.strip().partition(":") for line in joined.splitlines())
    ]
    return " ".join([*head.split(), f"Raises {', '.join(listed)}."]).replace(".)", ")")
