"""Requests and responses: typed on both sides, problems as documents, part of one trace."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, use_span
from pydantic import BaseModel

import jetmesh
from jetmesh import DeclarationError, Problem, Request, Service, Unavailable
from jetmesh.app import App
from jetmesh.jetstream.limits import PAYLOAD_BYTES_MAX
from jetmesh.problem import MEDIA_TYPE
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh.topology import accounts, nkeys
from tests.support.jobs import Asked, Finished, Work
from tests.support.programs import program, run
from tests.support.questions import JobState, StateOf, telling_states

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALLING = NonRecordingSpan(parse_traceparent(CALLER) or INVALID_SPAN_CONTEXT)


class Odd(Request[JobState], type="work.odd"):
    """Something goes wrong, as asked."""

    how: str


class Nobody(Request[JobState], type="nobody.here"):
    """What no service answers."""


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "untitled": lambda: Problem(404, ""),
    "unwritable": lambda: Problem(409, "Not so", at=datetime.now(UTC)),
    "large problem": lambda: Problem(409, "Not so", "x" * PAYLOAD_BYTES_MAX),
    "no status": lambda: Problem(200, "Well done"),
}
"""What can't be told as it is."""


def answering() -> Service:
    """The service that finishes jobs, and says how far they are."""
    service = telling_states()

    @service.endpoint
    async def odd(request: Odd) -> JobState:
        """Fail in the way that is asked for."""
        match request.how:
            case "away":
                raise Unavailable("the store is away")
            case "late":
                await asyncio.sleep(3600)
            case "wrong":
                return JobState.model_construct(job_id="a b", finished=True)
            case "exit":
                sys.exit(3)
            case "large":
                return JobState(job_id="j-1", finished=True, trace_id="x" * PAYLOAD_BYTES_MAX)
        if make := PROBLEMS.get(request.how):
            raise make()
        raise ZeroDivisionError("a secret")

    return service


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    """It, with one job done."""
    mesh = await mesh_of(answering())
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    return mesh


@asynccontextmanager
async def asking(mesh: LocalMesh) -> AsyncIterator[jetmesh.Mesh]:
    """A program that is no service."""
    async with jetmesh.connect(mesh.settings.nats_url) as program:
        yield program


async def test_a_request_is_answered_from_the_services_own_story_in_the_callers_trace(mesh: LocalMesh) -> None:
    async with asking(mesh) as program:
        with use_span(CALLING):
            state = await program.request(StateOf(job_id="j-1"))
    assert state == JobState(job_id="j-1", finished=True, trace_id=CALLER[3:35])


async def test_a_problem_is_the_same_on_both_sides(mesh: LocalMesh) -> None:
    async with asking(mesh) as program:
        with pytest.raises(Problem) as found:
            await program.request(StateOf(job_id="j-2"))
    problem = found.value
    assert (problem.status, problem.title, problem.detail) == (404, "There is no such job", "Nobody asked for j-2.")
    assert problem.members == {"job_id": "j-2"}


