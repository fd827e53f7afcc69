"""The chart as the tests render it: its examples of values, and the objects that come of them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from jetmesh.testing import until
from tests.support.programs import program, run
from tools import chart_renders

CRDS = Path(__file__).parent / "crds"

Object = dict[str, Any]


def helm(*arguments: str, status: int = 0) -> str:
    """What helm prints."""
    return run(program("helm"), *arguments, status=status)


def render(*arguments: str) -> str:
    """The objects of release `mesh`, as text."""
    return chart_renders.render(program("helm"), *arguments)


def objects(text: str) -> list[Object]:
    """The objects of a rendered text."""
    return [found for found in yaml.safe_load_all(text) if found]


def of_kind(found: list[Object], kind: str) -> dict[str, Object]:
    """The objects of a kind, by component."""
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found if each["kind"] == kind
    }  # fmt: skip


def pods(found: list[Object]) -> list[Object]:
    """The pods, or their templates, of everything that runs."""
    specs = [each.get("spec", {}) for each in found]
    jobs = [spec["jobTemplate"]["spec"] for spec in specs if "jobTemplate" in spec]
    templates = [spec["template"] for spec in [*specs, *jobs] if "template" in spec]
    return templates + [each for each in found if each["kind"] == "Pod"]


def custom_schemas() -> Iterator[tuple[str, Any]]:
    """The schemas of the custom resources, closed as the API server's strict validation closes them."""
    for path in CRDS.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        yield spec["names"]["kind"], closed(spec["versions"][0]["schema"]["openAPIV3Schema"])


def closed(schema: Any) -> Any:
    """The schema, refusing what it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(item) for name, item in schema.items()}
    return {**inside, "additionalProperties": False} if "properties" in schema else inside


@asynccontextmanager
async def ready(container: Object, port: int | str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at a container that runs here on this port, once its readiness probe answers."""
    path = container["readinessProbe"]["httpGet"]["path"]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as browser:

        async def is_ready() -> bool:
            try:
                return (await browser.get(path)).status_code == 200
            except httpx.TransportError:
                return False

        await until(is_ready, within_seconds=60)
        yield browser
