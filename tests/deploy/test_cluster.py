"""The chart on a real Kubernetes control plane, as an operator uses it. (Its node is played: no container runs.)"""

import base64
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from jetmesh.topology import nack
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from tests.deploy.chart import CRDS, Object, helm, objects, of_kind, render
from tests.mesh.routing import SPLIT
from tests.support.programs import ROOT, program, run
from tools import cluster
from tools.chart_renders import CHART, EXAMPLES
from tools.versions import VERSION

SHOP = "shop"
RELEASE = "mesh"
ORDERS = "mesh-jetmesh-orders"
SPACE = "kubernetes.io/metadata.name"
DRY = ("apply", "--namespace", SHOP, "--dry-run=server", "--validate=strict", "--filename", "-")
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "etcd", "kwok")


@dataclass(frozen=True)
class Kubernetes:
    """The cluster of these tests."""

    folder: Path

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints, warnings included."""
        done = cluster.kubectl(self.folder, *arguments, text=text, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def get(self, *arguments: str) -> Any:
        """Objects of the namespace, or one."""
        return json.loads(self.kubectl("get", "--namespace", SHOP, "--output", "json", *arguments))

    def every(self, kind: str, namespace: str) -> dict[str, Any]:
        """The objects of a kind in a namespace, by name."""
        items = json.loads(self.kubectl("get", kind, "--namespace", namespace, "--output", "json"))["items"]
        return {each["metadata"]["name"]: each for each in items}

    def pod(self, namespace: str, component: str) -> dict[str, str]:
        """The labels of a component's first pod."""
        chosen = ("--selector", f"app.kubernetes.io/component={component}")
        items = json.loads(self.kubectl("get", "pods", *chosen, "--namespace", namespace, "--output", "json"))["items"]
        return dict(items[0]["metadata"]["labels"])

    def helm(self, *arguments: str, namespace: str = SHOP, status: int = 0) -> str:
        """What helm prints."""
        told = ("--kubeconfig", str(self.folder / "kubeconfig"), "--namespace", namespace)
        return helm(*arguments, *told, status=status)

    def upgrade(self, *settings: str, status: int = 0) -> str:
        """Install or upgrade, and wait until everything is ready."""
        told = ("upgrade", "--install", RELEASE, str(CHART), "--wait", "--timeout", "3m", *settings)
        return self.helm(*told, status=status)

    def image(self) -> str:
        """Of the pods that run orders."""
        pod = self.get("deployment", ORDERS)["spec"]["template"]["spec"]
        return str(pod["containers"][0]["image"])


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A cluster with the custom resources of others, and a namespace that admits `restricted` pods alone."""
    for name in PROGRAMS:
        program(name, "kube")
    folder = tmp_path_factory.mktemp("kubernetes") / "cluster"
    run("python", "tools/cluster.py", "up", str(folder), cwd=ROOT)
    try:
        found = Kubernetes(folder)
        for path in CRDS.glob("*.yaml"):
            found.kubectl("apply", "--filename", str(path))
        found.kubectl("create", "namespace", SHOP)
        levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
        found.kubectl("label", "namespace", SHOP, *levels)
        found.kubectl("create", "priorityclass", "business", "--value=1000")
        yield found
    finally:
        cluster.down(folder)


@pytest.fixture
def installed(kubernetes: Kubernetes) -> Iterator[Kubernetes]:
    """The chart without any value, installed with --wait; taken away with its volumes afterwards."""
    with release(kubernetes):
        kubernetes.upgrade()
        yield kubernetes


@contextmanager
def release(kubernetes: Kubernetes) -> Iterator[None]:
    """What is installed meanwhile is taken away with its volumes."""
    try:
        yield
    finally:
        if RELEASE in kubernetes.helm("list", "--all", "--short"):
            kubernetes.helm("uninstall", RELEASE, "--wait")
        kubernetes.kubectl("delete", "--namespace", SHOP, "persistentvolumeclaims", "--all", "--wait=false")


def test_an_installation_without_values_gets_ready_and_passes_its_test(installed: Kubernetes) -> None:
    deployments = installed.get("deployments")["items"]
    assert {item["status"].get("readyReplicas") for item in deployments} == {1}
    jobs = [item["metadata"]["name"] for item in installed.get("jobs")["items"] if item["status"].get("succeeded")]
    assert [name for name in jobs if name.startswith("mesh-jetmesh-topology-")]
    assert "helm test mesh" in installed.helm("get", "notes", RELEASE)


def test_the_chart_s_test_prints_its_logs_as_documented_each_time(installed: Kubernetes) -> None:
    documented = re.search(r"^helm (test mesh --logs)", (CHART / "README.md").read_text(), re.MULTILINE)
    assert documented
    for _ in range(2):
        said = installed.helm(*shlex.split(documented[1]))
        assert "Phase:          Succeeded" in said
        assert "POD LOGS: mesh-jetmesh-test\nwhat the container said" in said


def test_the_topology_is_changed_before_anything_rolls(installed: Kubernetes) -> None:
    installed.upgrade("--set", "image.tag=next,topology.streamReplicas=3")
    assert installed.image() == "jetmesh:next"
    hook, rolled = "mesh-jetmesh-topology-upgrade", f"{ORDERS}-"
    happened = [(event["reason"], event["involvedObject"]["name"]) for event in by_time(installed.get("events"))]
    done = happened.index(("Completed", hook))
    new = [n for n, (reason, name) in enumerate(happened) if reason == "SuccessfulCreate" and name.startswith(rolled)]
    assert new[-2] < done < new[-1]


def test_an_upgrade_whose_topology_fails_changes_no_service(installed: Kubernetes) -> None:
    # The node would complete the Job; it must never get its pod.
    hungry = "topology.resources.requests.cpu=1000,topology.deadlineSeconds=5,image.tag=next"
    assert "pre-upgrade hooks failed" in installed.upgrade("--set", hungry, status=1)
    assert installed.image() == f"jetmesh:{VERSION}"
    installed.helm("rollback", RELEASE, "1", "--wait", "--timeout", "3m")
    assert installed.image() == f"jetmesh:{VERSION}"
    installed.upgrade("--set", "image.tag=mended")
    assert installed.image() == "jetmesh:mended"


def test_a_rollback_brings_the_older_services_and_their_topology_back(installed: Kubernetes) -> None:
    before = topology_jobs(installed)
    installed.upgrade("--set", "image.tag=next")
    assert topology_jobs(installed) != before
    installed.helm("rollback", RELEASE, "1", "--wait", "--timeout", "3m")
    assert installed.image() == f"jetmesh:{VERSION}"
    assert topology_jobs(installed) == before


def test_an_upgrade_keeps_the_secret_that_customers_tokens_are_made_with(installed: Kubernetes) -> None:
    def secret() -> bytes:
        return base64.b64decode(installed.get("secret", f"{ORDERS}-http")["data"]["secret"])

    before = secret()
    installed.upgrade("--set", "services.inventory.replicas=2")
    assert secret() == before
    assert len(before) == 64


def test_what_is_uninstalled_keeps_its_volumes_and_finds_them_again(installed: Kubernetes) -> None:
    def volumes() -> dict[str, str]:
        claims = installed.get("persistentvolumeclaims")["items"]
        return {claim["metadata"]["name"]: claim["spec"]["volumeName"] for claim in claims}

    before = volumes()
    assert set(before) == {"data-mesh-jetmesh-broker-0", "mesh-jetmesh-analytics", "mesh-jetmesh-payments"}
    installed.helm("uninstall", RELEASE, "--wait")
    assert volumes() == before
    installed.upgrade()
    assert volumes() == before


def test_volumes_go_with_the_release_where_that_is_asked_for(installed: Kubernetes) -> None:
    installed.upgrade("--set", "broker.embedded.storage.keep=false,defaults.volume.keep=false")
    installed.helm("uninstall", RELEASE, "--wait")
    gone = "--for=delete"
    installed.kubectl("wait", gone, "--namespace", SHOP, "persistentvolumeclaim", "--all", "--timeout", "60s")


def test_production_gets_ready_where_volumes_are_bound_late(kubernetes: Kubernetes, tmp_path: Path) -> None:
    late = {"volume": {"className": "late"}}
    values = tmp_path / "late.yaml"
    values.write_text(json.dumps({"archive": late, "defaults": late, "services": {"analytics": late}}))
    with release(kubernetes):
        kubernetes.upgrade("--values", str(CHART / "ci" / "production-values.yaml"), "--values", str(values))
        claims = kubernetes.get("persistentvolumeclaims")["items"]
        assert {(claim["spec"]["storageClassName"], claim["status"]["phase"]) for claim in claims} == {
            ("late", "Bound")
        }
        names = {claim["metadata"]["name"].removeprefix("mesh-jetmesh-") for claim in claims}
        assert names == {"archive", "analytics", "payments"}


def test_a_service_without_pods_has_its_volume_bound_too(kubernetes: Kubernetes) -> None:
    late = "defaults.volume.className=late,broker.embedded.storage.className=late,services.payments.replicas=0"
    with release(kubernetes):
        kubernetes.upgrade("--set", late)
        assert kubernetes.get("deployment", "mesh-jetmesh-payments")["spec"]["replicas"] == 0
        assert kubernetes.get("persistentvolumeclaim", "mesh-jetmesh-payments")["status"]["phase"] == "Bound"


def test_a_variable_that_is_taken_back_is_gone_from_what_runs(installed: Kubernetes) -> None:
    def names() -> list[str]:
        pod = installed.get("deployment", ORDERS)["spec"]["template"]["spec"]
        return [each["name"] for each in pod["containers"][0]["env"]]

    before = names()
    installed.upgrade("--set", "services.orders.env.SITE=a,services.orders.env.JETMESH_SLOTS=64")
    assert sorted(names()) == sorted([*before, "SITE"])
    installed.upgrade("--set", "services.orders.env.JETMESH_SLOTS=null")
    assert sorted(names()) == sorted(set(before) - {"JETMESH_SLOTS"})


def test_keda_scales_what_has_a_scaled_object(installed: Kubernetes) -> None:
    settings = "services.orders.autoscaling.kind=keda,services.orders.autoscaling.maxReplicas=5"
    installed.upgrade("--set", settings)
    target = installed.get("scaledobject", ORDERS)["spec"]["scaleTargetRef"]["name"]
    installed.kubectl("scale", "--namespace", SHOP, "deployment", target, "--replicas", "3")
    installed.upgrade("--set", f"{settings},image.tag=next")
    assert installed.get("deployment", ORDERS)["spec"]["replicas"] == 3


def test_the_archive_can_be_run_at_once_as_the_notes_say(installed: Kubernetes) -> None:
    installed.upgrade("--set", "archive.enabled=true")
    notes = installed.helm("get", "notes", RELEASE).splitlines()
    told = next(line.strip() for line in notes if "--from cronjob" in line)
    installed.kubectl(*shlex.split(told)[1:])
    installed.kubectl("wait", "--for=condition=Complete", "--namespace", SHOP, "job/archive-now", "--timeout", "60s")


@pytest.mark.parametrize("namespace", [SHOP, "counter"], ids=["one namespace", "two namespaces"])
def test_another_teams_release_gets_ready_beside_ours_and_leaves_it_alone(
    kubernetes: Kubernetes, tmp_path: Path, namespace: str
) -> None:
    """As the chart's README says; a policy counts at both ends."""
    ours, theirs, (mesh, counter) = documented_releases(tmp_path)
    with release(kubernetes):
        kubernetes.helm(*mesh, "--values", str(ours), "--timeout", "3m")
        before = names_in(kubernetes, SHOP)
        kubernetes.helm(*counter, "--values", str(theirs), "--timeout", "3m", namespace=namespace)
        both = kubernetes.every("deployments", namespace)
        assert both["counter-jetmesh-counter"]["status"]["readyReplicas"] == 1
        pod, broker = kubernetes.pod(namespace, "counter"), kubernetes.pod(SHOP, "broker")
        leaving = kubernetes.every("networkpolicies", namespace)["counter-jetmesh-counter"]
        entering = kubernetes.every("networkpolicies", SHOP)["mesh-jetmesh-broker"]
        assert lets_through(leaving, 4222, broker, SHOP)
        assert lets_through(entering, "nats", pod, namespace)
        assert not lets_through(entering, "nats", {"app.kubernetes.io/instance": "stranger"}, namespace)
        kubernetes.helm("uninstall", "counter", "--wait", namespace=namespace)
        assert names_in(kubernetes, SHOP) == before
        ready = {each["status"].get("readyReplicas") for each in kubernetes.every("deployments", SHOP).values()}
        assert ready == {1}


