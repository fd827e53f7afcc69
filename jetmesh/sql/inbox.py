"""What a delivery changes in a database, once: the note that it was handled is committed together with the change."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Generic

from jetmesh.jetstream.headers import CloudEvents
from jetmesh.middleware import Delivery
from jetmesh.sql.database import Connection_co, Database, naming, stamp, written
from jetmesh.sql.tables import INBOX

KEEP = f"INSERT INTO {INBOX.name} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
FORGET = f"DELETE FROM {INBOX.name} WHERE kept_at < ?"


class Inbox(Generic[Connection_co]):
    """Handles each delivery once, however often it comes, in the transactions of one database."""

    def __init__(self, database: Database[Connection_co]) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self, delivery: Delivery, *, name: str = "") -> AsyncIterator[Connection_co | None]:
        """A connection in a transaction that is committed at the end of the block; None: this reaction has handled the
        delivery before, and there is nothing to do. What the block raises rolls it back, and the delivery comes again.

        A delivery is known by the id and source of its event, which it keeps when it is delivered again, replayed, or
        read from a restored stream. `name` is what its reaction is called here: a renamed one gives its old name.

        Raises:
            TableMissing: the database has no table `jetmesh_inbox`.
        """
        reaction = f"{delivery.service}.{name or delivery.reaction}"
        async with once(self._database, reaction, delivery) as connection:
            yield connection

    async def forget(self, older_than: timedelta) -> int:
        """Remove the notes of deliveries that were handled so long ago, and return how many. One that is delivered
        again afterwards is handled again: keep them for as long as the events are delivered."""
        async with self._database.transaction() as connection:
            with naming(self._database, INBOX):
                until = stamp(older_than)
                cursor = await connection.execute(written(FORGET, self._database.placeholder), (until,))
            return int(cursor.rowcount)


@asynccontextmanager
async def once(
    database: Database[Connection_co], reaction: str, delivery: Delivery
) -> AsyncIterator[Connection_co | None]:
    """A connection in a transaction that notes the delivery under this name; None where it was noted before."""
    place = delivery.headers.get(CloudEvents.SOURCE, ""), delivery.id, delivery.stream, delivery.sequence
    async with database.transaction() as connection:
        with naming(database, INBOX):
            cursor = await connection.execute(written(KEEP, database.placeholder), (reaction, *place, stamp()))
        yield connection if cursor.rowcount == 1 else None