@pytest.mark.parametrize(
    ("how", "status", "title"),
    [
        ("broken", 500, "The service failed"),
        ("wrong", 500, "The service failed"),
        ("exit", 500, "The service failed"),
        ("large", 500, "The service failed"),
        ("unwritable", 500, "The service failed"),
        ("large problem", 500, "The service failed"),
        ("no status", 500, "The service failed"),
    ],
)
async def test_an_error_of_the_service_tells_nothing_of_the_inside(
    mesh: LocalMesh, how: str, status: int, title: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(mesh) as program:
        with pytest.raises(Problem) as found:
            await program.request(Odd(how=how))
    assert (found.value.status, found.value.title) == (status, title)
    assert "secret" not in str(found.value)
    assert "work.odd: a request failed" in caplog.text


async def test_a_problem_without_a_title_is_a_problem(mesh: LocalMesh) -> None:
    async with asking(mesh) as program:
        with pytest.raises(Problem) as found:
            await program.request(Odd(how="untitled"))
    assert (found.value.status, found.value.title) == (404, "Not Found")


async def test_who_can_not_be_asked_now_is_unavailable(mesh: LocalMesh) -> None:
    async with asking(mesh) as program:
        with pytest.raises(Unavailable, match=r"work\.odd: the store is away"):
            await program.request(Odd(how="away"))
        with pytest.raises(Unavailable, match=r"work did not answer work\.odd within 0\.1 s"):
            await program.request(Odd(how="late"), timeout_seconds=0.1)
        with pytest.raises(Unavailable, match=r"nobody answers nobody\.here: .*`calls=\[Nobody\]`"):
            await program.request(Nobody())


async def test_a_request_that_breaks_its_contract_names_each_field(mesh: LocalMesh) -> None:
    wrong: dict[str, Any] = {"job_id": "a b"}
    async with asking(mesh) as program:
        with pytest.raises(Problem, match=r"422 The request breaks its contract: job_id: String should match") as found:
            await program.request(StateOf.model_construct(**wrong))
        with pytest.raises(TypeError, match="is no request: send an instance"):
            await program.request(Asked(job_id="j-1"))  # type: ignore[arg-type]
    assert found.value.members["errors"][0]["pointer"] == "#/job_id"


async def test_many_are_answered_at_once(mesh: LocalMesh) -> None:
    async with asking(mesh) as program, asyncio.timeout(10):
        waiting = [asyncio.ensure_future(program.request(Odd(how="late"), timeout_seconds=60)) for _ in range(8)]
        states = await asyncio.gather(*(program.request(StateOf(job_id="j-1")) for _ in range(200)))
        for one in waiting:
            one.cancel()
    assert all(state.finished for state in states)


async def test_the_real_client_sees_the_schemas_and_the_problem(mesh: LocalMesh) -> None:
    nats = [program("nats"), "--server", mesh.settings.nats_url]
    told = json.loads(await asyncio.to_thread(run, *nats, "micro", "info", "work", "--json"))
    about = {endpoint["name"]: endpoint["metadata"] for endpoint in told["info"]["endpoints"]}
    assert about["state_of"]["description"] == "Say whether a job is done."
    assert json.loads(about["state_of"]["request_schema"])["required"] == ["job_id"]
    assert "finished" in json.loads(about["state_of"]["response_schema"])["properties"]
    answer = await asyncio.to_thread(run, *nats, "request", "jetmesh.work.state_of", '{"job_id": "j-2"}')
    assert "Nats-Service-Error-Code: 404" in answer
    assert MEDIA_TYPE in answer
    assert '"title": "There is no such job"' in answer


class Other(BaseModel):
    """Another response."""


async def no_request(request: Asked) -> JobState:
    raise NotImplementedError


async def other_response(request: StateOf) -> Other:
    raise NotImplementedError


async def other_service(request: Nobody) -> JobState:
    raise NotImplementedError


async def no_key(request: Odd, story: Work) -> JobState:
    raise NotImplementedError


class Loose(Request[JobState], type="work.loose", key_field="job_id"):
    """A question whose key may be anything."""

    job_id: str


async def loose_key(request: Loose, story: Work) -> JobState:
    raise NotImplementedError


async def unknown(request: StateOf, something: int) -> JobState:
    raise NotImplementedError


def not_async(request: StateOf) -> JobState:
    raise NotImplementedError


WRONG = {
    no_request: r"^work\.no_request takes .*Asked.*, which is no request; let its first parameter be a `jetmesh",
    other_response: r"does not return the response of StateOf; annotate `-> JobState`, and raise `jetmesh\.Problem`",
    other_service: r"answers Nobody, whose type is 'nobody\.here'; declare `type=\"work\.other_service\"` on its class",
    no_key: r"reads a story, but Odd names no key; declare `key_field",
    loose_key: r"reads the story of Loose\.job_id, which may be a pattern such as `\*`; let the field be a Token",
    unknown: r"has a parameter `something: <class 'int'>` that the runtime can't fill",
    not_async: r"is not an async function; write `async def`",
}


@pytest.mark.parametrize("function", WRONG, ids=lambda function: function.__name__)
def test_what_is_declared_wrongly_names_the_function_and_the_fix(function: Any) -> None:
    with pytest.raises(DeclarationError, match=WRONG[function]):
        Service("work").endpoint(function)


def test_two_endpoints_have_two_names() -> None:
    service = answering()
    with pytest.raises(DeclarationError, match="an endpoint named state_of is there already"):

        @service.endpoint
        async def again(request: StateOf) -> JobState:
            raise NotImplementedError


CALLER_SERVICE = Service("caller", calls=[StateOf])
STRANGER = Service("stranger")


@CALLER_SERVICE.on
async def mind(asked: Asked) -> None:
    """Nothing."""


@STRANGER.on
async def stare(asked: Asked) -> None:
    """Nothing."""


@pytest.fixture(params=["", "acme"], ids=["alone", "tenant"])
def guarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[tuple[LocalMesh, Path]]:
    """A broker with an account for each service, and where their keys are."""
    services, keys, tenant = (answering(), CALLER_SERVICE, STRANGER), tmp_path / "keys", str(request.param)
    config = tmp_path / "nats-server.conf"
    part = accounts.part_of("", services, nkeys.ensure(keys, nkeys.users(services)))
    config.write_text(accounts.merged([accounts.under_prefix(part, tenant, services)]))
    monkeypatch.setenv("JETMESH_TENANT", tenant)
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        operator = {"NATS_URL": server.url, "JETMESH_NATS_NKEY_SEED": str(keys / "operator.nk")}
        operator |= {"JETMESH_TENANT": tenant}
        yield LocalMesh(App(services), [], operator), keys


async def test_with_accounts_only_declared_callers_may_ask(
    guarded: tuple[LocalMesh, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    local, keys = guarded
    monkeypatch.setenv("JETMESH_NATS_API_PREFIX", accounts.API_PREFIX)
    async with local:
        await local.start(
            local.services[0],
            JETMESH_NATS_NKEY_SEED=str(keys / "work.nk"),
            JETMESH_NATS_MICRO_NKEY_SEED=str(keys / "work-micro.nk"),
            JETMESH_NATS_API_PREFIX=accounts.API_PREFIX,
        )
        await local.record(Asked(job_id="j-1"))
        await local.recorded(Finished, "j-1")
        url = local.settings.nats_url
        async with jetmesh.connect(url, nkey_seed=keys / "caller.nk") as caller:
            assert (await caller.request(StateOf(job_id="j-1"))).finished
            with pytest.raises(Unavailable):
                await caller.request(Odd(how="away"), timeout_seconds=1)
        async with jetmesh.connect(url, nkey_seed=keys / "stranger.nk") as stranger:
            with pytest.raises(Unavailable):
                await stranger.request(StateOf(job_id="j-1"), timeout_seconds=1)
