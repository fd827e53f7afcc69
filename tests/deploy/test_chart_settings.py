"""What may be said of every pod of the chart: merged by key, nothing there twice, whatever the pod runs."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from jetmesh_shop.flow import SERVICES
from tests.deploy.chart import Object, helm, objects, of_kind, pods, render
from tools.chart_renders import CHART, KUBERNETES
from tools.versions import VERSION

COMPONENTS = (
    "defaults", "services.orders", "topology", "archive", "console", "shop", "test", "mail.sink", "broker.embedded",
)  # fmt: skip
KINDS = {
    "topology": "Job", "archive": "CronJob", "console": "Deployment", "shop": "Deployment", "test": "Pod",
    "mailsink": "Deployment", "broker": "StatefulSet",
}  # fmt: skip
KEYS = {
    "env": "name", "volumes": "name", "containers": "name", "initContainers": "name", "imagePullSecrets": "name",
    "volumeMounts": "mountPath", "ports": "containerPort", "topologySpreadConstraints": "topologyKey",
}  # fmt: skip


class EachKeyOnce(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, as the API server does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice: {[key for key, count in Counter(keys).items() if count > 1]}"
        return super().construct_mapping(node, deep)


def values(tmp_path: Path, **found: Any) -> tuple[str, str]:
    """The option that gives helm these values."""
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(found))
    return "--values", str(path)


def at(path: str, found: Any) -> dict[str, Any]:
    """The values with something at a path."""
    for key in reversed(path.split(".")):
        found = {key: found}
    return dict(found)


def everything(*arguments: str) -> list[Object]:
    """All that the chart can make of these values, an archive, a console and a shop included."""
    text = render("--set", "archive.enabled=true,console.enabled=true,shop.enabled=true", *arguments)
    return [found for found in yaml.load_all(text, EachKeyOnce) if found]


def pod_of(found: list[Object], component: str) -> Any:
    """The pod's spec of a component."""
    each = of_kind(found, KINDS.get(component, "Deployment"))[component]
    spec = each["spec"].get("jobTemplate", each)["spec"]
    return spec.get("template", {"spec": spec})["spec"]


def environment(found: list[Object], component: str) -> dict[str, Any]:
    """Variables of its own container: what each is, as text or as a reference."""
    listed = pod_of(found, component)["containers"][0].get("env", [])
    assert len({each["name"] for each in listed}) == len(listed)
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in listed}


def doubles(found: Any) -> list[Any]:
    """What a list has twice of which the API server wants each once."""
    if isinstance(found, list):
        return [double for each in found for double in doubles(each)]
    if not isinstance(found, dict):
        return []
    counted = {field: Counter(str(each.get(KEYS[field], each)) for each in found.get(field) or []) for field in KEYS}
    here = [(field, key) for field, counts in counted.items() for key, count in counts.items() if count > 1]
    return here + [double for each in found.values() for double in doubles(each)]


def test_a_variable_of_the_values_wins_over_the_chart_s_and_is_there_once(tmp_path: Path) -> None:
    told = {"JETMESH_SLOTS": 64, "NATS_URL": "nats://other:4333", "JETMESH_HTTP_SECRET": "not so secret"}
    found = everything(*values(tmp_path, services={"orders": {"env": told}}))
    assert {name: environment(found, "orders")[name] for name in told} == {**told, "JETMESH_SLOTS": "64"}
    assert environment(found, "payments")["JETMESH_SLOTS"] == "512"


def test_a_variable_can_be_taken_back(tmp_path: Path) -> None:
    given: dict[str, Any] = {"defaults": {"env": {"A": "1", "B": "2"}}, "services": {"orders": {"env": {"A": None}}}}
    given["services"]["payments"] = {"env": {"JETMESH_CONNECT_SECONDS": None, "JETMESH_BANK_LEDGER": None}}
    found = everything(*values(tmp_path, **given))
    assert environment(found, "orders").keys() & {"A", "B"} == {"B"}
    assert environment(found, "payments").keys() & {"A", "B"} == {"A", "B"}
    assert not environment(found, "payments").keys() & {"JETMESH_CONNECT_SECONDS", "JETMESH_BANK_LEDGER"}