def documented_releases(folder: Path) -> tuple[Path, Path, list[list[str]]]:
    """The values and the commands of the chart's README, without what they say of folders here."""
    section = (CHART / "README.md").read_text().partition("## Two teams' releases")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    files = [text for kind, text in blocks if kind == "yaml"]
    for text in files:
        (folder / text.split()[1]).write_text(text)
    (commands,) = [text.splitlines() for kind, text in blocks if kind == "console"]
    told = [shlex.split(line)[1:] for line in commands]
    chosen = [
        [str(ROOT / word) if word.startswith("deploy/") else word for word in words[: words.index("--values")]]
        for words in told
    ]
    return folder / "ours.yaml", folder / "counter.yaml", chosen


def names_in(kubernetes: Kubernetes, namespace: str) -> set[str]:
    """Everything of our release that is in a namespace."""
    kinds = (
        "deployments,statefulsets,services,networkpolicies,serviceaccounts,poddisruptionbudgets,secrets,configmaps,jobs"
    )
    found = json.loads(kubernetes.kubectl("get", kinds, "--namespace", namespace, "--output", "json"))["items"]
    return {
        f"{each['kind']}/{each['metadata']['name']}"
        for each in found
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == RELEASE
    }


def lets_through(policy: Object, port: int | str, labels: dict[str, str], namespace: str) -> bool:
    """Whether a policy lets its pods talk at the port with one that has these labels and is in the namespace."""
    own = {"matchLabels": {SPACE: policy["metadata"]["namespace"]}}
    rules = [*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())]
    chosen = [rule for rule in rules if port in [each["port"] for each in rule["ports"]]]
    peers = [peer for rule in chosen for peer in rule.get("from") or rule.get("to") or [{"namespaceSelector": {}}]]
    return any(
        takes(peer.get("podSelector", {}), labels) and takes(peer.get("namespaceSelector", own), {SPACE: namespace})
        for peer in peers
    )


