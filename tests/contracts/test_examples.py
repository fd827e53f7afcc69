"""Every example that was ever published, and every golden message, is read for ever."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import jetmesh_contracts
from jetmesh.cloudevents import decode_envelope, read_event
from jetmesh.contracts import package
from jetmesh.contracts.schema import contract
from jetmesh.jetstream.delivery import RawDelivery

CONTRACTS = package.load("jetmesh_contracts")
TYPES = {event.type: event for event in jetmesh_contracts.EVENTS}
EXAMPLES = [file for name in TYPES for file in CONTRACTS.example_files(name)]
GOLDEN = sorted((CONTRACTS.folder / "examples" / "wire").glob("*.json"))


def named(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


@pytest.mark.parametrize("event", jetmesh_contracts.EVENTS, ids=lambda event: event.type)
def test_every_event_has_an_example(event: type[jetmesh_contracts.Event]) -> None:
    assert CONTRACTS.example_files(event.type)


def test_every_folder_of_examples_belongs_to_an_event() -> None:
    folders = {folder.name for folder in (CONTRACTS.folder / "examples").iterdir()}
    assert folders == {*TYPES, "wire"}


@pytest.mark.parametrize("file", EXAMPLES, ids=named)
def test_an_example_is_read_and_written_again_unchanged(file: Path) -> None:
    event = TYPES[file.parent.name].read(file.read_bytes())
    assert json.loads(event.model_dump_json()) == json.loads(file.read_text())


@pytest.mark.parametrize("file", EXAMPLES, ids=named)
def test_an_example_is_valid_for_producer_and_consumer(file: Path) -> None:
    promised = contract(TYPES[file.parent.name])
    for schema in (promised.producer, promised.consumer):
        Draft202012Validator(dict(schema)).validate(json.loads(file.read_text()))


@pytest.mark.parametrize("file", EXAMPLES, ids=named)
def test_a_reader_bears_unknown_fields_at_every_depth(file: Path) -> None:
    body = json.loads(file.read_text())
    grown = json.dumps(_with_strangers(body))
    read = TYPES[file.parent.name].read(grown)
    assert json.loads(read.model_dump_json()) == body


def _with_strangers(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_strangers(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {**{name: _with_strangers(value) for name, value in node.items()}, "came_later": {"deep": [1]}}


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_golden_message_is_understood(file: Path) -> None:
    message = json.loads(file.read_text())
    delivery = RawDelivery(
        subject=message["subject"],
        headers=message["headers"],
        data=message["body"].encode(),
        reply="",
        stream="INTAKE",
        sequence=1,
        delivered=1,
        timestamp=1772366400.0,
    )
    envelope = decode_envelope(delivery)
    assert {name: getattr(envelope, name) for name in message["understood"]} == message["understood"]
    assert read_event(TYPES[envelope.type], envelope.data).key == "o-1042"