def test_a_reference_and_a_value_replace_each_other_whole(tmp_path: Path) -> None:
    secret = {"valueFrom": {"secretKeyRef": {"name": "vault", "key": "a"}}}
    field = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    given: dict[str, Any] = {
        "defaults": {"env": {"A": secret, "B": "text"}},
        "services": {"orders": {"env": {"A": "text", "B": field}}},
    }
    given["services"]["payments"] = {"env": {"A": field}}
    found = everything(*values(tmp_path, **given))
    assert environment(found, "orders")["A"] == "text"
    assert environment(found, "orders")["B"] == field["valueFrom"]
    assert environment(found, "payments")["A"] == field["valueFrom"]
    assert environment(found, "inventory")["A"] == secret["valueFrom"]


def test_secret_env_is_a_short_form_at_every_level(tmp_path: Path) -> None:
    given = at("pods.secretEnv", {"A": {"secret": "vault", "key": "a"}, "B": {"secret": "vault", "key": "b"}})
    given["services"] = {"orders": {"env": {"A": "plain"}, "secretEnv": {"B": None}}}
    found = everything(*values(tmp_path, **given))
    assert environment(found, "topology")["A"] == {"secretKeyRef": {"name": "vault", "key": "a"}}
    assert environment(found, "orders")["A"] == "plain"
    assert "B" not in environment(found, "orders")


@pytest.mark.parametrize(
    ("given", "text"), [(10_000_000, "10000000"), (0.25, "0.25"), (True, "true"), (0, "0"), ("", "")]
)
def test_a_number_or_a_boolean_is_the_text_that_was_written(tmp_path: Path, given: object, text: str) -> None:
    assert environment(everything(*values(tmp_path, **at("pods.env.A", given))), "archive")["A"] == text


