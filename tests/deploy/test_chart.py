"""The Helm chart, rendered: what it makes of the examples, what it refuses, and what every pod of it keeps to."""

import difflib
from pathlib import Path

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from jetmesh.topology.nkeys import users
from jetmesh_shop.flow import SERVICES
from tests.deploy.chart import (
    Object,
    custom_schemas,
    helm,
    objects,
    of_kind,
    pods,
    render,
)
from tests.support.programs import ROOT, run
from tools.chart_renders import CHART, EXAMPLES, KUBERNETES, golden

each_example = pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.name.removesuffix("-values.yaml"))


@pytest.fixture(scope="module", params=["", "archive.enabled=true"], ids=["trial", "archive"])
def trial(request: pytest.FixtureRequest) -> list[Object]:
    """What an installation without any value makes, and one that archives."""
    return objects(render("--set", request.param) if request.param else render())


@each_example
def test_an_example_is_linted_strictly(values: Path) -> None:
    helm("lint", "--strict", str(CHART), "--values", str(values))


@each_example
def test_an_example_renders_what_it_did(values: Path) -> None:
    before, now = golden(values).read_text().splitlines(), render("--values", str(values)).splitlines()
    difference = list(difflib.unified_diff(before, now, "golden", "now", n=2))
    assert not difference, "\n".join(["`just generate` accepts:", *difference])


@each_example
def test_every_object_is_one_that_kubernetes_knows(values: Path) -> None:
    custom = dict(custom_schemas())
    for each in objects(render("--values", str(values))):
        if each["kind"] in custom:
            jsonschema.validate(each, custom[each["kind"]])
        else:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_no_pod_has_a_right_that_it_does_not_need(trial: list[Object]) -> None:
    for pod in pods(trial):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert set(container["resources"]) == {"requests", "limits"}


def test_a_pod_has_more_time_to_stop_than_its_drain_takes() -> None:
    deployments = of_kind(objects(render("--set", "defaults.drainSeconds=90")), "Deployment")
    assert deployments["payments"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 105
    assert deployments["orders"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 115


def test_an_edge_serves_on_until_its_endpoints_have_followed(trial: list[Object]) -> None:
    def hooks(found: list[Object]) -> dict[str, Object]:
        deployments = of_kind(found, "Deployment")
        containers = {name: each["spec"]["template"]["spec"]["containers"][0] for name, each in deployments.items()}
        return {name: each["lifecycle"]["preStop"] for name, each in containers.items() if "lifecycle" in each}

    assert hooks(trial) == {"orders": {"sleep": {"seconds": 5}}}
    assert hooks(objects(render("--kube-version", "1.29"))) == {"orders": {"exec": {"command": ["sleep", "5"]}}}
    assert hooks(objects(render("--set", "services.orders.http.pauseSeconds=0"))) == {}
    own = "services.orders.lifecycle.preStop.httpGet.path=/stop"
    assert hooks(objects(render("--set", own))) == {"orders": {"httpGet": {"path": "/stop"}}}


def test_liveness_does_not_ask_for_the_broker_and_readiness_does(trial: list[Object]) -> None:
    for name in (service.name for service in SERVICES):
        container = of_kind(trial, "Deployment")[name]["spec"]["template"]["spec"]["containers"][0]
        assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_everything_that_runs_has_a_network_policy(trial: list[Object]) -> None:
    running = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods(trial)}
    assert running == set(of_kind(trial, "NetworkPolicy"))


def test_every_address_of_the_broker_may_be_reached() -> None:
    urls = "broker.url=nats://a.example.com:4333\\,tls://b.example.com"
    policy = of_kind(objects(render("--set", urls)), "NetworkPolicy")["orders"]
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53, 4333, 4222}


def test_another_topology_is_another_job() -> None:
    def job(*arguments: str) -> str:
        jobs = [each["metadata"] for each in objects(render(*arguments)) if each["kind"] == "Job"]
        return next(str(each["name"]) for each in jobs if "annotations" not in each)

    assert job() == job("--set", "services.orders.replicas=7")
    assert len({job(), job("--set", "image.tag=next"), job("--set", "topology.streamReplicas=3")}) == 3


def test_the_upgrade_hook_can_be_left_out() -> None:
    assert "pre-upgrade" not in render("--set", "topology.beforeUpgrade=false")


def test_the_topology_job_is_told_where_new_reactions_begin() -> None:
    said = "topology.since.notifications\\.send=now,topology.since.payments=2026-01-01T00:00:00Z"
    jobs = [each for each in objects(render("--set-string", said)) if each["kind"] == "Job"]
    args = [job["spec"]["template"]["spec"]["containers"][0].get("args") for job in jobs]
    told = ["topology", "apply", "--since", "notifications.send=now", "--since", "payments=2026-01-01T00:00:00Z"]
    assert args.count(told) == 2, args


def test_every_pod_is_told_how_streams_are_split() -> None:
    running = pods(objects(render("--set-string", "broker.url=nats://x,topology.partitions=orders=2\\,payments=2")))
    told = [
        {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0].get("env", [])}
        for pod in running
        if "NATS_URL" in str(pod)
    ]
    assert len(told) > len(SERVICES)
    assert {variables.get("JETMESH_PARTITIONS") for variables in told} == {"orders=2,payments=2"}


