"""What the chart's pods and the compose file run, run here as it stands, against a real broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from jetmesh.common.ports import free_port, free_ports
from jetmesh.testing import nats_server_binary
from tests.deploy.chart import Object, objects, of_kind, render
from tests.support.processes import is_ready, probe, started
from tests.support.programs import ROOT, program, run
from tests.support.waiting import wait_until

PATHS = os.pathsep.join([str(ROOT), str(ROOT / "contracts"), str(ROOT / "services")])


@dataclass(frozen=True)
class Cluster:
    """The pods of the chart without values, as processes of this machine."""

    found: list[Object]
    folder: Path
    nats: int
    smtp: int

    @property
    def keys(self) -> Path:
        """The Secret of `broker.keys`."""
        return self.folder / "keys"

    @property
    def nats_url(self) -> str:
        """The broker."""
        return f"nats://127.0.0.1:{self.nats}"

    def container(self, kind: str, component: str) -> Object:
        """The one container of what is rendered, and where its pod's keys are."""
        found = of_kind(self.found, kind)[component]
        pod = (found if kind == "Pod" else found["spec"]["template"])["spec"]
        secrets = [volume["secret"]["items"] for volume in pod["volumes"] if volume["name"] == "nkey"]
        keys = {
            f"/etc/jetmesh/nkey/{item['path']}": str(self.keys / item["key"]) for items in secrets for item in items
        }
        return {**pod["containers"][0], "keys": keys}

    def command(self, container: Object) -> list[str]:
        """The image's entry point is `jetmesh`."""
        given = [*container.get("command", ["jetmesh"]), *container.get("args", [])]
        start = {"jetmesh": [sys.executable, "-m", "jetmesh"], "python": [sys.executable]}
        return [*start[given[0]], *(self.here(part) for part in given[1:])]

    def here(self, text: str) -> str:
        """The volume, the mail's port and the address, as they are on this machine."""
        local = text.replace("/var/lib/jetmesh", str(self.folder)).replace("2525", str(self.smtp))
        return local.replace("0.0.0.0", "127.0.0.1")

    def environment(self, container: Object, **more: str) -> dict[str, str]:
        """The pod's variables, with the names of the cluster replaced by addresses here."""
        values = {each["name"]: each.get("value", "a-secret-of-the-cluster") for each in container.get("env", [])}
        given = {name: self.here(container["keys"].get(value, value)) for name, value in values.items()}
        loopback = {"NATS_URL": self.nats_url, "JETMESH_SMTP_URL": f"smtp://127.0.0.1:{self.smtp}"}
        return {**os.environ, **given, **loopback, "PYTHONPATH": PATHS, **more}

    @contextmanager
    def running(self, kind: str, component: str, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The container's process, stopped as a kubelet does."""
        container = self.container(kind, component)
        environment = self.environment(container, **more)
        with started(self.command(container), self.folder / f"{component}.log", env=environment) as process:
            yield process

    def job(self, name: str, status: int = 0, kind: str = "Job") -> str:
        """A Job's container, to its end."""
        container = self.container(kind, name)
        return run(*self.command(container), status=status, env=self.environment(container), cwd=ROOT)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The chart's broker runs, on its own configuration."""
    with on_its_broker(tmp_path, objects(render())) as found:
        yield found


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Cluster]:
    """The same with `broker.keys`: the broker has an account for each service, as the mesh itself writes them."""
    environment = {**os.environ, "PYTHONPATH": PATHS}
    run(sys.executable, "-m", "jetmesh", "topology", "permissions", str(tmp_path / "keys"), "--app",
        "jetmesh_shop.flow:SERVICES", env=environment, cwd=str(ROOT))  # fmt: skip
    found = objects(render("--set", "broker.keys=jetmesh-keys"))
    with on_its_broker(tmp_path, found, 'include "keys/accounts.conf"\n') as cluster:
        yield cluster


@contextmanager
def on_its_broker(folder: Path, found: list[Object], more: str = "") -> Iterator[Cluster]:
    """The broker of the rendered chart as a process."""
    nats, smtp = free_ports(2)
    config = of_kind(found, "ConfigMap")["broker"]["data"]["nats.conf"].replace("http: 8222", "")
    config = config.replace("port: 4222", f"listen: 127.0.0.1:{nats}").replace("/data", str(folder / "data"))
    (folder / "nats.conf").write_text(config + more)
    with started([nats_server_binary(), "--config", folder / "nats.conf"]):
        yield Cluster(found, folder, nats, smtp)


def test_a_service_waits_for_the_topology_and_says_so(cluster: Cluster) -> None:
    port = free_port()
    with cluster.running("Deployment", "inventory", JETMESH_HEALTH_PORT=str(port)) as process:
        wait_until(lambda: "topology" in probe(port)[1].get("inventory", ""), "it waits for the topology")
        assert probe(port, "/livez")[0] == 200
        assert "streams and durables are as needed" in cluster.job("topology")
        wait_until(partial(is_ready, port))
    assert process.returncode == 0


def test_the_job_is_refused_for_good_where_data_would_be_lost(cluster: Cluster) -> None:
    nats = (program("nats"), "--server", cluster.nats_url)
    wait_until(lambda: subprocess.run([*nats, "account", "info"], capture_output=True, check=False).returncode == 0)
    run(*nats, "stream", "add", "ORDERS", "--subjects", "orders.*.*", "--storage", "memory", "--defaults")
    said = cluster.job("topology", status=3)
    assert "storage of a stream can't be changed" in said
    assert "PAYMENTS" not in run(*nats, "stream", "ls", "--names")
    spec = of_kind(cluster.found, "Job")["topology"]["spec"]
    assert spec["podFailurePolicy"]["rules"][0] == {
        "action": "FailJob",
        "onExitCodes": {"operator": "In", "values": [3]},
    }


def test_the_smoke_test_follows_an_order_through_the_services_of_the_chart(cluster: Cluster) -> None:
    assert "notifications.receipt_sent" in smoke_test(cluster)


def test_the_smoke_test_passes_where_each_service_has_an_account_of_its_own(locked: Cluster) -> None:
    assert "notifications.receipt_sent" in smoke_test(locked)


def smoke_test(cluster: Cluster) -> str:
    """What the chart's test prints, with everything running."""
    cluster.job("topology")
    with every_service(cluster) as health_ports:
        for port in health_ports:
            wait_until(partial(is_ready, port))
        return cluster.job("test", kind="Pod")


@contextmanager
def every_service(cluster: Cluster) -> Iterator[list[int]]:
    """Every Deployment of the chart runs; the ports of their health."""
    names = list(of_kind(cluster.found, "Deployment"))
    health, http = free_ports(len(names)), free_ports(1)
    with ExitStack() as stack:
        for name, port in zip(names, health, strict=True):
            ports = {"JETMESH_HEALTH_PORT": str(port), "JETMESH_HTTP_PORT": str(http[0])}
            stack.enter_context(cluster.running("Deployment", name, **ports))
        yield [port for name, port in zip(names, health, strict=True) if name != "mailsink"]
