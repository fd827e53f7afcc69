"""Two apps on one broker: each changes only its own, in either order, again and again."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel

from jetmesh import App, Request, Service
from jetmesh.commands import commands
from jetmesh.contracts import deployed, registry
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.operate import diagnosis
from jetmesh.operate.books import collect
from jetmesh.operate.findings import CheckContext, Grade
from jetmesh.runtime.context import connect
from jetmesh.settings import Settings, read
from jetmesh.telemetry import providers
from jetmesh.testing import Broker
from jetmesh.topology import ownership, provision
from jetmesh.topology.outside import OutsideDurable, OutsideUser, durables_of
from jetmesh.topology.streams import topology
from tests.support import teams
from tests.support.teams import Called, CallEvent, Cooked

PLACE = "tests.support.teams"
INTAKE = "STREAM.INFO.INTAKE"


async def jetmesh(broker: Broker, *arguments: str, app: str = "KITCHEN") -> Result:
    """A command on one of the apps."""
    run = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"{PLACE}:{app}"})
    return await asyncio.to_thread(run.invoke, commands, arguments)


async def apply(broker: Broker, app: str, *arguments: str) -> str:
    """Apply an app, which succeeds; what the command says."""
    done = await jetmesh(broker, "topology", "apply", *arguments, app=app)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


async def subjects(connection: Connection) -> list[str]:
    info = await api.request(connection, INTAKE)
    return sorted(info["config"]["subjects"])


async def everything_of(connection: Connection, app: str) -> Mapping[str, Any]:
    """The configuration of each stream and durable that an app owns."""
    streams = (await api.request(connection, "STREAM.LIST"))["streams"]
    found: dict[str, Any] = {s["config"]["name"]: s["config"] for s in streams if _is_of(s["config"], app)}
    for stream in streams:
        listed = await api.request(connection, f"CONSUMER.LIST.{stream['config']['name']}")
        for each in listed["consumers"]:
            if _is_of(each["config"], app):
                found[f"{each['stream_name']}/{each['name']}"] = (each["config"], each["created"])
    return found


def _is_of(config: Mapping[str, Any], app: str) -> bool:
    owner = ownership.owner_of(config)
    return owner is not None and owner.app == app


@pytest.mark.parametrize("order", [("KITCHEN", "COUNTER"), ("COUNTER", "KITCHEN")], ids="-".join)
async def test_two_apps_are_applied_in_either_order_again_and_again(
    broker: Broker, connection: Connection, order: tuple[str, str]
) -> None:
    for app in (*order, *order):
        await apply(broker, app)
    kitchen, counter = await everything_of(connection, "kitchen"), await everything_of(connection, "counter")
    assert kitchen.keys() == {
        "KITCHEN", "KITCHEN_TIMERS", "INTAKE/kitchen-intake", "KITCHEN/kitchen-cook", "KITCHEN_TIMERS/kitchen-due",
        "DEAD_LETTERS/letters-kitchen",
    }  # fmt: skip
    assert counter.keys() == {
        "COUNTER", "COUNTER_TIMERS", "INTAKE/counter-intake", "KITCHEN/counter-call", "COUNTER_TIMERS/counter-due",
        "DEAD_LETTERS/letters-counter",
    }  # fmt: skip
    for app in ("KITCHEN_2", "COUNTER", "KITCHEN", "COUNTER_2"):
        await apply(broker, app, "--prune")
    assert (await everything_of(connection, "kitchen")) == kitchen
    assert (await jetmesh(broker, "topology", "plan", app="KITCHEN")).exit_code == 0


async def test_an_app_waits_for_the_stream_of_another_one(broker: Broker) -> None:
    said = await apply(broker, "COUNTER")
    assert "await consumer KITCHEN/counter-call: there is no stream KITCHEN yet" in said
    assert said.endswith(" streams and durables are as needed, the others wait\n")
    planned = await jetmesh(broker, "topology", "plan", app="COUNTER")
    assert planned.exit_code == 1
    made = await apply(broker, "KITCHEN")
    assert "create consumer KITCHEN/counter-call, which the app counter 1.0 waits for" in made
    assert (await jetmesh(broker, "topology", "plan", app="COUNTER")).exit_code == 0
    assert "waits for" not in await apply(broker, "KITCHEN")


async def test_each_app_adds_and_removes_its_own_subjects(broker: Broker, connection: Connection) -> None:
    await apply(broker, "KITCHEN")
    for _ in range(2):
        await apply(broker, "COUNTER")
        assert await subjects(connection) == ["calls.*", "dishes.*"]
        await apply(broker, "COUNTER_2")
        assert await subjects(connection) == ["calls.*", "dishes.*"], "a newer version may have added it"
        await apply(broker, "KITCHEN", "--prune")
        assert await subjects(connection) == ["calls.*", "dishes.*"]
        await apply(broker, "COUNTER_2", "--prune")
        assert await subjects(connection) == ["dishes.*"]


async def test_what_nobody_claims_stays(broker: Broker, connection: Connection) -> None:
    """A mesh of an older version has the intake; the app that comes first does not take its subjects."""
    await provision.apply(connection, await provision.plan(connection, topology(teams.KITCHEN)))
    await apply(broker, "COUNTER", "--prune")
    assert await subjects(connection) == ["calls.*", "dishes.*"]


async def test_a_mesh_of_an_older_version_is_carried_over(broker: Broker, connection: Connection) -> None:
    """Its streams, durables and contracts get an owner; messages and positions stay."""
    await provision.apply(connection, await provision.plan(connection, topology(teams.KITCHEN)))
    await connection.ask("dishes.ordered.d-1", b'{"dish_id": "d-1"}')
    before = await api.request(connection, "CONSUMER.INFO.KITCHEN.kitchen-cook")
    await apply(broker, "KITCHEN")
    after = await api.request(connection, "CONSUMER.INFO.KITCHEN.kitchen-cook")

    assert (before["created"], before["num_pending"]) == (after["created"], after["num_pending"])
    assert ownership.owner_of(before["config"]) is None
    assert ownership.owner_of(after["config"]) == ("kitchen", "kitchen")
    assert (await api.request(connection, "STREAM.INFO.KITCHEN"))["state"]["messages"] == 1
    assert await apply(broker, "KITCHEN") == await apply(broker, "KITCHEN")


class Grilled(teams.DishEvent, type="dishes.grilled", owner="grill"):
    """A dish of another team, with the kitchen's first word."""


