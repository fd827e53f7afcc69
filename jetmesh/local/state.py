"""The state folder of a mesh on one machine: its paths and its lock."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import BaseModel

from jetmesh.common.private_files import close
from jetmesh.local.lock import LockHeld, is_held, lock, write_pid
from jetmesh.settings import read

ARCHIVE = "JETMESH_ARCHIVE"


class Elsewhere(BaseModel):
    """Settings for paths outside the state folder."""

    archive: Path | None = None


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder and the paths in it; nothing is created before it is needed."""

    folder: Path

    @property
    def broker(self) -> Path:
        """The broker's store and configuration."""
        return self.folder / "nats"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.folder / "logs"

    @property
    def pids(self) -> Path:
        """One file per process, locked for as long as it lives."""
        return self.folder / "pids"

    @property
    def keys(self) -> Path:
        """The broker's users: a key for each service, for clients and for operators."""
        return self.folder / "keys"

    @property
    def archive(self) -> Path:
        """The archive: `JETMESH_ARCHIVE` if that is set."""
        return read(Elsewhere).archive or self.folder / "archive"

    @property
    def traces(self) -> Path:
        """The spans that are kept."""
        return self.folder / "traces.sqlite"

    @property
    def endpoints(self) -> Path:
        """The addresses of the running mesh."""
        return self.folder / "endpoints.json"

    @property
    def is_held(self) -> bool:
        """Whether a mesh runs on this folder. Only the lock shows it: a mesh that crashed leaves its files."""
        return is_held(self._lock)

    @contextmanager
    def held(self, stores: Iterable[Path] = ()) -> Iterator[None]:
        """Lock the folder for one mesh. `stores` are files that its services keep there: like all others, only their
        owner may read them.

        Raises:
            click.ClickException: another mesh runs on it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._close(stores)
        except OSError as error:
            advice = "name a folder of your own with --state"
            raise click.ClickException(f"{error.filename}: {error.strerror}; {advice}") from None
        try:
            file = lock(self._lock)
        except LockHeld as other:
            raise click.ClickException(
                f"a mesh runs in {self.folder} already (process {other}): stop it, or name another folder with --state"
            ) from None
        with file:
            write_pid(file, os.getpid())
            yield

    def _close(self, stores: Iterable[Path]) -> None:
        """Restrict files that an earlier version made readable for all. The folder itself may have other contents."""
        own = (self.broker, self.logs, self.pids, self.keys, self.archive, self.endpoints)
        stores = (*stores, self.traces)
        for path in (*own, *(beside for store in stores for beside in self.folder.glob(f"{store.name}*"))):
            close(path)

    @property
    def _lock(self) -> Path:
        return self.folder / "mesh.pid"
