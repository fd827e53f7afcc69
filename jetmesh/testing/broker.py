"""The real nats-server as a process of a test, with a free port and a store; a test may kill and restart it."""

import re
import subprocess
import time
from pathlib import Path
from typing import Self

from jetmesh.local.broker import nats_server_binary

START_TIMEOUT_SECONDS = 20.0
LISTENING = re.compile(r"Listening for client connections on \S+:(\d+)")
READY = "Server is ready"


class Broker:
    """One nats-server with JetStream. `with Broker(folder) as broker` starts and stops it.

    The first start chooses a free port; port and store then stay the same, so that to clients `restart` is a crash and
    a new start.
    """

    def __init__(self, folder: Path, *arguments: str, start_seconds_max: float = START_TIMEOUT_SECONDS) -> None:
        self._folder, self._arguments, self._start_seconds_max = folder, arguments, start_seconds_max
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """The value for `NATS_URL`."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port for clients."""
        return self._port

    @property
    def pid(self) -> int:
        """The id of the process that runs now; 0 if none does."""
        return self._process.pid if self._process else 0

    @property
    def log(self) -> str:
        """The server's log since its last start."""
        return (self._folder / "nats-server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start the server and return once it is ready.

        Raises:
            RuntimeError: with the end of its log, if it does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [nats_server_binary(), "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._folder)]
        with (self._folder / "nats-server.log").open("wb") as log:
            self._process = subprocess.Popen([*command, *self._arguments], stdout=log, stderr=log)
        deadline = time.monotonic() + self._start_seconds_max
        while READY not in self.log:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"nats-server did not start:\n{self.log[-2_000:]}")
            time.sleep(0.005)
        listening = LISTENING.search(self.log)
        assert listening is not None, self.log
        self._port = int(listening[1])

    def kill(self) -> None:
        """Kill the server (SIGKILL): messages that it acknowledged are on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill the server, and start it on the same port and store."""
        self.kill()
        self.start()