class Rung(CallEvent, type="bells.rung", owner="kitchen"):
    """An event of another team's service that is called kitchen as well."""


class Dialled(CallEvent, type="phones.dialled", owner="phones"):
    """An event of an app that has the name of another one."""


def _one(event: type[Any], name: str) -> App:
    service = Service(event.owner)

    async def react(cooked: Cooked) -> Any:
        """A dish is cooked."""

    react.__annotations__["return"] = event
    service.on(react)
    return App((service,), name=name, version="1.0")


GRILL, BELLS, PHONES = _one(Grilled, "grill"), _one(Rung, "bells"), _one(Dialled, "kitchen")
SECOND = {
    "GRILL": (
        "refuse entity dishes: kitchen of the app kitchen 1.0 records its events, and grill of the app grill 1.0 would "
        "as well: begin the type with another word",
        "dishes.*.* is taken by the stream KITCHEN already, of the service kitchen of the app kitchen",
    ),
    "BELLS": (
        "refuse service kitchen: the app kitchen 1.0 has one of this name, and the app bells 1.0 would have a second: "
        "rename it",
        "KITCHEN: it belongs to the service kitchen of the app kitchen, and the service kitchen of the app bells would "
        "be a second owner: rename the service or the reaction (or `--take-over kitchen`",
    ),
    "PHONES": (
        "refuse app kitchen: an app of this name is deployed with the services kitchen, and none of them is here: name "
        "this one otherwise, App(services, name=…)",
    ),
}


@pytest.mark.parametrize("second", SECOND)
async def test_a_second_owner_is_refused_at_plan_with_both_names(
    broker: Broker, connection: Connection, second: str
) -> None:
    await apply(broker, "KITCHEN")
    before = (await api.request(connection, "STREAM.LIST"))["streams"]
    run = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"{__name__}:{second}"})
    planned = await asyncio.to_thread(run.invoke, commands, ["topology", "plan"])
    applied = await asyncio.to_thread(run.invoke, commands, ["topology", "apply"])

    assert (planned.exit_code, applied.exit_code) == (1, 3)
    for words in SECOND[second]:
        assert words in planned.output
        assert words.removeprefix("refuse ") in applied.output
    after = (await api.request(connection, "STREAM.LIST"))["streams"]
    assert [each["config"] for each in after] == [each["config"] for each in before]


