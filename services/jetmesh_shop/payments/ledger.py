"""The sandbox bank's ledger: one SQLite file outside the service, shared by any number of processes."""

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jetmesh.sql import usable
from jetmesh_shop.payments.bank import Intent, Movement, Rule
from jetmesh_shop.payments.gateway import BankUnavailable

BUSY_TIMEOUT_SECONDS = 5.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS intents (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
    payment_method TEXT NOT NULL, failures INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS movements (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outage (since TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS movements_stay_unchanged BEFORE UPDATE ON movements
    BEGIN SELECT RAISE(ABORT, 'movements are append-only'); END;
CREATE TRIGGER IF NOT EXISTS movements_stay BEFORE DELETE ON movements
    BEGIN SELECT RAISE(ABORT, 'movements are append-only'); END;
"""


def connect(path: Path) -> sqlite3.Connection:
    """The ledger at `path`, made where there is none.

    Raises:
        Unusable: the file is damaged, or somebody else's.
    """
    with usable(path, "the bank's ledger", sqlite3.DatabaseError):
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
        # SQLite's switch to WAL waits for no other process: of several that start at once, one would fail.
        with path.with_name(f"{path.name}.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(SCHEMA)
        return db


def outage_since(db: sqlite3.Connection) -> str | None:
    """When the bank was closed for all; None: it is open."""
    row = db.execute("SELECT since FROM outage").fetchone()
    return None if row is None else str(row[0])


def begin_outage(path: Path) -> None:
    """Close the bank for every process that calls it, until `end_outage`."""
    with closing(connect(path)) as db:
        db.execute("INSERT INTO outage SELECT ? WHERE NOT EXISTS (SELECT 1 FROM outage)", (now(),))


def end_outage(path: Path) -> None:
    """Open the bank again."""
    with closing(connect(path)) as db:
        db.execute("DELETE FROM outage")


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


class Bank:
    """The bank's counter: carries out calls on the ledger, many in one transaction. For one thread at a time.

    A killed process loses nothing that was answered: the journal is flushed to the disk before (WAL,
    synchronous=FULL: 0.35 ms a transaction).
    """

    def __init__(self, path: Path) -> None:
        self._db = connect(path)

    def perform(self, calls: Sequence[tuple[str, Rule[Any]]]) -> list[Any]:
        """The answers to `calls`, in order, or exceptions, each effect stored; during an outage, no effect at all."""
        try:
            with self._db:
                # The write lock is taken first, so that what was read stays true until the end.
                self._db.execute("BEGIN IMMEDIATE")
                if outage_since(self._db) is not None:
                    return [BankUnavailable("the bank is closed: outage") for _ in calls]
                return [self._apply(key, rule, now()) for key, rule in calls]
        except sqlite3.OperationalError as error:
            return [BankUnavailable(f"the bank's ledger: {error}") for _ in calls]

    def close(self) -> None:
        """Close the ledger's file."""
        self._db.close()

    def _apply(self, key: str, rule: Rule[Any], at: str) -> Any:
        answer, intent, movement = rule(key, self._intent(key))
        if intent is not None:
            self._db.execute("REPLACE INTO intents VALUES (?, ?, ?, ?, ?, ?)", (key, *intent))
        if intent is not None and movement is not None:
            moved = (key, movement, intent.amount_minor, intent.currency, at)
            self._db.execute(
                "INSERT INTO movements (key, kind, amount_minor, currency, at) VALUES (?, ?, ?, ?, ?)", moved
            )
        return answer

    def _intent(self, key: str) -> Intent | None:
        row = self._db.execute(
            "SELECT state, amount_minor, currency, payment_method, failures FROM intents WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else Intent(*row)


class Moved(NamedTuple):
    """One movement of money; `at` is its time in UTC, ISO 8601."""

    kind: Movement
    amount_minor: int
    currency: str
    at: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What was moved in sum, for one key (`key`) or for all (`*`), in one currency; what was taken and is given back is
    let go."""

    key: str
    currency: str
    held_minor: int
    captured_minor: int
    released_minor: int
    holds: int
    captures: int
    releases: int

    @property
    def open_minor(self) -> int:
        """What is still held: neither captured nor released."""
        return self.held_minor - self.captured_minor - self.released_minor


BALANCES = """
SELECT {key}, currency,
    coalesce(sum(amount_minor) FILTER (WHERE kind = 'held'), 0),
    coalesce(sum(CASE kind WHEN 'captured' THEN amount_minor WHEN 'refunded' THEN -amount_minor END), 0),
    coalesce(sum(amount_minor) FILTER (WHERE kind IN ('released', 'refunded')), 0),
    count(*) FILTER (WHERE kind = 'held'),
    count(*) FILTER (WHERE kind = 'captured') - count(*) FILTER (WHERE kind = 'refunded'),
    count(*) FILTER (WHERE kind IN ('released', 'refunded'))
FROM movements GROUP BY 1, 2 ORDER BY 1, 2
"""


class Ledger:
    """The bank's books for an auditor: reads the journal alone, not what the bank remembers of a key. Raises Unusable
    where the file is damaged, or somebody else's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._usable():
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_SECONDS)

    def totals(self) -> list[Balance]:
        """What was moved in all, by currency."""
        with self._usable():
            return [Balance(*row) for row in self._db.execute(BALANCES.format(key="'*'"))]

    def balances(self) -> Iterator[Balance]:
        """What was moved, by key: more than one capture of a key is a double charge."""
        with self._usable():
            yield from (Balance(*row) for row in self._db.execute(BALANCES.format(key="key")))

    def movements(self) -> list[tuple[str, Movement]]:
        """The journal, oldest first: of which key the money was moved, and how."""
        return self._db.execute("SELECT key, kind FROM movements ORDER BY number").fetchall()

    def movements_of(self, key: str) -> list[Moved]:
        """What was moved under one key, oldest first."""
        query = "SELECT kind, amount_minor, currency, at FROM movements WHERE key = ? ORDER BY number"
        with self._usable():
            return [Moved(*row) for row in self._db.execute(query, (key,))]

    def outage_since(self) -> datetime | None:
        """Since when the bank is closed; None: it is open."""
        with self._usable():
            since = outage_since(self._db)
        return None if since is None else datetime.fromisoformat(since)

    def close(self) -> None:
        """Close the ledger's file."""
        self._db.close()

    def _usable(self) -> AbstractContextManager[None]:
        return usable(self._path, "the bank's ledger", sqlite3.DatabaseError)
