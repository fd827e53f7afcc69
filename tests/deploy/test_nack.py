"""The topology as NACK's custom resources: valid by NACK's own definitions, whole, and loud about what is not."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from jetmesh.commands import commands
from jetmesh.operate import deployment
from jetmesh.settings import Settings
from jetmesh.topology import nack
from jetmesh.topology.streams import Consumer, Stream, Topology, topology
from jetmesh_shop.flow import SERVICES
from tests.deploy.chart import CRDS, custom_schemas, objects
from tests.mesh.routing import PARTITIONS, SPLIT

THREE = {"JETMESH_APP": "jetmesh_shop.flow:SERVICES", "JETMESH_REPLICAS": "3"}


def exported(*arguments: str, partitions: str = "") -> Result:
    """What the command prints, each way on its own."""
    done = CliRunner(env={**THREE, "JETMESH_PARTITIONS": partitions}).invoke(
        commands, ["topology", "export", "--format", "nack", *arguments]
    )
    assert done.exit_code == 0, done.output
    return done


def test_every_object_is_one_that_nack_knows() -> None:
    schemas = dict(custom_schemas())
    found = objects(exported("--account", "mesh").stdout)
    for each in found:
        jsonschema.validate(each, schemas[each["kind"]])
    assert {each["kind"] for each in found} == {"Stream", "Consumer"}


def test_every_stream_and_durable_is_there_under_a_name_of_its_own() -> None:
    needed = deployment.needed(SERVICES, Settings(replicas=3))
    found = objects(exported().stdout)
    specs = [each["spec"] for each in found]
    assert [spec["name"] for spec in specs if "name" in spec] == [stream.name for stream in needed.streams]
    assert [(spec["streamName"], spec["durableName"]) for spec in specs if "durableName" in spec] == [
        (consumer.stream, consumer.durable) for consumer in needed.durables
    ]
    assert len({(each["kind"], each["metadata"]["name"]) for each in found}) == len(found)


def test_it_has_the_copies_that_the_settings_ask_for_and_keeps_its_messages() -> None:
    specs = [each["spec"] for each in objects(exported().stdout)]
    assert {spec["replicas"] for spec in specs if "name" in spec} == {3}
    assert all(spec["preventDelete"] for spec in specs)


def test_nothing_that_the_mesh_relies_on_is_missing() -> None:
    assert nack.export(topology(SERVICES)).missing == ()


def test_a_partition_stores_its_events_under_the_subjects_that_all_know() -> None:
    assert nack.export(topology(SERVICES, split=SPLIT)).missing == ()
    found = objects(exported(partitions=PARTITIONS).stdout)
    schema = dict(custom_schemas())["Stream"]
    partition = next(each for each in found if each["metadata"]["name"] == "orders-1")
    jsonschema.validate(partition, schema)
    assert partition["spec"]["subjects"] == ["partition.2.1.orders.*.*"]
    assert partition["spec"]["subjectTransform"] == {
        "source": "partition.2.1.*.*.*",
        "dest": "{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}",
    }


def test_a_duration_is_exact() -> None:
    streams = (Stream("A", {"max_age": 7 * 86_400 * 10**9}), Stream("B", {"max_age": 1_500_000_000}))
    resources = nack.export(Topology(streams, ())).resources
    assert [each["spec"]["maxAge"] for each in resources] == ["604800s", "1500000000ns"]


def test_a_durable_that_begins_at_a_time_says_so_as_nack_reads_it() -> None:
    """Its controller wants RFC 3339, and takes a time for `byStartTime` alone."""
    began = datetime(2026, 1, 1, 12, 30, tzinfo=timezone(timedelta(hours=1)))
    (resource,) = nack.export(Topology((), (Consumer("A", "a-read", "a", ("a.b.*",), since=began),))).resources
    jsonschema.validate(resource, dict(custom_schemas())["Consumer"])
    spec = resource["spec"]
    assert (spec["deliverPolicy"], spec["optStartTime"]) == ("byStartTime", "2026-01-01T12:30:00+01:00")


@pytest.mark.parametrize("file", sorted(CRDS.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_definition_names_no_field_twice(file: Path) -> None:
    """YAML keeps the last one, without a word."""

    def check(node: yaml.Node) -> None:
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            names = [each.value for each, _ in node.value]
            assert names.count(key.value) == 1, f"{file.name}: {key.value}"
            check(value)

    for document in yaml.compose_all(file.read_text()):
        check(document)


def test_what_nack_has_no_field_for_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(nack.STREAM, "allow_atomic")
    done = exported()
    assert "Stream orders: nack has no field for allow_atomic: True; set it by hand" in done.stderr
    assert not any("allowAtomicPublish" in each["spec"] for each in objects(done.stdout))


def test_what_an_older_nack_would_drop_is_told() -> None:
    done = exported()
    assert "allowMsgSchedules needs NACK 0.21 or newer: older ones drop it" in done.stderr
    assert len(list(yaml.safe_load_all(done.stdout))) == len(objects(done.stdout))


def test_a_format_that_there_is_not_is_refused() -> None:
    done = CliRunner(env=THREE).invoke(commands, ["topology", "export", "--format", "terraform"])
    assert (done.exit_code, "'terraform' is not 'nack'" in done.stderr) == (2, True)
