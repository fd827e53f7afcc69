"""What is used of nats-py beside its public interface is named, is there, and is used in one file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport

from jetmesh.common.throttled_log import Conditions
from jetmesh.jetstream import nats_private
from jetmesh.jetstream.identity import Anybody
from jetmesh.jetstream.nats_private import PRIVATE

SAMPLES = {Client: Client(), Subscription: Subscription(Client(), 1), TcpTransport: TcpTransport()}  # type: ignore[no-untyped-call]
NAMED = [(owner, name) for owner, names in PRIVATE.items() for name in sorted(names)]


def lacking(samples: dict[type, object]) -> list[str]:
    """The members that are named and are not there."""
    return [f"{owner.__name__}.{name}" for owner, name in NAMED if not hasattr(samples[owner], name)]


def test_the_installed_nats_py_has_every_private_member_that_is_used() -> None:
    assert lacking(SAMPLES) == []


@pytest.mark.parametrize(("owner", "name"), NAMED, ids=lambda value: getattr(value, "__name__", value))
def test_a_nats_py_without_one_of_them_is_found_out(owner: type, name: str) -> None:
    class Without:
        def __getattr__(self, asked: str) -> object:
            if asked == name:
                raise AttributeError(asked)
            return getattr(SAMPLES[owner], asked)

    assert lacking({**SAMPLES, owner: Without()}) == [f"{owner.__name__}.{name}"]


def test_every_private_member_that_is_used_is_named_and_no_other() -> None:
    """Nor has the client a member of its own that nats-py has too: two of one name would undo one another."""
    used = set(_private(ast.parse(Path(nats_private.__file__).read_text())))
    assert used == {name for _, name in NAMED} | _own()


def test_the_decision_record_tells_how_many_there_are() -> None:
    (record,) = (Path(__file__).parents[2] / "docs/decisions").glob("0005-*.md")
    assert f"{len(NAMED)} members of nats-py that are not public" in record.read_text()


def _private(tree: ast.AST) -> Iterator[str]:
    """Every `x._name`, every `"_name"` of a getattr, and every `def _name` of a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            name = str(ast.literal_eval(node.args[1]))
        elif isinstance(node, ast.ClassDef):
            yield from _private_methods(node)
            continue
        else:
            continue
        if name.startswith("_") and not name.startswith("__"):
            yield name


def _private_methods(node: ast.ClassDef) -> Iterator[str]:
    for method in node.body:
        name = getattr(method, "name", "")
        if name.startswith("_") and not name.startswith("__"):
            yield name


def _own() -> set[str]:
    """The private members that `NatsClient` adds: its methods that nats-py's client has not, and what it is given."""
    methods = {name for name in vars(nats_private.NatsClient) if name.startswith("_") and not name.startswith("__")}
    client = nats_private.NatsClient(Anybody(), Conditions(nats_private.log))
    given = set(vars(client)) - set(vars(Client()))
    return {name for name in methods | given if name.startswith("_") and not hasattr(Client, name)}
