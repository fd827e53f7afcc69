"""A read model with a name and versions: the next version is built beside the one that is read, and then takes over.

Each version has tables of its own and is fed by a reaction of its own, whose durable begins at the beginning of the
streams. One row says which version is read; it changes in one transaction, once the next version has caught up.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, NamedTuple

from jetmesh.common.tasks import cancelled
from jetmesh.common.throttled_log import Conditions
from jetmesh.jetstream import api
from jetmesh.middleware import Delivery
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.sql.database import Connection_co, Database, naming, stamp, written
from jetmesh.sql.inbox import once
from jetmesh.sql.tables import PROJECTION_VERSIONS, PROJECTIONS
from jetmesh.topology.streams import Consumer, consumers_of

log = logging.getLogger("jetmesh")

NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
VERSION_MAX = 9_999
BUILDING, BUILT, DROPPED = "building", "built", "dropped"

VERSIONS = f"SELECT version, reaction, tables, state, began_at, built_at FROM {PROJECTION_VERSIONS.name} WHERE name = ?"
STATE = f"SELECT state FROM {PROJECTION_VERSIONS.name} WHERE name = ? AND version = ?"
BEGIN = f"INSERT INTO {PROJECTION_VERSIONS.name} VALUES (?, ?, '', ?, '{BUILDING}', ?, '') ON CONFLICT DO NOTHING"
FEED = f"UPDATE {PROJECTION_VERSIONS.name} SET reaction = ? WHERE name = ? AND version = ?"
DONE = f"UPDATE {PROJECTION_VERSIONS.name} SET state = '{BUILT}', built_at = ? WHERE name = ? AND version = ?"
GONE = f"UPDATE {PROJECTION_VERSIONS.name} SET state = '{DROPPED}' WHERE name = ? AND version = ?"
READ = f"SELECT version FROM {PROJECTIONS.name} WHERE name = ?"
FIRST = f"INSERT INTO {PROJECTIONS.name} VALUES (?, ?) ON CONFLICT DO NOTHING"
SWITCH = f"UPDATE {PROJECTIONS.name} SET version = ? WHERE name = ? AND version < ?"
NAMES = f"SELECT name FROM {PROJECTIONS.name} ORDER BY name"
FORGET = "DELETE FROM jetmesh_inbox WHERE reaction = ?"


class ProjectionError(RuntimeError):
    """A projection can't be made, fed or dropped as asked; the text says why, and what to do."""


class ProjectionVersion(NamedTuple):
    """A version of a projection in a database."""

    version: int
    reaction: str
    """What feeds it: `accounts.balances_2`."""
    tables: Sequence[str]
    state: str
    """`building`, `built` or `dropped`."""
    began_at: str
    built_at: str
    is_read: bool


