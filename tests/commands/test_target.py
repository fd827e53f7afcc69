"""Commands find the broker as one another do: by NATS_URL or the demo's folder, within a time, with the reason."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jetmesh.commands import commands
from jetmesh.commands.target import settings_of_target
from jetmesh.common.ports import free_port
from jetmesh.local.state import StateFolder
from jetmesh.testing import Broker
from jetmesh.topology import accounts, nkeys
from tests.support.jobs import APP, SERVICES

SPEAKING = (
    ["topology", "plan"],
    ["topology", "apply"],
    ["contracts", "check", "--against", "nats"],
    ["contracts", "publish"],
)


def invoke(arguments: list[str], **environment: str) -> Result:
    """What a command says in this environment, without what surrounds the test."""
    gone: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("NATS_", "JETMESH_"))}
    return CliRunner(env={**gone, **environment}).invoke(commands, arguments)


@pytest.mark.parametrize("arguments", SPEAKING, ids=" ".join)
def test_a_broker_that_is_away_is_waited_for_as_long_as_the_setting_says(arguments: list[str]) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    result = invoke(arguments, NATS_URL=url, JETMESH_CONNECT_SECONDS="0.3")
    assert result.exit_code == 2
    assert f"no NATS server answered at {url} within 0.3 s" in result.output
    assert "address from NATS_URL" in result.output


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker with accounts."""
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.configuration(SERVICES, nkeys.ensure(tmp_path / "keys", nkeys.users(SERVICES))))
    with Broker(tmp_path / "guarded", "-c", str(config)) as server:
        yield server


@pytest.mark.parametrize("arguments", SPEAKING, ids=" ".join)
def test_a_wrong_key_is_told_from_no_broker(guarded: Broker, tmp_path: Path, arguments: list[str]) -> None:
    nkeys.ensure(tmp_path / "foreign", ["operator"])
    seed = str(nkeys.seed_file(tmp_path / "foreign", "operator"))
    result = invoke(arguments, NATS_URL=guarded.url, JETMESH_NATS_NKEY_SEED=seed, JETMESH_CONNECT_SECONDS="1")
    assert result.exit_code == 2
    assert "the broker does not know the key U" in result.output
    assert "JETMESH_NATS_NKEY_SEED must name the seed of one of its users" in result.output


def test_the_demo_is_found_by_its_folder(guarded: Broker, tmp_path: Path) -> None:
    seed = str(nkeys.seed_file(tmp_path / "keys", "operator"))
    (tmp_path / "endpoints.json").write_text(json.dumps({"nats_args": ["-s", guarded.url, "--nkey", seed]}))
    environment = {"JETMESH_STATE": str(tmp_path), "JETMESH_APP": APP}
    assert invoke(["topology", "plan"], **environment).exit_code == 1
    assert invoke(["topology", "apply"], **environment).exit_code == 0
    assert invoke(["topology", "plan"], **environment).exit_code == 0
    assert invoke(["contracts", "check", "--against", "nats"], **environment).exit_code == 0


def test_a_folder_that_is_named_counts_more_than_that_of_the_environment(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        told = {"nats_args": ["-s", f"nats://{name}:1"]}
        (tmp_path / name / "endpoints.json").write_text(json.dumps(told))
    environment = {"JETMESH_STATE": str(tmp_path / "here")}
    named = settings_of_target(environment, state=StateFolder(tmp_path / "there"))
    assert (named.settings.nats_url, named.found) == ("nats://there:1", f"the mesh in {tmp_path / 'there'}")
    assert settings_of_target(environment).settings.nats_url == "nats://here:1"
