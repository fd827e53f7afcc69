"""What is generated is committed, current, and what its readers' own tools accept."""

import json
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from jetmesh.contracts import generate, lint, package, readers
from jetmesh_shop.flow import SERVICES

CONTRACTS = package.load("jetmesh_contracts")
SCHEMAS = sorted((CONTRACTS.folder / "schemas").glob("*.json"))


def test_generated_files_are_current() -> None:
    wanted = generate.files(CONTRACTS, SERVICES)
    assert generate.stale(wanted, CONTRACTS.folder) == [], "run `jetmesh contracts generate`"


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: file.stem)
def test_a_schema_is_json_schema_2020_12(file: Path) -> None:
    schema = json.loads(file.read_text())
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_producers_are_closed_and_consumers_open_at_every_depth() -> None:
    for file in SCHEMAS:
        objects = [node for node in _nodes(json.loads(file.read_text())) if "properties" in node]
        closed = [node.get("additionalProperties") is False for node in objects]
        assert all(closed) if ".producer." in file.name else not any(closed)


def _nodes(node: object) -> list[dict[str, object]]:
    if isinstance(node, list):
        return [each for item in node for each in _nodes(item)]
    if not isinstance(node, dict):
        return []
    return [node, *(each for item in node.values() for each in _nodes(item))]


def test_the_contracts_keep_the_rules() -> None:
    assert lint.lint(CONTRACTS.contracts()) == []


def test_registered_consumers_read_what_there_is() -> None:
    consumers = readers.registered(CONTRACTS.folder / "consumers")
    assert [wrong for consumer in consumers for wrong in readers.strangers(consumer, CONTRACTS.contracts())] == []
    assert all(consumer.contact.endswith("@example.com") for consumer in consumers)


def test_asyncapi_has_every_reaction_and_every_event() -> None:
    document = json.loads((CONTRACTS.folder / "asyncapi" / "asyncapi.json").read_text())
    assert {event.type for event in CONTRACTS.events} <= document["channels"].keys()
    expected = {f"{r.service}.{r.name}" for service in SERVICES for r in service.reactions}
    found = {".".join(name.split(".")[:2]) for name in document["operations"]}
    assert expected <= found


def test_the_page_needs_no_network_and_shows_every_event() -> None:
    page = (CONTRACTS.folder / "asyncapi" / "index.html").read_text()
    assert all(f'id="{event.type}"' in page for event in CONTRACTS.events)
    assert "http://" not in page
    assert "https://" not in page


def run(*command: str, folder: Path) -> str:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
