"""The real Jaeger (2.x) with memory storage on free ports, for tests."""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import BaseModel

from jetmesh.common.ports import free_ports
from jetmesh.settings import read

START_TIMEOUT_SECONDS = 30.0
TRACES_MAX = 100_000


class Programs(BaseModel):
    """`JETMESH_JAEGER`: the binary, if it is neither in `.tools/bin` nor on PATH."""

    jaeger: str = ""


def jaeger_binary() -> str | None:
    """The path of ``jaeger``: ``JETMESH_JAEGER``, else in ``.tools/bin`` of this folder, else on PATH; else None."""
    named = read(Programs).jaeger
    return named or shutil.which("jaeger", path=Path(".tools/bin").absolute()) or shutil.which("jaeger")


class Jaeger:
    """A running Jaeger: ``with Jaeger() as jaeger`` waits until it answers, and stops it at the end.

    Addresses: ``url`` (HTTP API), ``otlp_http`` and ``otlp_grpc`` (endpoints for exporters).
    Raises ``FileNotFoundError`` without a binary, ``RuntimeError`` with the end of its log if it does not start.
    """

    def __init__(self) -> None:
        binary = jaeger_binary()
        if not binary:
            raise FileNotFoundError("no jaeger in PATH or .tools/bin; `just tools` builds it")
        self._binary = binary
        api, otlp_http, otlp_grpc, self._api_grpc = free_ports(4)
        self.url = f"http://127.0.0.1:{api}"
        self.otlp_http = f"http://127.0.0.1:{otlp_http}"
        self.otlp_grpc = f"http://127.0.0.1:{otlp_grpc}"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="jaeger-")
        config = Path(self._folder.name, "config.json")
        config.write_text(json.dumps(self._config()))
        self._log = Path(self._folder.name, "log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([self._binary, "--config", config], stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def stop(self) -> None:
        """Kill the process and remove its files; all data were in memory, so it has nothing to save."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"jaeger did not start:\n{self._log.read_text()[-2_000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/services", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _config(self) -> dict[str, Any]:
        return {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": TRACES_MAX}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": self.url.removeprefix("http://")},
                    "grpc": {"endpoint": f"127.0.0.1:{self._api_grpc}"},
                },
            },
            "receivers": {
                "otlp": {"protocols": {"grpc": _endpoint(self.otlp_grpc), "http": _endpoint(self.otlp_http)}}
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        }


def _endpoint(url: str) -> dict[str, str]:
    return {"endpoint": url.removeprefix("http://")}
