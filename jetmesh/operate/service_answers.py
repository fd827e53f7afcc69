"""The answers of services on the broker. A message of another form is ignored: any client could send it."""

import asyncio
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from jetmesh.jetstream.status import Status
from jetmesh.jetstream.transport import Transport, answer_inbox

ANSWERS_SECONDS = 0.4
"""How long to collect answers: the number of instances is unknown."""

Model = TypeVar("Model", bound=BaseModel)


class Answer(BaseModel):
    """A part of an answer; further fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class EndpointStats(Answer):
    """The statistics of one endpoint in `$SRV.STATS`."""

    name: str = ""
    data: Any = None


class Stats(Answer):
    """The answer of one instance to `$SRV.STATS`."""

    id: str = ""
    endpoints: tuple[EndpointStats, ...] | None = None


class ReactionReport(Answer):
    """What a reaction did in the last minute, in one process."""

    attempts_per_second: float = 0
    failed_per_second: float = 0
    outcomes: dict[str, int] = {}
    p50_ms: float = 0
    p95_ms: float = 0
    breaker: Literal["closed", "open", "half-open"] = "closed"
    limit_waiting: int = 0
    limit_opens_in_seconds: float = 0


class BreakerReport(Answer):
    """The circuit breaker of something that a service needs."""

    state: str
    reason: str = ""


class ServiceReport(Answer):
    """The report of a service in one process (`jetmesh.process.gauges.report`)."""

    reactions: dict[str, ReactionReport]
    breakers: dict[str, BreakerReport] = {}


class ServiceReadiness(Answer):
    """Whether a service is ready, and why not."""

    ready: bool
    reason: str = ""
    notes: dict[str, str] = {}
    remarks: dict[str, str] = {}


class ServerVariables(Answer):
    """The parts of a server's `/varz` that are read."""

    jetstream: dict[str, Any] = {}


class ServerHealth(Answer):
    """Whether a server is healthy (`/healthz`), and why not."""

    status: str = ""
    error: str = ""


async def ask_everybody(
    connection: Transport, subject: str, form: type[Model], seconds: float = ANSWERS_SECONDS
) -> list[Model]:
    """All answers of this form to one request within `seconds`."""
    answers: list[Model] = []

    def on_frame(_subject: str, _reply: str, headers: bytes, data: bytes) -> None:
        if data and Status.of(headers) is None and (answer := read(form, data)):
            answers.append(answer)

    async with answer_inbox(connection, on_frame) as inbox:
        connection.send(subject, b"", reply=inbox)
        await asyncio.sleep(seconds)
    return answers


def read(form: type[Model], data: bytes | Any) -> Model | None:
    """The answer in JSON or in parsed JSON; None if it has another form."""
    try:
        return form.model_validate_json(data) if isinstance(data, bytes) else form.model_validate(data)
    except ValidationError:
        return None