def takes(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a selector of labels takes what has these."""
    return (selector.get("matchLabels") or {}).items() <= labels.items()


def test_no_account_of_the_mesh_may_do_anything(installed: Kubernetes) -> None:
    accounts = [item["metadata"]["name"] for item in installed.get("serviceaccounts")["items"]]
    for name in (account for account in accounts if account != "default"):
        who = f"--as=system:serviceaccount:{SHOP}:{name}"
        done = cluster.kubectl(installed.folder, "auth", "can-i", "get", "pods", "-n", SHOP, who, check=False)
        assert done.stdout.strip() == "no"


@pytest.mark.parametrize("way", ["--server-side=false", "--server-side"])
@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_api_server_admits_every_object_of_an_example(kubernetes: Kubernetes, values: Path, way: str) -> None:
    text = render("--values", str(values), "--no-hooks").replace("<made once>", "c2VjcmV0")
    assert "Warning" not in kubernetes.kubectl(*DRY, way, text=text)


def test_the_api_server_takes_alerts_and_dashboards(kubernetes: Kubernetes) -> None:
    text = render(
        "--set", "prometheusRule.enabled=true,dashboards.enabled=true", "--show-only", "templates/monitoring.yaml"
    )
    assert "Warning" not in kubernetes.kubectl(*DRY, "--server-side", text=text)


def test_the_api_server_refuses_what_is_there_twice(kubernetes: Kubernetes) -> None:
    orders = of_kind(objects(render()), "Deployment")["orders"]
    orders["spec"]["template"]["spec"]["containers"][0]["env"] *= 2
    done = cluster.kubectl(kubernetes.folder, *DRY, "--server-side", text=json.dumps(orders), check=False)
    assert "duplicate entries for key" in done.stderr


@pytest.mark.parametrize("split", [{}, SPLIT], ids=["whole", "split"])
def test_the_api_server_takes_the_objects_that_nack_is_given(kubernetes: Kubernetes, split: dict[str, int]) -> None:
    kubernetes.kubectl("delete", "--namespace", SHOP, "--all", "streams.jetstream.nats.io,consumers.jetstream.nats.io")
    needed = topology(SERVICES, replicas=3, split=split)
    text = yaml.safe_dump_all(nack.export(needed).resources)
    said = kubernetes.kubectl("apply", "--namespace", SHOP, "--validate=strict", "--filename", "-", text=text)
    assert "Warning" not in said
    taken = {kind: kubernetes.get(f"{kind}.jetstream.nats.io")["items"] for kind in ("streams", "consumers")}
    assert {stream["spec"]["name"] for stream in taken["streams"]} == {stream.name for stream in needed.streams}
    assert len(taken["consumers"]) == len(needed.durables)


def test_the_level_restricted_refuses_what_is_not(kubernetes: Kubernetes) -> None:
    loose = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}  # fmt: skip  # noqa: E501
    done = cluster.kubectl(kubernetes.folder, "apply", "-n", SHOP, "-f", "-", text=json.dumps(loose), check=False)
    assert "violates PodSecurity" in done.stderr


def topology_jobs(installed: Kubernetes) -> list[str]:
    """The Jobs that are part of the release."""
    names = [item["metadata"]["name"] for item in installed.get("jobs")["items"]]
    return [name for name in names if name.startswith("mesh-jetmesh-topology-") and not name.endswith("-upgrade")]


def by_time(events: Object) -> list[Object]:
    """Events in the order in which they were recorded."""
    return sorted(events["items"], key=lambda event: int(event["metadata"]["resourceVersion"]))


def test_the_recipe_of_the_cluster_says_how_it_is_used() -> None:
    assert "usage: cluster up|down" in run("python", "tools/cluster.py", "sideways", status=1, cwd=ROOT)