class Projection(Generic[Connection_co]):
    """One version of a read model: its tables, how they are fed, and which version is read.

    `tables` are the columns of each table, by its name: `{"balances": "account_id text PRIMARY KEY, cents bigint"}`.
    """

    def __init__(
        self, database: Database[Connection_co], name: str, *, version: int, tables: Mapping[str, str]
    ) -> None:
        for what, each in (("name", name), *(("tables", table) for table in tables)):
            if not NAME.fullmatch(each):
                raise ValueError(f"Projection({what}={each!r}): small letters, digits and _, 30 at most")
        if not 1 <= version <= VERSION_MAX:
            raise ValueError(f"Projection({name!r}, version={version}): 1 to {VERSION_MAX}")
        if not tables:
            raise ValueError(f"Projection({name!r}, tables={{}}): name at least one table, with its columns")
        self._database, self.name, self.version, self._tables = database, name, version, tables

    def table(self, name: str, version: int = 0) -> str:
        """What a table is called in the database, of this version or of another one: `balances_v2`."""
        if name not in self._tables and version in (0, self.version):
            raise LookupError(f"the projection {self.name} has no table {name!r}; there are {', '.join(self._tables)}")
        return f"{name}_v{version or self.version}"

    async def create(self) -> None:
        """Make the tables of this version, and note that it is being built, where that is not done. The first version
        of a projection is read from the start.

        Raises:
            TableMissing: the database has no table `jetmesh_projections`.
            ProjectionError: this version was dropped.
        """
        names = " ".join(self.table(each) for each in self._tables)
        async with self._database.making() as connection:
            await self._run(connection, BEGIN, self.name, self.version, names, stamp())
            if await self._is_dropped(connection):
                raise ProjectionError(
                    f"the version {self.version} of the projection {self.name} was dropped: declare a later one"
                )
            for name, columns in self._tables.items():
                await self._run(connection, f"CREATE TABLE IF NOT EXISTS {self.table(name)} (\n  {columns}\n)")
            await self._run(connection, FIRST, self.name, self.version)

    @asynccontextmanager
    async def transaction(self, delivery: Delivery) -> AsyncIterator[Connection_co | None]:
        """A connection in a transaction that feeds this version with a delivery, once; None: it has it already, or was
        dropped, and there is nothing to do."""
        async with once(self._database, _note(self.name, self.version), delivery) as connection:
            yield None if connection is None or await self._is_dropped(connection) else connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[tuple[Connection_co, int]]:
        """A connection in a transaction, and the version to read in it: the one that is read, and never a later one
        than this process knows."""
        async with self._database.transaction() as connection:
            rows = await self._run(connection, READ, self.name)
            yield connection, min([self.version, *(int(row[0]) for row in rows)])

    @asynccontextmanager
    async def taking_over(
        self, context: Context, service: Service, reaction: Callable[..., Any], *, poll_seconds: float = 1.0
    ) -> AsyncIterator[None]:
        """Let this version be read once the reaction that feeds it has handled everything that there was, by a task
        that runs until the end of the block. Any number of processes may.

        Raises:
            ProjectionError: the reaction does not read from the beginning, or feeds another version.
        """
        durables = self._durables(context, service, reaction)
        await self._feed(f"{service.name}.{reaction.__name__}")
        name = f"projection {self.name} {self.version}"
        task = asyncio.create_task(self._take_over_when_built(context, durables, poll_seconds), name=name)
        try:
            yield
        finally:
            await cancelled(task)

    def _durables(self, context: Context, service: Service, reaction: Callable[..., Any]) -> list[Consumer]:
        name = reaction.__name__
        declared = next((each for each in service.reactions if each.name == name), None)
        if declared is None:
            raise ProjectionError(f"{service.name} has no reaction {name}, which shall feed {self}")
        if declared.since != "beginning":
            raise ProjectionError(
                f"{service.name}.{name} feeds {self}, and does not say that it reads everything: declare it with "
                f'`@{service.name}.on(since="beginning")`'
            )
        split = context.settings.split
        return [each for each in consumers_of(service, [service], split=split) if each.reaction == name]

    async def _feed(self, reaction: str) -> None:
        async with self._database.making() as connection:
            for other in await _versions(self._database, connection, self.name):
                if other.reaction == reaction and other.version != self.version:
                    raise ProjectionError(
                        f"{reaction} fed version {other.version} of the projection {self.name}, and its durable does "
                        f"not begin anew: give the reaction that feeds version {self.version} a name of its own"
                    )
            await self._run(connection, FEED, reaction, self.name, self.version)

    async def _take_over_when_built(self, context: Context, durables: Sequence[Consumer], poll_seconds: float) -> None:
        """Whatever is down meanwhile, the broker or the database."""
        behind, conditions = {durable: CatchingUp() for durable in durables}, Conditions(log)
        while True:
            try:
                if await _have_caught_up(context, behind):
                    await self.take_over()
                    return
                conditions.over()
            except Exception as trouble:  # of the broker, or of the database in the words of its driver
                conditions.log(type(trouble).__qualname__, logging.ERROR, "%s waits to be read: %s", self, trouble)
            await asyncio.sleep(poll_seconds)

    async def take_over(self) -> bool:
        """Let this version be read from now on, whether it has caught up or not; false where it is read already, or a
        later one."""
        async with self._database.transaction() as connection:
            await self._run(connection, DONE, stamp(), self.name, self.version)
            before = await self._run(connection, READ, self.name)
            await self._run(connection, SWITCH, self.version, self.name, self.version)
        is_new = bool(before) and before[0][0] < self.version
        if is_new:
            log.info("%s is read from now on, in the place of version %d", self, before[0][0])
        return is_new

    async def _is_dropped(self, connection: Any) -> bool:
        return (DROPPED,) in await self._run(connection, STATE, self.name, self.version)

    async def _run(self, connection: Any, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return await _run(self._database, connection, query, *parameters)

    def __str__(self) -> str:
        return f"version {self.version} of the projection {self.name}"


class CatchingUp:
    """Whether a durable has handled what there was when nothing was left to be delivered; what comes meanwhile does not
    count, or a busy stream would never let it catch up."""

    def __init__(self) -> None:
        self._target: int | None = None

    def is_done(self, info: Any) -> bool:
        """By what the broker says of the durable now; None where there is none yet."""
        if info is None:
            return False
        if self._target is None and info["num_pending"] == 0:
            self._target = info["delivered"]["stream_seq"]
        reached = info["num_ack_pending"] == 0 or info["ack_floor"]["stream_seq"] >= (self._target or 0)
        return self._target is not None and reached


async def _have_caught_up(context: Context, behind: "dict[Consumer, CatchingUp]") -> bool:
    """Whether none of the durables is behind any more; those that are not are left out."""
    for durable, progress in list(behind.items()):
        place = f"{durable.stream}.{durable.durable}"
        if progress.is_done(await api.request(context.connection, f"CONSUMER.INFO.{place}")):
            del behind[durable]
    return not behind


async def projections(database: Database[Any]) -> Mapping[str, Sequence[ProjectionVersion]]:
    """The versions of each projection in a database, oldest first."""
    async with database.transaction() as connection:
        names = [str(row[0]) for row in await _run(database, connection, NAMES)]
        return {name: await _versions(database, connection, name) for name in names}


async def drop_version(database: Database[Any], name: str, version: int) -> Sequence[str]:
    """Remove the tables of a version, and the notes of what it was fed with; the names of the tables.

    Raises:
        ProjectionError: it is the one that is read, or there is none.
    """
    async with database.making() as connection:
        known = {each.version: each for each in await _versions(database, connection, name)}
        found = known.get(version)
        if found is None or found.state == DROPPED:
            there = ", ".join(str(each.version) for each in known.values() if each.state != DROPPED)
            raise ProjectionError(f"the projection {name} has no version {version}; there are {there or 'none'}")
        if found.is_read:
            raise ProjectionError(
                f"version {version} of the projection {name} is read: let a later one take over first"
            )
        for table in found.tables:
            await _run(database, connection, f"DROP TABLE IF EXISTS {table}")
        await _run(database, connection, FORGET, _note(name, version))
        await _run(database, connection, GONE, name, version)
    return found.tables


def _note(name: str, version: int) -> str:
    """What the inbox calls the reaction that feeds a version; no reaction has a space in its name."""
    return f"projection {name} {version}"


async def _versions(database: Database[Any], connection: Any, name: str) -> list[ProjectionVersion]:
    read = await _run(database, connection, READ, name)
    rows = sorted(await _run(database, connection, VERSIONS, name))
    return [
        ProjectionVersion(version, reaction, tables.split(), state, began_at, built_at, (version,) in read)
        for version, reaction, tables, state, began_at, built_at in rows
    ]


async def _run(database: Database[Any], connection: Any, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run a statement; its rows."""
    with naming(database, PROJECTIONS):
        if parameters:
            cursor = await connection.execute(written(query, database.placeholder), parameters)
        else:
            cursor = await connection.execute(query)
        return [tuple(row) for row in await cursor.fetchall()] if cursor.description else []
