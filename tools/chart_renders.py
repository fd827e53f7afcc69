"""The chart rendered with each example of its values, as the tests compare it."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm" / "jetmesh"
GOLDEN = ROOT / "tests" / "deploy" / "golden"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = "1.35"

MADE_ONCE = re.compile(r"^( +(?:secret|(?:operator-|viewer-)?token|proxy-secret): )[A-Za-z0-9+/=]{40,}$", re.MULTILINE)
"""Secrets that the chart makes: other ones each time."""


def files() -> dict[Path, str | None]:
    """Each render by its file; none where there is no helm."""
    helm = shutil.which("helm")
    return {golden(values): render(helm, "--values", str(values)) for values in EXAMPLES} if helm else {}


def golden(values: Path) -> Path:
    """The file of the render with these values."""
    return GOLDEN / values.name.replace("-values", "")


def render(helm: str, *arguments: str) -> str:
    """The objects of release `mesh`, as text."""
    command = [helm, "template", "mesh", str(CHART), "--namespace", "shop", "--kube-version", KUBERNETES, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ValueError(f"helm template {' '.join(arguments)}: {ran.stderr.strip()}")
    return MADE_ONCE.sub(r"\1<made once>", ran.stdout)
