"""The console in the chart: off unless asked for, with its own key and token; and what its pod is told, it does."""

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Any

import httpx

from jetmesh.common.ports import free_port
from jetmesh.testing import Broker
from jetmesh.topology import accounts, console_users, nkeys
from jetmesh_shop.flow import SERVICES
from tests.deploy.chart import Object, helm, objects, of_kind, pods, ready, render
from tests.support.processes import started
from tools.chart_renders import CHART, KUBERNETES

ON = ("--set", "console.enabled=true,broker.keys=jetmesh-keys,broker.url=nats://nats:4222")


def _pod(found: list[Object]) -> Any:
    """The console's pod."""
    named = {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["spec"] for pod in pods(found)}
    return named["console"]


def _keys(found: list[Object]) -> list[str]:
    (volume,) = [volume for volume in _pod(found)["volumes"] if volume["name"] == "nkey"]
    return [item["key"] for item in volume["secret"]["items"]]


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert "console" not in {
        pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods(objects(render()))
    }


def test_it_has_the_key_of_its_role_and_tokens_that_nobody_chose() -> None:
    found, looking = objects(render(*ON)), objects(render(*ON, "--set", "console.readOnly=true"))
    assert (_keys(found), _keys(looking)) == (["console.nk"], ["console-viewer.nk"])
    assert of_kind(found, "Secret")["console"]["data"].keys() == {"token", "viewer-token", "proxy-secret"}
    assert of_kind(objects(render(*ON, "--set", "console.http.tokens=mine")), "Secret").keys() == {"orders"}


def test_it_reaches_the_broker_alone_and_is_reached_at_its_port_alone() -> None:
    proxy = '[{"podSelector":{"matchLabels":{"app.kubernetes.io/name":"oauth2-proxy"}}}]'
    found = objects(render(*ON, "--set-json", f"console.http.from={proxy}"))
    policy = of_kind(found, "NetworkPolicy")["console"]["spec"]
    (ingress,) = policy["ingress"]
    assert ([port["port"] for port in ingress["ports"]], "from" in ingress) == (["http"], True)
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 4222]


def test_its_pod_writes_nothing_to_its_root_and_is_one() -> None:
    found = objects(render(*ON))
    spec, deployment = _pod(found), of_kind(found, "Deployment")["console"]["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= container.keys()
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})


async def test_what_its_pod_is_told_lets_an_operator_in(tmp_path: Path) -> None:
    """The command and the environment of the rendered pod, with its Secrets filled in, on a broker with accounts."""
    keys = nkeys.ensure(tmp_path / "keys", nkeys.users(SERVICES))
    part = console_users.with_console(accounts.part_of("", SERVICES, keys), SERVICES, keys)
    (tmp_path / "nats.conf").write_text(accounts.merged([part]))
    found = objects(helm("template", "mesh", str(CHART), "--kube-version", KUBERNETES, *ON))
    (container,) = _pod(found)["containers"]
    secrets = {each["metadata"]["name"]: each["data"] for each in found if each["kind"] == "Secret"}
    port = free_port()
    with Broker(tmp_path / "broker", "-c", str(tmp_path / "nats.conf")) as broker:
        here = {
            "NATS_URL": broker.url, "JETMESH_CONSOLE_HOST": "127.0.0.1", "JETMESH_CONSOLE_PORT": str(port),
            "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(tmp_path / "keys", "console")),
        }  # fmt: skip
        told = {each["name"]: value(each, secrets) for each in container["env"]}
        assert here.keys() <= told.keys()
        command = [sys.executable, "-m", "jetmesh", *container["args"]]
        with started(command, tmp_path / "log", env={**os.environ, **told, **here}, cwd=tmp_path):
            async with ready(container, port) as browser:
                assert (await browser.get("/mesh")).headers["location"] == "/mesh/login"
                await _its_test_passes(found, browser, secrets)
                await browser.post("/mesh/login", data={"token": told["JETMESH_CONSOLE_TOKEN"]})
                assert ">operator</span>" in (await browser.get("/mesh")).text


async def _its_test_passes(found: list[Object], browser: httpx.AsyncClient, secrets: dict[str, Any]) -> None:
    """What `helm test` runs asks the console itself; with a token that is not its own it fails."""
    (container,) = of_kind(found, "Pod")["console-test"]["spec"]["containers"]
    (place,) = container["args"]
    assert place.startswith("http://mesh-jetmesh-console:80/")
    asked = f"{browser.base_url}/{place.split('/', 3)[3]}"
    for token, status in ((value(container["env"][0], secrets), 0), ("another", 1)):
        test = await asyncio.create_subprocess_exec(
            sys.executable, *container["command"][1:], asked, env={**os.environ, "TOKEN": token},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await test.communicate()
        assert test.returncode == status, said.decode()


def value(variable: Any, secrets: dict[str, Any]) -> str:
    if "value" in variable:
        return str(variable["value"])
    place = variable["valueFrom"]["secretKeyRef"]
    return base64.b64decode(secrets[place["name"]][place["key"]]).decode()