RENAMED = teams.kitchen(name="canteen")


async def test_an_app_that_was_renamed_takes_over_what_it_owned(broker: Broker, connection: Connection) -> None:
    await apply(broker, "KITCHEN")
    run = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"{__name__}:RENAMED"})
    refused = await asyncio.to_thread(run.invoke, commands, ["topology", "apply"])
    assert "event dishes.cooked: the app kitchen owns it, and the app canteen would be a second owner" in refused.output
    done = await asyncio.to_thread(run.invoke, commands, ["topology", "apply", "--take-over", "kitchen"])

    assert done.exit_code == 0, done.output
    assert await everything_of(connection, "kitchen") == {
        name: config for name, config in (await everything_of(connection, "kitchen")).items() if "letters" in name
    }
    assert "KITCHEN/kitchen-cook" in await everything_of(connection, "canteen")
    assert (await deployed.fetch(connection)).keys() == {"canteen"}
    assert {entry.app for entry in (await registry.entries(connection)).values()} == {"canteen"}
    assert (await asyncio.to_thread(run.invoke, commands, ["topology", "plan"])).exit_code == 0


async def test_an_unknown_app_is_not_taken_over(broker: Broker, connection: Connection) -> None:
    await apply(broker, "KITCHEN")
    await apply(broker, "COUNTER")
    before = await everything_of(connection, "kitchen")
    run = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"{__name__}:RENAMED"})
    for command, status in (("plan", 1), ("apply", 3)):
        refused = await asyncio.to_thread(run.invoke, commands, ["topology", command, "--take-over", "kitchn"])
        assert refused.exit_code == status
        assert "--take-over kitchn: no app of this name is deployed (there are counter, kitchen)" in " ".join(
            refused.output.split()
        )
    assert await everything_of(connection, "kitchen") == before


async def test_the_registry_keeps_owner_app_version_and_readers(broker: Broker, connection: Connection) -> None:
    await apply(broker, "COUNTER")
    await apply(broker, "KITCHEN_2")
    assert {name: (e.contract.owner, e.app, e.version) for name, e in (await registry.entries(connection)).items()} == {
        "calls.asked": ("counter", "counter", "1.0"),
        "calls.called": ("counter", "counter", "1.0"),
        "dishes.burnt": ("kitchen", "kitchen", "2.0"),
        "dishes.cooked": ("kitchen", "kitchen", "2.0"),
        "dishes.ordered": ("kitchen", "kitchen", "2.0"),
    }
    listed = (await jetmesh(broker, "contracts", "deployed")).output
    assert "counter.call of the app" in listed


async def test_an_event_is_retired_once_nobody_records_or_reads_it(broker: Broker, connection: Connection) -> None:
    for app in ("KITCHEN", "COUNTER"):
        await apply(broker, app)

    async def retire(name: str, *more: str) -> Result:
        return await jetmesh(broker, "contracts", "retire", name, "--reason", "nobody eats it", *more)

    recorded = await retire("dishes.cooked", "--force")
    assert recorded.exit_code == 1
    assert "kitchen of the app kitchen 1.0 records dishes.cooked: first apply a version that" in recorded.output
    await deployed.write(
        connection, (await deployed.fetch(connection))["kitchen"].model_copy(update={"records": {}}), None
    )
    read = await retire("dishes.cooked")
    assert read.exit_code == 1
    assert "dishes.cooked is still read by counter.call of the app counter 1.0" in read.output
    forced = await retire("dishes.cooked", "--force")
    assert forced.output == "retired: dishes.cooked, although it is read by counter.call of the app counter 1.0\n"
    assert "dishes.cooked" not in await registry.fetch(connection)


async def test_a_downgrade_works_and_says_so_in_one_line(broker: Broker, connection: Connection) -> None:
    await apply(broker, "KITCHEN")
    await apply(broker, "KITCHEN_2")
    said = await apply(broker, "KITCHEN")
    assert [line for line in said.splitlines() if "downgrade" in line] == [
        "downgrade: the app kitchen 1.0 takes the place of 2.0; what that one added stays, and its types wait for it"
    ]
    assert "dishes.burnt" in await registry.fetch(connection)
    assert "downgrade" not in await apply(broker, "KITCHEN_2")


