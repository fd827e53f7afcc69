"""The real nats-server as a process of a test: a free port, a store of its own, killed and started again at will."""

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

    The port is free at the first start and stays the same after it, as does the store: `restart` is what a crash and a
    new start are to its clients.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._folder, self._arguments = folder, arguments
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """What `NATS_URL` is for it."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """Where it listens for clients."""
        return self._port

    @property
    def pid(self) -> int:
        """The process that runs now; 0 where none does."""
        return self._process.pid if self._process else 0

    @property
    def log(self) -> str:
        """What the server has said since its last start."""
        return (self._folder / "nats-server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start the server and return once it is ready.

        Raises:
            RuntimeError: with its last words, if it does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [nats_server_binary(), "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._folder)]
        with (self._folder / "nats-server.log").open("wb") as log:
            self._process = subprocess.Popen([*command, *self._arguments], stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while READY not in self.log:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"nats-server did not start:\n{self.log[-2_000:]}")
            time.sleep(0.005)
        listening = LISTENING.search(self.log)
        assert listening is not None, self.log
        self._port = int(listening[1])

    def kill(self) -> None:
        """End the server without a word (SIGKILL): what it acknowledged is on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """A crash, and a new start on the same port and store."""
        self.kill()
        self.start()
