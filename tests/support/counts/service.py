"""Jobs are counted by their first letter in a read model; its second version also keeps the last one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jetmesh import Delivery, Service
from jetmesh.sql import Projection
from tests.support.jobs import Asked, desk

COUNT = "INSERT INTO {0} VALUES ('{1}', 1) ON CONFLICT (letter) DO UPDATE SET jobs = {0}.jobs + 1"
KEEP = "INSERT INTO {0} VALUES ('{1}', 1, '{2}') ON CONFLICT (letter) DO UPDATE SET jobs = {0}.jobs + 1, last = '{2}'"
TABLES: Mapping[int, Mapping[str, str]] = {
    1: {"counts": "letter text PRIMARY KEY, jobs int NOT NULL"},
    2: {"counts": "letter text PRIMARY KEY, jobs int NOT NULL, last text NOT NULL"},
}


@dataclass(frozen=True)
class Counts:
    """What the service needs: the read model, by version."""

    of: Mapping[int, Projection[Any]]
    reached: Callable[[str], None] = lambda line: None
    """Told which line was reached: the process may die there."""


async def count_1(asked: Asked, delivery: Delivery, deps: Counts) -> None:
    """A job was asked for: count it."""
    async with deps.of[1].transaction(delivery) as transaction:
        if transaction:
            await transaction.execute(COUNT.format(deps.of[1].table("counts"), asked.job_id[0]))


async def count_2(asked: Asked, delivery: Delivery, deps: Counts) -> None:
    """A job was asked for: count it, and keep it as the last one."""
    async with deps.of[2].transaction(delivery) as transaction:
        if transaction:
            await transaction.execute(KEEP.format(deps.of[2].table("counts"), asked.job_id[0], asked.job_id))
            deps.reached("written")
    deps.reached("committed")


def counting(*versions: int) -> Service:
    """The service that feeds these versions."""
    service = Service("counts", Counts)
    for version in versions:
        service.on(since="beginning")({1: count_1, 2: count_2}[version])
    return service


counts = counting(1, 2)
SERVICES = (desk(), counts)
APP = "tests.support.counts.service:SERVICES"