class Stale(Cooked, type="dishes.cooked"):
    """The kitchen's event as the counter knows it: with a field that the kitchen never writes."""

    plate: str


def _misread() -> App:
    service = Service("counter")

    @service.on
    async def call(cooked: Stale) -> Called:
        """A dish is cooked: call the guest."""
        return Called(dish_id=cooked.dish_id)

    return App((service,), name="counter", version="1.0")


MISREAD = _misread()


async def test_an_app_that_can_not_read_the_event_of_another_one_is_refused(broker: Broker) -> None:
    await apply(broker, "KITCHEN")
    run = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"{__name__}:MISREAD"})
    refused = await asyncio.to_thread(run.invoke, commands, ["topology", "apply"])
    assert refused.exit_code == 3
    assert "dishes.cooked plate: field-required" in refused.output


class Dishes(BaseModel):
    """What can be eaten now."""

    names: tuple[str, ...]


class DishesOf(Request[Dishes], type="menu.dishes_of", key_field="dish_id"):
    """What is like this dish?"""

    dish_id: str


class DishesAt(Request[Dishes], type="menu.dishes_of", key_field="dish_id"):
    """The same, of an endpoint that must know the hour."""

    dish_id: str
    hour: str


def _answering(asked: Any, *, answers: bool = True) -> App:
    service = Service("menu")

    @service.on
    async def strike(cooked: Cooked) -> None:
        """A dish is cooked: strike it out."""

    async def dishes_of(request: Any) -> Dishes:
        """Somebody asks: say what there is."""
        return Dishes(names=())

    dishes_of.__annotations__["request"] = asked
    if answers:
        service.endpoint(dishes_of)
    return App((*teams.kitchen(), service), name="kitchen", version="1.0")


def _asking(asked: Any) -> App:
    service = Service("counter", calls=[asked])

    @service.on
    async def call(cooked: Cooked) -> Called:
        """A dish is cooked: call the guest."""
        return Called(dish_id=cooked.dish_id)

    return App((service,), name="counter", version="1.0")


ANSWERING, ANSWERING_LATER, SILENT = _answering(DishesOf), _answering(DishesAt), _answering(DishesOf, answers=False)
ASKING = _asking(DishesOf)


async def test_a_request_is_a_contract_between_two_apps(broker: Broker, connection: Connection) -> None:
    async def run(app: str, *arguments: str) -> Result:
        runner = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"{__name__}:{app}"})
        return await asyncio.to_thread(runner.invoke, commands, arguments)

    for app in ("ANSWERING", "ASKING"):
        assert (await run(app, "topology", "apply")).exit_code == 0
    assert {
        name: (e.app, e.contract.part) for name, e in (await registry.entries(connection)).items() if e.contract.part
    } == {
        "menu.dishes_of.request": ("kitchen", "request"),
        "menu.dishes_of.response": ("kitchen", "response"),
    }
    narrower = await run("ANSWERING_LATER", "topology", "apply")
    assert (narrower.exit_code, "menu.dishes_of.request hour: field-required" in narrower.output) == (3, True)
    assert (await run("SILENT", "topology", "apply")).exit_code == 0
    retire = ("contracts", "retire", "menu.dishes_of.request", "--reason", "nobody answers it")
    kept = await run("SILENT", *retire)
    assert "is still asked by counter of the app counter 1.0" in kept.output
    assert (await run("ANSWERING", "topology", "apply")).exit_code == 0
    answered = await run("SILENT", *retire, "--force")
    assert "menu of the app kitchen 1.0 answers menu.dishes_of.request" in answered.output


async def test_an_app_that_asks_what_another_one_does_not_understand_is_refused(broker: Broker) -> None:
    for app, status, said in (("ANSWERING_LATER", 0, ""), ("ASKING", 3, "menu.dishes_of.request hour: field-removed")):
        runner = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"{__name__}:{app}"})
        done = await asyncio.to_thread(runner.invoke, commands, ["topology", "apply"])
        assert (done.exit_code, said in done.output) == (status, True), done.output


