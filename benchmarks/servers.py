"""The broker of a benchmark: a nats-server on a free port, with the disk behaviour that the measurement asks for."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetmesh.testing.broker import Broker

DEFAULT_SYNC, ALWAYS = "2m", "always"
"""nats-server's own default, and what the mesh runs on: an acknowledged event has reached the disk."""
START_SECONDS_MAX = 600.0
"""With millions of stored orders it reads for a while before it is ready."""


@contextmanager
def broker(sync: str, monitor_port: int = 0) -> Iterator[Broker]:
    """A broker with a new, empty store; both are gone afterwards. `monitor_port`: where its pages are, if they are."""
    with tempfile.TemporaryDirectory(prefix="benchmark-nats-") as folder:
        config = _configured(Path(folder), sync)
        monitor = ("--http_port", str(monitor_port)) if monitor_port else ()
        with Broker(Path(folder), "--config", str(config), *monitor, start_seconds_max=START_SECONDS_MAX) as running:
            yield running


def restart_on(running: Broker, sync: str) -> None:
    """Let the broker end in order, so that it need not read all that it has stored, and begin again with this sync."""
    process = running._process
    assert process is not None
    process.terminate()
    process.wait(START_SECONDS_MAX)
    _configured(running._folder, sync)
    running.start()


def _configured(folder: Path, sync: str) -> Path:
    config = folder / "nats.conf"
    config.write_text(f'jetstream {{ sync_interval: "{sync}" }}\n')
    return config
