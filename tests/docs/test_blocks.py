"""Every code block of a page is executed, or stands word for word in a file that is: no block is left out.

| language | what is done with it | where |
|---|---|---|
| python | the blocks of a page are one module; it is imported, and its tests run | test_python.py |
| python, quoted | the block stands in the file that `QUOTED` names, whose tests run it | here |
| java | the block stands in the file that `QUOTED` names, which tests/mesh/test_java.py compiles and runs | here |
| console | each command is run, or read by the program that it calls (the table there says which) | test_console.py |
| yaml | read; `DATA` names the program that takes it | here |
| toml | read; what it names is declared on the page | here |
| sql | executed by DuckDB on an archive | here |
| of `two-teams.md` | run as they stand, in its order | test_two_teams.py |
| mermaid, text | drawn or read by people alone | — |
"""

import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
import yaml

from jetmesh.contracts import outside, package
from jetmesh.contracts.package import Package
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive.row import Row
from jetmesh.service import Service
from jetmesh.sql.warehouse import SCHEMA
from jetmesh_shop.flow import SERVICES
from tests.docs.pages import ROOT, Block, blocks
from tests.support import teams
from tests.support.programs import program

OF_TWO_TEAMS = "docs/authors/two-teams.md"
LANGUAGES = {"python", "java", "console", "yaml", "toml", "sql", "mermaid", "text"}

QUOTED: Mapping[str, str] = {
    "CONTRIBUTING.md#1": "services/jetmesh_shop/payments/service.py",
    "CONTRIBUTING.md#2": "jetmesh/http/tokens.py",
    "CONTRIBUTING.md#3": "tests/mesh/test_flow.py",
    "docs/authors/http.md#1": "examples/edge/service.py",
    "docs/authors/http.md#2": "examples/edge/edge.py",
    "docs/authors/http.md#3": "examples/edge/wiring.py",
    "contracts/README.md#4": "tests/contracts/evolution.py",
    "docs/authors/languages.md#1": "examples/java/src/main/java/com/example/Mesh.java",
    "docs/authors/languages.md#2": "examples/java/src/main/java/com/example/PlaceOrder.java",
    "docs/authors/languages.md#3": "examples/java/src/main/java/com/example/PackOrders.java",
}
"""Excerpts: a block of a page, and the file in which it stands."""


def each(*languages: str) -> pytest.MarkDecorator:
    """The test runs for each block of these languages."""
    return pytest.mark.parametrize("block", list(blocks(*languages)), ids=lambda block: block.name)


@each()
def test_every_block_has_a_language_that_is_tested(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("name", QUOTED)
def test_an_excerpt_stands_in_its_file(name: str) -> None:
    (block,) = (block for block in blocks("python", "java") if block.name == name)
    assert block.text in (ROOT / QUOTED[name]).read_text()


@each("java")
def test_java_is_quoted(block: Block) -> None:
    assert block.name in QUOTED


SHOP = package.load("jetmesh_contracts"), SERVICES
KITCHEN = Package("kitchen", (teams.Ordered, teams.Cooked), ROOT), teams.KITCHEN


def declared(kind: str, text: str, of: tuple[Package, Sequence[Service]] = SHOP) -> None:
    """A consumer or producer outside, as the packages of contracts have them."""
    contracts, services = of
    with TemporaryDirectory() as folder:
        file = Path(folder) / kind / f"{yaml.safe_load(text)['team']}.yaml"
        file.parent.mkdir()
        file.write_text(text)
        assert outside.users_of(replace(contracts, folder=Path(folder)), services)


def values(text: str) -> None:
    """Values of the chart, as Helm renders it with them."""
    chart = str(ROOT / "deploy/helm/jetmesh")
    subprocess.run([program("helm"), "template", "mesh", chart, "--values", "-"], input=text, text=True, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


DATA: Mapping[str, Callable[[str], None]] = {
    "contracts/README.md#1": partial(declared, "consumers"),
    "contracts/README.md#3": partial(declared, "producers"),
    "docs/authors/teams.md#4": partial(declared, "consumers", of=KITCHEN),
    "deploy/helm/jetmesh/README.md#2": values,
    "deploy/helm/jetmesh/README.md#3": values,
    "deploy/helm/jetmesh/README.md#4": values,
}


@each("yaml")
def test_data_is_what_its_reader_takes(block: Block) -> None:
    DATA[block.name](block.text)


@each("toml")
def test_a_project_names_what_its_page_declares(block: Block) -> None:
    declared = "".join(other.text for other in blocks("python") if other.page in (block.page, "README.md"))
    for reference in tomllib.loads(block.text)["tool"]["jetmesh"].values():
        name = reference.partition(":")[2]
        assert f"\n{name} = " in declared or f"\ndef {name}(" in declared


@each("sql")
def test_a_query_fills_a_warehouse_from_an_archive(block: Block, tmp_path: Path) -> None:
    headers = b"NATS/1.0\r\nce-id: e-1\r\nce-source: /jetmesh/orders\r\n\r\n"
    row = Row("o-1", "ORDERS", 7, 1_764_201_600_000_000_000, "orders.placed.o-1", headers, b'{"order_id": "o-1"}')
    archive = Archive(tmp_path / "archive")
    with archive.held():
        archive.keep([(row, "2026-11-27")])
    with duckdb.connect() as database:
        database.execute(SCHEMA)
        for _ in range(2):
            database.execute(block.text.replace("DIR", str(archive.folder)))
        kept = database.execute("SELECT stream, sequence, type, key, id, source FROM events").fetchall()
    assert kept == [("ORDERS", 7, "orders.placed", "o-1", "e-1", "/jetmesh/orders")]
