"""What the reference mesh needs of a broker: planned, applied, refused, and taken up where an apply stopped."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.service import Service
from jetmesh.testing import Broker, MeshOf
from jetmesh.topology import difference, provision
from jetmesh.topology.provision import Change, Drift
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from tests.support.operators import change_durable, change_stream, config_of

APP = "jetmesh_shop.flow:SERVICES"


def _apply(url: str) -> Any:
    return CliRunner(env={"NATS_URL": url, "JETMESH_APP": APP}).invoke(commands, ["topology", "apply"])


def test_streams_and_durables_follow_from_the_signatures() -> None:
    needed = topology(SERVICES)
    streams = {stream.name: stream.config["subjects"] for stream in needed.streams}
    assert streams["PAYMENTS"] == ["payments.*.*"]
    assert streams["INVENTORY"] == ["inventory.*.*", "stock.*.*"]
    assert streams["INTAKE"] == ["delivery.*", "orders.*", "shifts.*", "stock.*"]
    assert "dead.>" in streams["DEAD_LETTERS"]
    durables = {(consumer.stream, consumer.durable): consumer.subjects for consumer in needed.consumers}
    assert durables["ORDERS", "payments-authorize"] == ("orders.placed.*",)
    assert durables["PAYMENTS", "orders-promise"] == ("payments.authorized.*",)
    assert durables["INTAKE", "orders-intake"] == ("orders.*",)


async def test_a_plan_shows_what_apply_makes_and_nothing_afterwards(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    connection = mesh.context.connection
    steps = await provision.plan(connection, topology([*SERVICES]))
    assert {step.change for step in steps} == {Change.CREATE, Change.KEEP}
    await provision.apply(connection, steps)
    steps = await provision.plan(connection, topology([*SERVICES]))
    assert {step.change for step in steps} == {Change.KEEP}


def test_the_command_plans_and_applies(broker: Broker) -> None:
    environment = {"NATS_URL": broker.url, "JETMESH_APP": APP}
    run = CliRunner(env=environment)
    planned = run.invoke(commands, ["topology", "plan"])
    assert (planned.exit_code, "create stream ORDERS" in planned.output) == (1, True)
    assert run.invoke(commands, ["topology", "apply"]).exit_code == 0
    planned = run.invoke(commands, ["topology", "plan"])
    assert planned.exit_code == 0, planned.output


async def test_what_a_newer_version_added_stays_when_an_older_one_is_applied(
    mesh_of: MeshOf, finishing: Service
) -> None:
    """A subject of the stream, a filter of a durable, a type of the intake."""
    mesh = await mesh_of(finishing, *(one for one in SERVICES if one.name == "orders"), start=False)
    await change_stream(mesh, "WORK", subjects=["work.*.*", "labour.*.*"])
    await change_stream(mesh, "INTAKE", subjects=["orders.*", "baskets.*"])
    await change_durable(mesh, "JOBS.work-finish", filter_subject="", filter_subjects=["jobs.asked.*", "jobs.urged.*"])
    takes = (await config_of(mesh, "CONSUMER.INFO.INTAKE.orders-intake"))["metadata"]
    assert takes[difference.TAKES] == "orders.cancellation_requested,orders.placed"
    newer = {**takes, difference.TAKES: f"{takes[difference.TAKES]},orders.praised"}
    await change_durable(mesh, "INTAKE.orders-intake", metadata=newer)

    steps = await provision.plan(mesh.context.connection, mesh.topology)
    assert {step.change for step in steps} == {Change.KEEP}
    assert {words for step in steps for words in step.kept} == {
        "subjects labour.*.*",
        "subjects baskets.*",
        "filter_subjects jobs.urged.*",
    }
    await provision.apply(mesh.context.connection, steps)
    await mesh.start(finishing)
    pruned = await provision.plan(mesh.context.connection, mesh.topology, prune=True)
    await provision.apply(mesh.context.connection, pruned)
    assert (await config_of(mesh, "CONSUMER.INFO.JOBS.work-finish"))["filter_subjects"] == ["jobs.asked.*"]
    assert (await config_of(mesh, "CONSUMER.INFO.INTAKE.orders-intake"))["metadata"] == takes


async def test_subjects_that_another_stream_has_are_refused_before_anything_is_made(
    mesh_of: MeshOf, finishing: Service
) -> None:
    mesh = await mesh_of(finishing, start=False)
    other = {"name": "OTHERS", "subjects": ["stock.>"]}
    await api.request(mesh.context.connection, "STREAM.CREATE.OTHERS", other, strict=True)
    steps = await provision.plan(mesh.context.connection, topology(SERVICES))
    with pytest.raises(Drift) as refused:
        await provision.apply(mesh.context.connection, steps)
    assert str(refused.value).splitlines() == [
        "refuse stream INTAKE: stock.* is taken by the stream OTHERS already",
        "refuse stream INVENTORY: stock.*.* is taken by the stream OTHERS already",
    ]
    assert await api.request(mesh.context.connection, "STREAM.INFO.ORDERS") is None


LIMITS = {
    "max_streams: 3": r"\d+ streams are missing, and the account may have 3, of which 0 are there",
    "max_consumers: 3": r"\d+ consumers are missing, and the account may have 3, of which 0 are there",
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_an_account_without_room_is_told_before_anything_is_made(tmp_path: Path, limit: str) -> None:
    config = tmp_path / "limits.conf"
    config.write_text(f"accounts {{ A: {{ jetstream: {{{limit}}}, users: [{{user: a, password: a}}] }} }}\n")
    with Broker(tmp_path / "broker", "-c", str(config)) as broker:
        connection = Connection()
        await connection.open(broker.url.replace("//", "//a:a@"), "test")
        with pytest.raises(Drift, match=f"^refuse: {LIMITS[limit]}; nothing was changed$"):
            await provision.apply(connection, await provision.plan(connection, topology(SERVICES)))
        assert (await api.request(connection, "INFO"))["streams"] == 0
        await connection.close()


async def test_an_apply_that_is_stopped_half_way_says_how_far_it_came_and_goes_on(tmp_path: Path) -> None:
    """This user may make streams, and no durable of the intake; then it may."""
    config = tmp_path / "denied.conf"
    denied = 'permissions: {publish: {deny: ["$JS.API.CONSUMER.CREATE.INTAKE.>"]}}'
    users = f"{{user: a, password: a, {denied}}}, {{user: b, password: b}}"
    config.write_text(f"accounts {{ A: {{ jetstream: enabled, users: [{users}] }} }}\n")
    with Broker(tmp_path / "broker", "-c", str(config)) as broker:
        said = await asyncio.to_thread(_apply, broker.url.replace("//", "//a:a@"))
        assert "could not create consumer INTAKE/orders-intake: no answer to" in str(said.exception)
        assert "\ndone: create stream DEAD_LETTERS, create stream INTAKE, create stream ORDERS, " in str(said.exception)
        assert "\nnot done: create consumer " in str(said.exception)
        assert str(said.exception).rstrip().endswith("run `jetmesh topology apply` again: it does the rest")
        again = await asyncio.to_thread(_apply, broker.url.replace("//", "//b:b@"))
        assert again.exit_code == 0, again.output