def test_a_large_number_anywhere_is_written_in_digits() -> None:
    found = everything(
        "--set", "archive.deadlineSeconds=1000000,topology.deadlineSeconds=2000000,defaults.drainSeconds=3600"
    )
    assert of_kind(found, "CronJob")["archive"]["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 1_000_000
    assert of_kind(found, "Job")["topology"]["spec"]["activeDeadlineSeconds"] == 2_000_000
    assert environment(found, "orders")["JETMESH_DRAIN_SECONDS"] == "3600"


def test_a_value_that_refers_to_another_variable_comes_after_it(tmp_path: Path) -> None:
    found = everything(*values(tmp_path, **at("pods.env", {"A": "$(ZONE)-$(POD_NAME)", "ZONE": "a"}),
                               telemetry={"endpoint": "http://collector:4318"}))  # fmt: skip
    names = [each["name"] for each in pod_of(found, "orders")["containers"][0]["env"]]
    assert max(names.index("ZONE"), names.index("POD_NAME")) < min(
        names.index("A"), names.index("OTEL_RESOURCE_ATTRIBUTES")
    )


def test_a_resource_attribute_is_there_once_and_parts_no_other(tmp_path: Path) -> None:
    told = {"k8s.namespace.name": "mine", "host.name": None, "note": "a, b=c"}
    found = everything(*values(tmp_path, telemetry={"endpoint": "http://collector:4318", "resourceAttributes": told}))
    pairs = [pair.partition("=") for pair in environment(found, "orders")["OTEL_RESOURCE_ATTRIBUTES"].split(",")]
    assert sorted(key for key, _, _ in pairs) == ["k8s.namespace.name", "k8s.pod.name", "note", "service.instance.id"]
    assert {key: value for key, _, value in pairs}["note"] == "a%2C%20b=c"


def test_a_common_label_replaces_a_recommended_one_and_is_on_every_object() -> None:
    labels = "commonLabels.team=orders,commonLabels.app\\.kubernetes\\.io/part-of=shop,commonAnnotations.owner=me"
    found = everything("--set", f"{labels},defaults.podLabels.team=mine,services.orders.http.ingress.enabled=true")
    for each in found:
        assert each["metadata"]["labels"]["team"] == "orders"
        assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shop"
        assert each["metadata"]["annotations"]["owner"] == "me"
    assert of_kind(found, "Deployment")["orders"]["spec"]["template"]["metadata"]["labels"]["team"] == "mine"


def test_whatever_is_named_a_second_time_is_there_once(tmp_path: Path) -> None:
    pod = {
        "env": {"JETMESH_APP": "shop:SERVICES", "TZ": "UTC"},
        "extraVolumes": [{"name": "tmp", "emptyDir": {}}, {"name": "site", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "site", "mountPath": "/tmp"}, {"name": "site", "mountPath": "/site"}],
        "initContainers": [{"name": "wait", "image": "a"}, {"name": "wait", "image": "b"}],
        "topologySpreadConstraints": {"kubernetes.io/hostname": {"maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}},
    }
    gateway = {"enabled": True, "parents": [{"name": "public"}] * 2, "hostnames": ["a.example.com"] * 2}
    orders = {**pod, "autoscaling": {"kind": "keda"}, "http": {"gateway": gateway},
              "consumers": [{"stream": "PAYMENTS", "durable": "orders-promise"}] * 2,
              "extraContainers": [{"name": "proxy", "image": "a"}, {"name": "proxy", "image": "b"}]}  # fmt: skip
    found = everything(*values(tmp_path, pods=pod, services={"orders": orders, "payments": pod},
                               image={"pullSecrets": ["registry"] * 2}))  # fmt: skip
    assert doubles(found) == []
    assert pod_of(found, "orders")["initContainers"][0]["image"] == "b"
    assert len(of_kind(found, "ScaledObject")["orders"]["spec"]["triggers"]) == 1
    route = of_kind(found, "HTTPRoute")["orders"]["spec"]
    assert (route["parentRefs"], route["hostnames"]) == ([{"name": "public"}], ["a.example.com"])


def test_the_jobs_of_a_cronjob_are_labelled_as_it_is() -> None:
    found = everything("--set", "commonLabels.team=orders,pods.labels.tier=batch,commonAnnotations.owner=me")
    cron = of_kind(found, "CronJob")["archive"]
    made = cron["spec"]["jobTemplate"]["metadata"]
    assert made["labels"] == cron["metadata"]["labels"]
    assert {"team": "orders", "tier": "batch"}.items() <= made["labels"].items()
    assert made["annotations"] == {"owner": "me"}


def test_the_readme_s_example_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text((CHART / "README.md").read_text().split("```yaml\n")[1].split("```")[0])
    found = everything("--values", str(tmp_path / "values.yaml"))
    assert environment(found, "orders")["REGION"] == "eu-central-2"
    assert environment(found, "inventory")["REGION"] == {"configMapKeyRef": {"name": "site", "key": "region"}}
    assert [name for name in ("orders", "topology", "payments") if "HTTPS_PROXY" in environment(found, name)] == [
        "orders", "topology",
    ]  # fmt: skip
    assert pod_of(found, "topology")["nodeSelector"] == {"pool": "jobs"}


def test_the_images_that_the_chart_names_are_those_that_it_deploys() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    named = {each["image"] for each in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])}
    assert named == {each["spec"]["containers"][0]["image"] for each in pods(everything())}


def test_a_service_adds_to_the_volumes_and_containers_of_every_pod(tmp_path: Path) -> None:
    pod = {
        "extraVolumes": [{"name": "site", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "site", "mountPath": "/site"}],
    }
    orders = {"extraVolumes": [{"name": "own", "emptyDir": {}}], "extraContainers": [{"name": "proxy", "image": "a"}]}
    found = everything(*values(tmp_path, pods=pod, services={"orders": orders}))
    assert {volume["name"] for volume in pod_of(found, "orders")["volumes"]} == {"tmp", "state", "site", "own"}
    assert {mount["name"] for mount in pod_of(found, "archive")["containers"][0]["volumeMounts"]} == {
        "tmp",
        "state",
        "site",
    }
    own, proxy = pod_of(found, "orders")["containers"]
    assert proxy["securityContext"] == own["securityContext"]


@pytest.mark.parametrize("path", COMPONENTS)
def test_every_component_takes_every_value_of_pods(tmp_path: Path, path: str) -> None:
    """The values of `pods` at the component itself are taken by the schema, and change its pod."""
    every = yaml.safe_load((CHART / "values.yaml").read_text())["pods"]
    pod: dict[str, Any] = {
        **every, "env": {"A": "1"}, "podLabels": {"a": "b"}, "nodeSelector": {"pool": "mesh"},
        "tolerations": [{"operator": "Exists"}], "affinity": {"podAffinity": {}}, "runtimeClassName": "gvisor",
        "schedulerName": "mine", "dnsPolicy": "Default", "hostAliases": [{"ip": "10.0.0.1"}],
        "priorityClassName": "high", "serviceAccountName": "mine",
    }  # fmt: skip
    component = {
        "defaults": "orders",
        "services.orders": "orders",
        "mail.sink": "mailsink",
        "broker.embedded": "broker",
    }
    found = everything(*values(tmp_path, **at(path, pod)))
    spec = pod_of(found, component.get(path, path))
    for field in ("nodeSelector", "priorityClassName", "tolerations", "affinity", "runtimeClassName", "schedulerName",
                  "dnsPolicy", "hostAliases", "serviceAccountName"):  # fmt: skip
        assert spec[field] == pod[field]
    assert environment(found, component.get(path, path))["A"] == "1"
    assert component.get(path, path) not in of_kind(found, "ServiceAccount")


def test_what_is_said_of_pods_is_said_of_every_pod(tmp_path: Path) -> None:
    pod = {"nodeSelector": {"pool": "mesh"}, "tolerations": [{"operator": "Exists"}], "env": {"TZ": "UTC"},
           "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"}, "priorityClassName": "high"}  # fmt: skip
    found = everything(*values(tmp_path, pods=pod, image={"pullSecrets": ["registry"]}))
    running = pods(found)
    assert len(running) == len(SERVICES) + len(KINDS) + len(
        ("topology upgrade", "archive volume", "console's test", "shop's test")
    )
    for each in running:
        assert each["metadata"]["labels"]["a"] == "b"
        assert each["metadata"]["annotations"]["c"] == "d"
        assert each["spec"]["nodeSelector"] == {"pool": "mesh"}
        assert each["spec"]["tolerations"] == [{"operator": "Exists"}]
        assert each["spec"]["priorityClassName"] == "high"
        assert each["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        container = each["spec"]["containers"][0]
        assert container.get("command", [""])[0] == "test" or {"name": "TZ", "value": "UTC"} in container["env"]


def test_null_takes_back_what_is_said_of_every_pod(tmp_path: Path) -> None:
    pod = {"nodeSelector": {"pool": "mesh"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "high"}
    spread = {"topologySpreadConstraints": None, "env": None, "egress": None, "extraVolumes": None, "podLabels": None}
    found = everything(*values(tmp_path, pods=pod, services={"orders": {**dict.fromkeys(pod), **spread}}))
    assert not pod_of(found, "orders").keys() & {*pod, "topologySpreadConstraints"}
    assert pod_of(found, "payments").keys() > {*pod, "topologySpreadConstraints"}


def test_the_users_of_pods_can_be_left_to_the_cluster(tmp_path: Path) -> None:
    left = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    for each in pods(everything(*values(tmp_path, pods={"podSecurityContext": left}))):
        context = each["spec"]["securityContext"]
        assert context == {
            "runAsNonRoot": True,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    for each in pods(everything("--set", "pods.podSecurityContext=null")):
        assert "securityContext" not in each["spec"]


def test_a_limit_or_a_probe_can_be_taken_away(tmp_path: Path) -> None:
    orders = {"resources": {"limits": {"memory": None}}, "startupProbe": None, "livenessProbe": {"periodSeconds": 30}}
    container = pod_of(everything(*values(tmp_path, services={"orders": orders})), "orders")["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {}}
    assert "startupProbe" not in container
    assert container["livenessProbe"]["periodSeconds"] == 30
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_no_name_is_longer_than_kubernetes_takes() -> None:
    long = "fullnameOverride=a-name-that-is-as-long-as-forty-letters-,services.payments.replicas=0"
    found = everything("--set", f"{long},dashboards.enabled=true,prometheusRule.enabled=true")
    assert max(len(each["metadata"]["name"]) for each in found) <= 63
    assert len({(each["kind"], each["metadata"]["name"]) for each in found}) == len(found)


def test_credentials_come_from_secrets_that_are_there(tmp_path: Path) -> None:
    orders = {"http": {"tokens": "tokens"}, "credentials": {"secret": "vault", "key": "seed"}}
    found = everything(*values(tmp_path, broker={"secret": "nats", "secretKey": "address"}, mail={"secret": "smtp"},
                               services={"orders": orders}, console={"http": {"tokens": "console"}}))  # fmt: skip
    url = {"secretKeyRef": {"name": "nats", "key": "address"}}
    assert [environment(found, name)["NATS_URL"] for name in ("orders", "topology", "archive", "test")] == [url] * 4
    tokens = {"secretKeyRef": {"name": "tokens", "key": "secret"}}
    assert environment(found, "orders")["JETMESH_HTTP_SECRET"] == tokens
    assert environment(found, "notifications")["JETMESH_SMTP_URL"] == {"secretKeyRef": {"name": "smtp", "key": "url"}}
    mounted = {volume["name"]: volume for volume in pod_of(found, "orders")["volumes"]}
    assert mounted["nkey"]["secret"]["secretName"] == "vault"
    assert not {"Secret", "StatefulSet"} & {each["kind"] for each in found}


def test_every_image_can_come_from_one_registry() -> None:
    found = pods(everything("--set", "global.imageRegistry=registry.example.com/mirror"))
    images = {each["spec"]["containers"][0]["image"] for each in found}
    assert images == {f"registry.example.com/mirror/{image}" for image in (f"jetmesh:{VERSION}", "nats:2.15.1-alpine")}


def test_extra_objects_are_templates(tmp_path: Path) -> None:
    name = "{{ .Release.Name }}-extra"
    told = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}},
        f"kind: Secret\nmetadata: {{name: '{name}'}}",
    ]
    found = objects(render(*values(tmp_path, extraObjects=told)))
    assert {each["kind"] for each in found if each["metadata"]["name"] == "mesh-extra"} == {"ConfigMap", "Secret"}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("services.orders.env[0].name=A", "'/services/orders/env': got array, want null or object"),
        ("services.orders.env.A.valueFrom.secretKeyRef.name=a,services.orders.env.A.valueFrom.fieldRef.fieldPath=b",
         "'/services/orders/env/A/valueFrom': maxProperties: got 2, want 1"),
        ("services.orders.env.A.value=a", "'/services/orders/env/A': additional properties 'value' not allowed"),
        ("mail=null", "missing property 'mail'"),
        ("archive.enabled=true,archive.volume=null", "'/archive': missing property 'volume'"),
        ("defaults.http=null", "'/defaults': missing property 'http'"),
        ("pods.nodSelector.a=b", "'/pods': additional properties 'nodSelector' not allowed"),
        ("pods.env.A=a,pods.secretEnv.A.secret=a,pods.secretEnv.A.key=b", "pods: A is in env and in secretEnv"),
        ("commonLabels.app\\.kubernetes\\.io/instance=x", "the label app.kubernetes.io/instance selects the pods"),
        ("services.broker.replicas=1", "services.broker: the chart has a component of that name"),
        ("services.orders.http.port=8081", "services.orders: port 8081 is both health and http"),
        ("services.orders.metrics.port=8080", "services.orders: port 8080 is both http and metrics"),
        ("services.orders.extraContainers[0].name=orders", "orders is the name of the component's own container"),
        ("services.orders.terminationGracePeriodSeconds=5", "orders.terminationGracePeriodSeconds: 5 seconds are less"),
    ],
)  # fmt: skip
def test_what_can_t_be_meant_is_refused_by_its_name(setting: str, told: str) -> None:
    assert told in helm("template", "mesh", str(CHART), "--kube-version", KUBERNETES, "--set", setting, status=1)
