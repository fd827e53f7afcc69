"""All that watches the mesh, and a mesh to watch: the files of observability/, run by the real programs."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from jetmesh.commands.target import connected_with
from jetmesh.common.ports import free_ports
from jetmesh.operate.load import publish_all
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import mix, stock
from tests.support.processes import started
from tests.support.programs import ROOT, program, run
from tests.support.waiting import wait_until

OBSERVABILITY = ROOT / "observability"
SCRAPES_SECONDS = 6.0
ENVIRONMENT = "watched"
PORTS = ("nats", "monitor", "smtp", "exporter", "prometheus", "otlp_http", "otlp_grpc", "jaeger", "jaeger_grpc",
         "jaeger_otlp_grpc", "jaeger_otlp_http", "jaeger_health")  # fmt: skip

Json = dict[str, Any]


class Stack:
    """Broker, services, collector, Jaeger and Prometheus on free ports of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._running = ExitStack()
        self._client = httpx.Client(trust_env=False, timeout=30)

    def url(self, name: str) -> str:
        """The HTTP address of a part."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def nats_url(self) -> str:
        """The broker."""
        return f"nats://127.0.0.1:{self.ports['nats']}"

    def query(self, expression: str) -> list[Json]:
        """What Prometheus answers to an instant query."""
        answer = self._client.post(f"{self.url('prometheus')}/api/v1/query", data={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return list(answer["data"]["result"])

    def prometheus(self, path: str, **parameters: str) -> Any:
        """What Prometheus' API answers."""
        return self._client.get(f"{self.url('prometheus')}{path}", params=parameters).json()

    def jaeger(self, path: str, **parameters: str) -> Any:
        """What Jaeger's API answers."""
        return self._client.get(f"{self.url('jaeger')}{path}", params=parameters).json()

    def start(self) -> None:
        """Everything, in the order in which each can be used by the next."""
        self._broker()
        self._prometheus()
        self._jaeger()
        self._collector()
        self._mesh()

    def stop(self) -> None:
        """Everything, the last first."""
        self._running.close()
        self._client.close()

    def _broker(self) -> None:
        config = (ROOT / "deploy" / "nats" / "nats.conf").read_text()
        config = config.replace("port: 4222", f"listen: 127.0.0.1:{self.ports['nats']}").replace(
            "/data", str(self.folder)
        )
        config = config.replace("http: 8222", f"http: 127.0.0.1:{self.ports['monitor']}")
        # Whoever watches asks for no accounts; tests/deploy/test_one_machine.py runs the file as it is.
        (self.folder / "nats.conf").write_text(config.replace('include "keys/accounts.conf"', ""))
        self._run("nats-server", "--config", str(self.folder / "nats.conf"))
        self._until(f"{self.url('monitor')}/healthz")
        self._run("prometheus-nats-exporter", f"-port={self.ports['exporter']}", "-addr=127.0.0.1", "-connz", "-varz",
                  "-prefix=nats", "-use_internal_server_id", "-jsz=all", self.url("monitor"))  # fmt: skip

    def _prometheus(self) -> None:
        config = (OBSERVABILITY / "prometheus" / "prometheus.yaml").read_text()
        config = config.replace("nats-exporter:7777", f"127.0.0.1:{self.ports['exporter']}").replace("15s", "1s")
        named = f"labels: {{deployment_environment_name: {ENVIRONMENT}}}"
        config = config.replace("static_configs: [{targets", f"static_configs: [{{{named}, targets")
        config = config.replace("alerts/*.yaml", f"{OBSERVABILITY}/alerts/*.yaml")
        (self.folder / "prometheus.yaml").write_text(config)
        self._run("prometheus", f"--config.file={self.folder}/prometheus.yaml",
                  f"--storage.tsdb.path={self.folder}/prometheus", "--web.enable-otlp-receiver",
                  "--enable-feature=exemplar-storage", f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
                  )  # fmt: skip
        self._until(f"{self.url('prometheus')}/-/ready")

    def _jaeger(self) -> None:
        here = {
            "PROMETHEUS_URL": self.url("prometheus"),
            "JAEGER_UI": str(OBSERVABILITY / "jaeger" / "ui-config.json"),
            "JAEGER_HTTP": f"127.0.0.1:{self.ports['jaeger']}",
            "JAEGER_GRPC": f"127.0.0.1:{self.ports['jaeger_grpc']}",
            "JAEGER_HEALTH": f"127.0.0.1:{self.ports['jaeger_health']}",
            "OTLP_GRPC": f"127.0.0.1:{self.ports['jaeger_otlp_grpc']}",
            "OTLP_HTTP": f"127.0.0.1:{self.ports['jaeger_otlp_http']}",
        }
        self._run("jaeger", "--config", str(OBSERVABILITY / "jaeger" / "config.yaml"), environment=here)
        self._until(f"{self.url('jaeger')}/api/services")

    def _collector(self) -> None:
        """Jaeger's binary is a collector as well."""
        here = {
            "PROMETHEUS_URL": self.url("prometheus"),
            "JAEGER_OTLP": f"127.0.0.1:{self.ports['jaeger_otlp_grpc']}",
            "OTLP_GRPC": f"127.0.0.1:{self.ports['otlp_grpc']}",
            "OTLP_HTTP": f"127.0.0.1:{self.ports['otlp_http']}",
            "SPAN_METRICS_INTERVAL": "1s",
        }
        config = (OBSERVABILITY / "collector" / "collector.yaml").read_text()
        file = self.folder / "collector.yaml"
        file.write_text(config.replace("service:\n", "service:\n  telemetry: {metrics: {level: none}}\n"))
        self._run("jaeger", "--config", str(file), environment=here, log="collector")
        self._until(f"{self.url('otlp_http')}/v1/traces", status=405)

    def _mesh(self) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "contracts"), str(ROOT / "services")])
        here = {
            "PYTHONPATH": path,
            "NATS_URL": self.nats_url,
            "JETMESH_APP": "jetmesh_shop.flow:SERVICES",
            "JETMESH_STATE": str(self.folder),
            "JETMESH_SMTP_URL": f"smtp://127.0.0.1:{self.ports['smtp']}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url("otlp_http"),
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={ENVIRONMENT}",
        }
        python = (sys.executable, "-m")
        self._run(*python, "jetmesh_shop.reference.mailsink", "--path", str(self.folder / "mail.sqlite"), "--port",
                  str(self.ports["smtp"]), environment=here, log="mail")  # fmt: skip
        run(*python, "jetmesh", "topology", "apply", env={**os.environ, **here})
        for service in SERVICES:
            self._run(*python, "jetmesh", "run", service.name, environment=here, log=service.name)
        run(*python, "jetmesh", "archive", "--to", str(self.folder / "archive"), env={**os.environ, **here})

    def _run(self, *command: str, environment: Mapping[str, str] | None = None, log: str = "") -> None:
        name = log or Path(command[0]).name
        binary = command[0] if command[0] == sys.executable else program(command[0], name)
        told = {**os.environ, **(environment or {})}
        self._running.enter_context(started([binary, *command[1:]], self.folder / f"{name}.log", env=told))

    def _until(self, url: str, status: int = 200) -> None:
        def answers() -> bool:
            try:
                return self._client.get(url).status_code == status
            except httpx.TransportError:
                return False

        wait_until(answers, url)


@contextmanager
def watched(folder: Path) -> Iterator[Stack]:
    """The stack with a mesh that has had some orders of every kind, one of them broken."""
    stack = Stack(folder)
    try:
        stack.start()
        asyncio.run(_trade(stack.nats_url))
        yield stack
    finally:
        stack.stop()


async def _trade(nats_url: str) -> None:
    """Orders twice, some seconds apart, so that every rate has two points."""
    async with connected_with(["--server", nats_url]) as mesh:
        await stock.seed(mesh)
        for name in ("first", "second"):
            mesh.connection.send("orders.placed", b"no order at all")
            await publish_all(mesh, mix.orders(name, 60, seed=7))
            await asyncio.sleep(SCRAPES_SECONDS)