async def test_two_applies_at_once_lose_nothing_of_one_another(broker: Broker, connection: Connection) -> None:
    async def once(app: str) -> int:
        environment = {**os.environ, "NATS_URL": broker.url, "JETMESH_APP": f"{PLACE}:{app}"}
        command = (sys.executable, "-m", "jetmesh", "topology", "apply")
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        return await process.wait()

    assert await asyncio.gather(*(once(app) for app in ("KITCHEN", "COUNTER") * 2)) == [0] * 4
    assert await subjects(connection) == ["calls.*", "dishes.*"]
    assert (await deployed.fetch(connection)).keys() == {"counter", "kitchen"}


async def test_the_operators_of_each_app_see_their_own_dead_letters(broker: Broker, connection: Connection) -> None:
    for app in ("KITCHEN", "COUNTER"):
        await apply(broker, app)
    for whose in ("kitchen.cook", "counter.call"):
        await connection.ask(f"dead.{whose}.KITCHEN.1", b"{}")
    listed = json.loads((await jetmesh(broker, "dlq", "list", "--json", app="COUNTER")).output)
    assert [each["reaction"] for each in listed] == ["counter.call"]
    gone = await jetmesh(broker, "dlq", "discard", "--all", "--yes", app="KITCHEN")
    assert gone.exit_code == 0, gone.output
    assert (await api.request(connection, "CONSUMER.INFO.DEAD_LETTERS.letters-counter"))["num_pending"] == 1
    assert (await api.request(connection, "CONSUMER.INFO.DEAD_LETTERS.letters-kitchen"))["num_pending"] == 0


async def test_doctor_of_an_app_finds_nothing_wrong_with_what_another_one_reads(
    broker: Broker, connection: Connection
) -> None:
    for app in ("KITCHEN", "COUNTER"):
        await apply(broker, app)
    context = CheckContext(connection, teams.KITCHEN, Settings())
    found = [
        each for check in (diagnosis.streams, diagnosis.durables) for each in [each async for each in check(context)]
    ]
    assert [each for each in found if each.grade is Grade.WRONG] == []


async def test_the_books_of_an_app_have_what_it_was_asked_and_nothing_of_another_one(
    broker: Broker, connection: Connection, tmp_path: Path
) -> None:
    for app in ("KITCHEN", "COUNTER"):
        await apply(broker, app)
    for subject in ("dishes.ordered", "calls.asked"):
        await connection.ask(subject, b'{"dish_id": "d-1"}')
    async with connect(read(Settings, {"NATS_URL": broker.url}), providers.start("test", {}), "test") as context:
        books = await collect(context, teams.KITCHEN, tmp_path / "archive")
    assert [fact.subject for fact in books.intake] == ["dishes.ordered"]


async def test_the_durable_of_a_team_that_is_gone_is_removed_where_the_team_is_named(
    broker: Broker, connection: Connection
) -> None:
    """`consumers/guide.yaml` declared it, and is no more."""
    guide = OutsideUser("guide", (OutsideDurable("guide-taste", (Cooked,)),))
    whole = replace(topology(teams.KITCHEN, app="kitchen"), outside=tuple(durables_of(guide, {}, "kitchen")))
    await provision.apply(connection, await provision.plan(connection, whole))
    await apply(broker, "KITCHEN")
    place, removes = "KITCHEN/guide-taste", "jetmesh topology apply --prune --team guide"
    told = (await jetmesh(broker, "doctor")).output
    assert f"{place} is of guide, which consumers/guide.yaml declared, and no client pulls it" in " ".join(told.split())
    assert told.count("guide-taste") == 1
    assert f"no consumers/guide.yaml declares it; 0 wait, 0 are under way; nobody pulls it: `{removes}`" in await apply(
        broker, "KITCHEN", "--prune"
    )
    await apply(broker, "COUNTER", "--prune", "--team", "guide")
    assert place in await everything_of(connection, "kitchen"), "it is another app's"
    alone = await jetmesh(broker, "topology", "apply", "--team", "guide")
    assert (alone.exit_code, "--team says whose durables --prune removes as well: give both" in alone.output) == (
        2,
        True,
    )
    assert f"remove consumer {place}" in await apply(broker, "KITCHEN", *removes.split()[3:])
    assert place not in await everything_of(connection, "kitchen")
