"""The state folder of a mesh on one machine: what lies where, and which demo holds it."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from jetmesh.common.private_files import close

ARCHIVE = "JETMESH_ARCHIVE"


class Held(Exception):
    """Another process holds the file, and writes its id into it."""


@dataclass(frozen=True, slots=True)
class State:
    """The folder and the places in it; nothing is made before it is needed."""

    folder: Path

    @property
    def broker(self) -> Path:
        """What the broker keeps, and its configuration."""
        return self.folder / "nats"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.folder / "logs"

    @property
    def pids(self) -> Path:
        """One file a process, locked for as long as it lives."""
        return self.folder / "pids"

    @property
    def keys(self) -> Path:
        """The broker's users: a key for each service, for clients and for operators."""
        return self.folder / "keys"

    @property
    def bank(self) -> Path:
        """The sandbox bank's ledger."""
        return self.folder / "bank.sqlite"

    @property
    def mails(self) -> Path:
        """The mails that the sink took."""
        return self.folder / "mail.sqlite"

    @property
    def warehouse(self) -> Path:
        """What analytics keeps."""
        return self.folder / "analytics.duckdb"

    @property
    def archive(self) -> Path:
        """The stories that ended long ago: `JETMESH_ARCHIVE`, where that is set."""
        return Path(os.environ.get(ARCHIVE) or self.folder / "archive")

    @property
    def traces(self) -> Path:
        """The recent spans."""
        return self.folder / "traces.sqlite"

    @property
    def endpoints(self) -> Path:
        """Where a running demo is reached."""
        return self.folder / "endpoints.json"

    @property
    def is_held(self) -> bool:
        """Whether a demo runs on this folder; its files alone do not tell, since it may have crashed."""
        if not self._lock.exists():
            return False
        try:
            lock(self._lock).close()
        except Held:
            return True
        return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder, for one demo at a time.

        Raises:
            click.ClickException: another demo runs on it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._close()
        except OSError as error:
            advice = "name a folder of your own with --state"
            raise click.ClickException(f"{error.filename}: {error.strerror}; {advice}") from None
        try:
            file = lock(self._lock)
        except Held as other:
            raise click.ClickException(
                f"a demo runs in {self.folder} already (process {other}): stop it, or name another folder with --state"
            ) from None
        with file:
            write_pid(file, os.getpid())
            yield

    def _close(self) -> None:
        """What an earlier demo made for everybody to read. The folder itself may be somebody's who has more in it."""
        kept = (self.broker, self.logs, self.pids, self.keys, self.archive, self.endpoints)
        stores = (self.bank, self.mails, self.warehouse, self.traces)
        for path in (*kept, *(beside for store in stores for beside in self.folder.glob(f"{store.name}*"))):
            close(path)

    def secret(self) -> str:
        """The secret behind the tokens of the orders, made once, readable by its owner alone."""
        path = self.folder / "http.secret"
        if not path.exists() or not path.stat().st_size:  # a full disk leaves an empty one
            fresh = path.with_suffix(".tmp")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            fresh.replace(path)
        return path.read_text()

    @property
    def _lock(self) -> Path:
        return self.folder / "demo.pid"


def _state(_context: click.Context, _parameter: click.Parameter, folder: Path) -> State:
    if "\\" in str(folder.absolute()):
        raise click.BadParameter(f"{folder.absolute()} has a backslash, which DuckDB takes for a slash; name another")
    return State(folder)


option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=".jetmesh",
    envvar="JETMESH_STATE",
    show_default=True,
    callback=_state,
    help="The folder that holds everything of the mesh.",
)


archive_option = click.option(
    "--archive",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=ARCHIVE,
    help="The archive; else JETMESH_ARCHIVE, else `archive` in the state folder.",
)


def lock(path: Path) -> IO[Any]:
    """The file, locked until it is closed by everybody who inherited it.

    Raises:
        Held: by another process.
        click.ClickException: the file is another user's.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        advice = f"{path.parent} is another user's: name a folder of your own with --state"
        raise click.ClickException(f"{path}: {error.strerror}; {advice}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise Held(holder) from None
    return file


def write_pid(file: IO[Any], pid: int) -> None:
    """Say in a locked file who holds it."""
    file.truncate(0)
    file.write(str(pid))
    file.flush()
