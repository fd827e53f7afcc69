"""A real Kubernetes control plane on loopback, up in seconds: etcd, API server, controllers, scheduler.

Deployments, Jobs, hooks, RBAC, admission, quotas and custom resources are real, so `helm install --wait` is. Containers
are not run: kwok plays the node, on which every pod becomes ready and one that is not restarted completes at once.
Volumes of the class `late` are bound where a pod wants them (WaitForFirstConsumer), others at once.

    just tools helm kube && just cluster up && export KUBECONFIG=.tools/cluster/kubeconfig
"""

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".tools"
FOLDER = TOOLS / "cluster"
START_SECONDS = 120.0
PLAYED = Path(__file__).with_name("node.yaml")
SAID = "2026-01-01T00:00:00.000000000Z stdout F what the container said\n"
"""The log of every container, as a container runtime writes it."""

VOLUMES = {"": 64, "late": 16}
LATE = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "late"},
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "node-1",
        "labels": {"kubernetes.io/hostname": "node-1", "topology.kubernetes.io/zone": "zone-1"},
    },
    "status": {kind: {"cpu": "32", "memory": "256Gi", "pods": "110"} for kind in ("allocatable", "capacity")},
}


def main(arguments: list[str]) -> None:
    """`up [FOLDER]` prints the path of the kubeconfig, `down [FOLDER]` ends everything and removes the folder."""
    verb, folder = (arguments or [""])[0], Path((arguments[1:] or [str(FOLDER)])[0]).resolve()
    if verb not in ("up", "down") or len(arguments) > 2:
        sys.exit("usage: cluster up|down [FOLDER]")
    down(folder)
    if verb == "up":
        print(up(folder))


def up(folder: Path) -> Path:
    """Start a control plane in the folder, on free ports; the path of its kubeconfig.

    Raises:
        RuntimeError: one of its programs does not start; the text has its last words.
    """
    folder.mkdir(parents=True)
    etcd, peers, api, kwok = free_ports(4)
    try:
        start_etcd(folder, etcd, peers)
        start_api(folder, etcd, api)
        start_others(folder, kwok)
        volumes = [volume(name, number) for name, count in VOLUMES.items() for number in range(count)]
        items = [NODE, LATE, *volumes]
        kubectl(
            folder, "apply", "--filename", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        )
        until(lambda: node_is_ready(folder), folder, "kwok")
    except BaseException:
        down(folder)
        raise
    return folder / "kubeconfig"


def down(folder: Path) -> None:
    """End what was started in the folder, and remove it."""
    for file in folder.glob("*.pid"):
        try:
            os.kill(int(file.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            continue
    shutil.rmtree(folder, ignore_errors=True)


def start_etcd(folder: Path, port: int, peers: int) -> None:
    """The store, which answers its health when it is there."""
    url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    start(folder, "etcd", "--data-dir=etcd", f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
          f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
          "--log-level=error", "--unsafe-no-fsync")  # fmt: skip
    until(lambda: answers(port), folder, "etcd")


def start_api(folder: Path, etcd: int, port: int) -> None:
    """The API server, with one user who may do everything."""
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig(port, token), indent=2))
    openssl(folder, "genrsa", "-out", "key.pem", "2048")
    start(folder, "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={port}",
          "--bind-address=127.0.0.1", "--cert-dir=certificates", "--service-account-key-file=key.pem",
          "--service-account-signing-key-file=key.pem", "--service-account-issuer=https://kubernetes.default.svc",
          "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC", "--token-auth-file=tokens.csv",
          )  # fmt: skip
    until(lambda: succeeds(folder, "get", "--raw", "/readyz"), folder, "kube-apiserver")


def start_others(folder: Path, kwok: int) -> None:
    """What works on what the API server holds."""
    start(folder, "kube-controller-manager", "--kubeconfig=kubeconfig", "--service-account-private-key-file=key.pem",
          "--secure-port=0")  # fmt: skip
    start(folder, "kube-scheduler", "--kubeconfig=kubeconfig", "--secure-port=0")
    (folder / "containers.log").write_text(SAID)
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node-1", "-keyout", "node.key",
            "-out", "node.crt")  # fmt: skip
    start(folder, "kwok", "--kubeconfig=kubeconfig", "--manage-all-nodes=true", "--cidr=10.1.0.1/24",
          "--node-ip=127.0.0.1", f"--node-port={kwok}", f"--server-address=127.0.0.1:{kwok}",
          "--tls-cert-file=node.crt", "--tls-private-key-file=node.key", "--node-lease-duration-seconds=40",
          f"--config={PLAYED}")  # fmt: skip


def openssl(folder: Path, *arguments: str) -> None:
    """Make keys and certificates in the folder."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def volume(name: str, number: int) -> dict[str, object]:
    """A volume of a storage class to be claimed, since nothing here makes one."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"volume-{name}{number}"},
        "spec": {
            "storageClassName": name,
            "capacity": {"storage": "1Ti"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/volumes/{name}{number}"},
        },
    }


def kubeconfig(port: int, token: str) -> dict[str, object]:
    """How a client gets to the API server; YAML allows JSON."""
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "admin"}}],
        "current-context": "local",
    }


def start(folder: Path, name: str, *arguments: str) -> None:
    """Start a program that outlives this one, with its log and its process id in the folder."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [TOOLS / "bin" / name, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    (folder / f"{name}.pid").write_text(str(process.pid))


def until(condition: Callable[[], bool], folder: Path, name: str) -> None:
    """Wait for what the named program must bring about."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} did not start:\n{(folder / f'{name}.log').read_text()[-2_000:]}")
        time.sleep(0.2)


def answers(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def node_is_ready(folder: Path) -> bool:
    """Whether pods can be placed on the node."""
    wait = ("wait", "--for=condition=Ready", "node/node-1", "--timeout=1s")
    return succeeds(folder, *wait) and succeeds(folder, "get", "serviceaccount", "default")


def succeeds(folder: Path, *arguments: str) -> bool:
    """Whether kubectl ends well."""
    return kubectl(folder, *arguments, check=False).returncode == 0


def kubectl(folder: Path, *arguments: str, text: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run kubectl against the cluster of the folder."""
    command = [str(TOOLS / "bin" / "kubectl"), "--kubeconfig", str(folder / "kubeconfig"), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=check)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, and below those that outgoing connections are given."""
    candidates = random.sample(range(10_000, 32_768), 100 * count)
    return list(islice((port for port in candidates if not answers(port)), count))


if __name__ == "__main__":
    main(sys.argv[1:])
