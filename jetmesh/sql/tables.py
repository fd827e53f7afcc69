"""The tables of `jetmesh.sql`, for any database: a migration may make them as well as `create_tables`."""

from collections.abc import Mapping
from typing import NamedTuple


class Table(NamedTuple):
    """A table: its name, and its columns with types that each database names in its own way."""

    name: str
    columns: str


INBOX = Table(
    "jetmesh_inbox",
    """reaction text NOT NULL,
  source text NOT NULL,
  id text NOT NULL,
  stream text NOT NULL,
  sequence bigint NOT NULL,
  kept_at {time} NOT NULL,
  PRIMARY KEY (reaction, source, id)""",
)
OUTBOX = Table(
    "jetmesh_outbox",
    """number {number},
  id text NOT NULL UNIQUE,
  kind text NOT NULL,
  type text NOT NULL,
  key text NOT NULL,
  stream text NOT NULL,
  subject text NOT NULL,
  headers text NOT NULL,
  body {bytes} NOT NULL,
  traceparent text NOT NULL,
  tracestate text NOT NULL,
  refused text""",
)
PROJECTIONS = Table(
    "jetmesh_projections",
    """name text PRIMARY KEY,
  version integer NOT NULL""",
)
"""Which version of each projection is read."""
PROJECTION_VERSIONS = Table(
    "jetmesh_projection_versions",
    """name text NOT NULL,
  version integer NOT NULL,
  reaction text NOT NULL,
  tables text NOT NULL,
  state text NOT NULL,
  began_at {time} NOT NULL,
  built_at {time} NOT NULL,
  PRIMARY KEY (name, version)""",
)
TABLES = (INBOX, OUTBOX, PROJECTIONS, PROJECTION_VERSIONS)


def statement(table: Table, types: Mapping[str, str]) -> str:
    """The statement that makes a table where it is not there."""
    return f"CREATE TABLE IF NOT EXISTS {table.name} (\n  {table.columns.format(**types)}\n)"