def test_every_pod_and_scaler_is_told_whose_streams_are_meant() -> None:
    found = objects(render("--values", str(CHART / "ci" / "keda-values.yaml"), "--set", "tenant=acme"))
    told = [
        {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0].get("env", [])}
        for pod in pods(found)
        if "NATS_URL" in str(pod)
    ]
    assert len(told) > len(SERVICES)
    assert {variables.get("JETMESH_TENANT") for variables in told} == {"acme"}
    triggers = [trigger for each in found if each["kind"] == "ScaledObject" for trigger in each["spec"]["triggers"]]
    streams = {trigger["metadata"]["stream"] for trigger in triggers if "stream" in trigger["metadata"]}
    assert "acme_PAYMENTS" in streams
    assert all(stream.startswith("acme_") for stream in streams)


def test_a_pod_mounts_its_own_key_and_no_other() -> None:
    found = objects(render("--set", "broker.keys=jetmesh-keys"))
    mounted = {}
    for pod in pods(found):
        for volume in (volume for volume in pod["spec"]["volumes"] if volume["name"] == "nkey"):
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            mounted[component] = {item["key"] for item in volume["secret"]["items"]}
    services = {service.name: {f"{service.name}.nk", f"{service.name}-micro.nk"} for service in SERVICES}
    assert mounted == services | {"topology": {"operator.nk"}, "test": {"operator.nk"}}
    assert {key for names in mounted.values() for key in names} < {f"{user}.nk" for user in users(SERVICES)}


def test_the_archive_is_an_operator_s_job_that_never_runs_beside_itself() -> None:
    found = objects(render("--set", "archive.enabled=true,archive.olderThan=7d,broker.keys=jetmesh-keys"))
    spec = of_kind(found, "CronJob")["archive"]["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert spec["concurrencyPolicy"] == "Forbid"
    assert container["args"] == ["archive", "--older-than", "7d"]
    assert {"name": "JETMESH_ARCHIVE", "value": "/var/lib/jetmesh/archive"} in container["env"]
    assert [item["key"] for item in volumes["nkey"]["secret"]["items"]] == ["operator.nk"]
    claim = of_kind(found, "PersistentVolumeClaim")["archive"]["metadata"]
    assert volumes["state"]["persistentVolumeClaim"]["claimName"] == claim["name"]
    assert claim["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not of_kind(objects(render()), "CronJob")


def test_a_seed_in_the_values_becomes_a_secret() -> None:
    found = objects(render("--values", str(CHART / "ci" / "tls-values.yaml")))
    assert of_kind(found, "Secret")["analytics"]["metadata"]["name"] == "mesh-jetmesh-analytics-nkey"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("broker.ulr=nats://x", "'/broker': additional properties 'ulr' not allowed"),
        ("services.orders.replica=2", "'/services/orders': additional properties 'replica' not allowed"),
        ("services.orders.autoscaling.kind=vpa", "'/services/orders/autoscaling/kind'"),
        ("topology.streamReplicas=2", "'/topology/streamReplicas'"),
        ("topology.partitions=orders", "'/topology/partitions'"),
        ("topology.partitions=orders=2", "topology.partitions: the embedded broker routes nothing by key"),
        ("archive.olderThan=soon", "'/archive/olderThan'"),
        ("archive.schedule=nightly", "'/archive/schedule'"),
        ("services.payments.autoscaling.kind=hpa", "services.payments: a service with a volume of its own is one pod"),
        ("services.orders.autoscaling.minReplicas=0,services.orders.autoscaling.kind=hpa", "needs kind: keda"),
        ("broker.url=nats://x,services.orders.autoscaling.kind=keda", "broker.monitoring: KEDA asks every server"),
    ],
)
def test_a_mistake_is_refused_by_its_name(setting: str, told: str) -> None:
    assert told in helm("template", "mesh", str(CHART), "--kube-version", KUBERNETES, "--set", setting, status=1)


def test_the_readme_describes_the_values_as_they_are() -> None:
    run("python", "tools/chart_readme.py", "--check", cwd=ROOT)


def test_another_team_s_release_stands_beside_ours_and_has_its_own_services_alone(trial: list[Object]) -> None:
    """Its values name no service of ours: one more of them in the chart changes nothing in that release."""
    values = CHART / "ci" / "team-values.yaml"
    command = ("template", "counter", str(CHART), "--namespace", "shop", "--values", str(values))
    theirs = objects(helm(*command))
    names = [{(each["kind"], each["metadata"]["name"]) for each in found} for found in (trial, theirs)]
    assert not names[0] & names[1]
    assert of_kind(theirs, "Deployment").keys() == {"counter", "console"}
    containers = [container for pod in pods(theirs) for container in pod["spec"]["containers"]]
    assert {each["image"] for each in containers} == {"registry.example.com/counter:1.4.2"}
    apps = {e["value"] for each in containers for e in each["env"] if e["name"] == "JETMESH_APP"}
    assert apps == {"counter.service:SERVICES"}
    assert "mailsink" not in str(theirs)
    tests = of_kind(theirs, "Pod")
    assert tests.keys() == {"test", "console-test"}
    assert tests["test"]["spec"]["containers"][0]["command"] == ["python", "-m", "counter.smoke_test"]


def test_an_app_without_a_test_of_its_own_has_none() -> None:
    values = CHART / "ci" / "team-values.yaml"
    found = objects(render("--values", str(values), "--set-json", "test.command=[]"))
    assert of_kind(found, "Pod").keys() == {"console-test"}
