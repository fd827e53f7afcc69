"""A service's own SQL database: what a delivery changes in it is changed once, and what it adds is published once.

`Inbox` keeps what a delivery led to together with the note that it was handled; `Outbox` keeps an event together with
what it is about, and publishes it afterwards; `Projection` is a read model whose next version is built beside
the one that is read. All on PostgreSQL and SQLite, over the drivers' own connections. `Warehouse` keeps every event
that a sink gets in DuckDB.
"""

from jetmesh.sql.database import NotInTransaction, TableMissing
from jetmesh.sql.files import Unusable, usable
from jetmesh.sql.inbox import Inbox
from jetmesh.sql.outbox import Outbox
from jetmesh.sql.postgres import Postgres
from jetmesh.sql.projection import Projection, ProjectionError
from jetmesh.sql.sqlite import SQLite
from jetmesh.sql.warehouse import Warehouse, WarehouseBusy

__all__ = [
    "Inbox",
    "NotInTransaction",
    "Outbox",
    "Postgres",
    "Projection",
    "ProjectionError",
    "SQLite",
    "TableMissing",
    "Unusable",
    "Warehouse",
    "WarehouseBusy",
    "usable",
]
