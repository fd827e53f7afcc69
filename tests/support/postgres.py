"""A real PostgreSQL server as a process of the tests, with a new database for each of them."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg
import pytest

from jetmesh.common.ports import free_port
from tests.support.waiting import wait_until

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"


def binary(name: str) -> str:
    """Where the program is, on PATH or in Debian's package. Without it the test is skipped; in CI it fails."""
    found = shutil.which(name) or next((str(path) for path in sorted(DEBIAN.glob(f"*/bin/{name}"))), "")
    if not found:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"no {name}: apt-get install postgresql")
    return found


class PostgresServer:
    """One server. It refuses to run as root, and then runs as the user of its package."""

    def __init__(self) -> None:
        self._programs = binary("initdb"), binary("postgres")
        self._user = USER if os.getuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="jetmesh-postgres-"))
        self._port, self._names = free_port(), itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._user:
            shutil.chown(self._folder, self._user)
        initdb, _ = self._programs
        self._run(initdb, "-D", str(self._data), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        _, postgres = self._programs
        given = ["-D", str(self._data), "-p", str(self._port), "-h", "127.0.0.1", "-k", str(self._folder), "-F"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([postgres, *given], stdout=log, stderr=log, user=self._user, cwd="/")
        wait_until(self._answers, "PostgreSQL answers")

    def kill(self) -> None:
        """End it as a crash does: SIGQUIT ends its children too, and nothing is flushed."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def new_database(self) -> str:
        """The URL of a new database."""
        name = f"test_{next(self._names)}"
        with psycopg.connect(self._url(USER), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url(USER)).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, user=self._user, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr
