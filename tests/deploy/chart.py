"""The chart as the tests render it: its examples of values, and the objects that come of them."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.programs import ROOT, program, run

CHART = ROOT / "deploy" / "helm" / "jetmesh"
GOLDEN = Path(__file__).parent / "golden"
CRDS = Path(__file__).parent / "crds"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = "1.35"

MADE_ONCE = re.compile(r"^( +(?:secret|operator-token): )[A-Za-z0-9+/=]{40,}$", re.MULTILINE)
"""Secrets that the chart makes: other ones each time."""

Object = dict[str, Any]


def helm(*arguments: str, status: int = 0) -> str:
    """What helm prints."""
    return run(program("helm"), *arguments, status=status)


def render(*arguments: str) -> str:
    """The objects of release `mesh`, as text."""
    text = helm("template", "mesh", str(CHART), "--namespace", "shop", "--kube-version", KUBERNETES, *arguments)
    return MADE_ONCE.sub(r"\1<made once>", text)


def objects(text: str) -> list[Object]:
    """The objects of a rendered text."""
    return [found for found in yaml.safe_load_all(text) if found]


def of_kind(found: list[Object], kind: str) -> dict[str, Object]:
    """The objects of a kind, by component."""
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found if each["kind"] == kind
    }  # fmt: skip


def pods(found: list[Object]) -> list[Object]:
    """The pod templates of everything that runs."""
    return [each["spec"]["template"] for each in found if "template" in each.get("spec", {})]
