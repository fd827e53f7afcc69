"""The shop in the chart: off unless asked for, with its own account; and what its pod is told, it does."""

import os
import sys
from pathlib import Path
from typing import Any

import nats

from jetmesh.common.ports import free_port
from jetmesh.contracts import outside
from jetmesh.testing import Broker
from jetmesh.topology import accounts, nkeys
from jetmesh_contracts import StockLevel
from jetmesh_shop.flow import SERVICES
from tests.deploy.chart import Object, helm, objects, of_kind, pods, ready, render
from tests.support.processes import started
from tools.chart_renders import CHART, KUBERNETES

ON = ("--set", "shop.enabled=true,broker.keys=jetmesh-keys,broker.url=nats://nats:4222")


def _pod(found: list[Object]) -> Any:
    """The shop's pod."""
    named = {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["spec"] for pod in pods(found)}
    return named["shop"]


def _argument(container: Any, name: str) -> str:
    arguments = container["args"]
    return str(arguments[arguments.index(name) + 1])


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert "shop" not in of_kind(objects(render()), "Deployment")


def test_it_has_the_key_of_its_own_account_and_no_other_secret() -> None:
    found = objects(render(*ON))
    secrets = [volume["secret"] for volume in _pod(found)["volumes"] if "secret" in volume]
    assert [(each["secretName"], [item["key"] for item in each["items"]]) for each in secrets] == [
        ("jetmesh-keys", ["shop.nk"])
    ]
    assert "secretKeyRef" not in str(_pod(found))


def test_it_reaches_the_broker_and_the_orders_edge_alone() -> None:
    policy = of_kind(objects(render(*ON)), "NetworkPolicy")["shop"]["spec"]
    dns, broker, edge = policy["egress"]
    assert ([port["port"] for port in broker["ports"]], [port["port"] for port in edge["ports"]]) == ([4222], ["http"])
    assert edge["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "orders"
    assert {port["port"] for port in dns["ports"]} == {53}
    (ingress,) = policy["ingress"]
    assert ([port["port"] for port in ingress["ports"]], "from" in ingress) == (["http"], False)


def test_an_edge_elsewhere_is_asked_at_its_address() -> None:
    found = objects(render(*ON, "--set", "shop.edgeUrl=https://orders.example.com:8443/api"))
    (container,) = _pod(found)["containers"]
    assert _argument(container, "--edge-url") == "https://orders.example.com:8443/api"
    policy = of_kind(found, "NetworkPolicy")["shop"]["spec"]
    assert [port["port"] for port in policy["egress"][-1]["ports"]] == [8443]


def test_a_shop_without_an_edge_is_refused_by_the_names_of_the_values() -> None:
    without = ("--set", "services.orders.http.enabled=false")
    told = helm("template", "mesh", str(CHART), "--kube-version", KUBERNETES, *ON, *without, status=1)
    assert "shop.edgeUrl: name the orders' HTTP edge; this release has none (services.orders.http.enabled)" in told


async def test_what_its_pod_is_told_shows_the_stock_and_passes_its_test(tmp_path: Path) -> None:
    """The command, the arguments and the environment of the rendered pod, on a broker with accounts."""
    outsiders = outside.users(SERVICES)
    keys = nkeys.ensure(tmp_path / "keys", nkeys.users(SERVICES, outsiders=outsiders))
    part = accounts.with_outsiders(accounts.part_of("", SERVICES, keys), outsiders, keys)
    (tmp_path / "nats.conf").write_text(accounts.merged([part]))
    found = objects(helm("template", "mesh", str(CHART), "--kube-version", KUBERNETES, *ON))
    (container,) = _pod(found)["containers"]
    port = str(free_port())
    arguments = [*container["args"]]
    for name, here in (("--host", "127.0.0.1"), ("--port", port)):
        arguments[arguments.index(name) + 1] = here
    with Broker(tmp_path / "broker", "-c", str(tmp_path / "nats.conf")) as broker:
        await _stock(broker.url, nkeys.seed_file(tmp_path / "keys", accounts.OPERATOR))
        seed = nkeys.seed_file(tmp_path / "keys", "shop")
        told = {each["name"]: each["value"] for each in container["env"]}
        told |= {"NATS_URL": broker.url, "JETMESH_NATS_NKEY_SEED": str(seed)}
        command = [sys.executable, *container["command"][1:], *arguments]
        with started(command, tmp_path / "log", env={**os.environ, **told}, cwd=tmp_path):
            async with ready(container, port) as browser:
                (test,) = of_kind(found, "Pod")["shop-test"]["spec"]["containers"]
                (asked,) = test["args"]
                assert asked == "http://mesh-jetmesh-shop:80/"
                assert 'only <b class="number">7</b> left' in (await browser.get("/")).text


async def _stock(url: str, operator: Path) -> None:
    """The stream of inventory, with the stock of one article."""
    client = await nats.connect(url, nkeys_seed=str(operator), inbox_prefix=accounts.inbox_of(accounts.OPERATOR))
    jetstream = client.jetstream()
    await jetstream.add_stream(name="INVENTORY", subjects=["stock.level.*"], allow_direct=True)
    level = StockLevel(sku="cola", available=7)
    await jetstream.publish("stock.level.cola", level.model_dump_json().encode())
    await client.close()
