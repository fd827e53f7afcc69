"""The links to a real Jaeger: the page of an order and a story of the console lead to the trace, and it is there."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.async_api import Page

from jetmesh.common.ports import HOST, free_ports, is_taken
from jetmesh.local.supervisor import Spec
from jetmesh.settings import environment
from jetmesh.testing import until
from jetmesh.testing.jaeger import Jaeger
from jetmesh_shop.reference import backing
from tests.browser.demo import Demo, buy, choose, until_complete
from tests.support.browser import Browsing
from tests.support.programs import program
from tests.support.waiting import wait_until

SERVICES = {"orders", "payments", "inventory", "notifications", "delivery"}
TRACE = """async id => {
  const answer = await fetch(`/api/traces/${id}`);
  if (!answer.ok) return [];
  const [trace] = (await answer.json()).data;
  return trace.spans.map(span => trace.processes[span.processID].serviceName);
}"""
"""What Jaeger's own page reads of a trace; which service each span is of."""


@contextmanager
def started(spec: Spec, port: int, nats_url: str) -> Iterator[None]:
    process = subprocess.Popen(spec.command, env={**environment(), **spec.environment, "NATS_URL": nats_url})
    try:
        wait_until(lambda: is_taken(port), f"{spec.name} is up", 60)
        yield
    finally:
        process.terminate()
        process.wait(30)


async def test_an_order_and_its_story_lead_to_the_trace_in_jaeger(
    running: Demo, jaeger_of_all: Jaeger | None, browsing: Browsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("jaeger")
    assert jaeger_of_all is not None
    monkeypatch.setenv("JETMESH_JAEGER_URL", f"{jaeger_of_all.url}/")
    ports = dict(zip(("shop", "console", "monitor"), free_ports(3), strict=True))
    shop, console = f"http://{HOST}:{ports['shop']}", f"http://{HOST}:{ports['console']}/mesh"
    with ExitStack() as stack:
        for spec in (
            backing.shop_front(running.state, ports, running.edge_url),
            backing.console(running.state, ports),
        ):
            stack.enter_context(started(spec, ports[spec.name], running.endpoints["nats_url"]))
        page = await browsing.page()
        await page.goto(shop)
        await choose(page, "cola")
        order_id = await buy(page)
        await until_complete(page)
        await page.get_by_role("link", name="Trace in Jaeger").click()
        trace_id = await _is_whole(page, jaeger_of_all, browsing)
        await page.goto(f"{console}/story?key={order_id}")
        await page.get_by_role("link", name=f"Trace {trace_id} in Jaeger").click()
        await _is_whole(page, jaeger_of_all, browsing)


async def _is_whole(page: Page, jaeger: Jaeger, browsing: Browsing) -> str:
    await page.wait_for_url(f"{jaeger.url}/trace/*")
    trace_id = page.url.rpartition("/")[2]

    async def has_all() -> bool:
        return set(await page.evaluate(TRACE, trace_id)) >= SERVICES

    with browsing.complaints.expected():  # spans arrive a moment after their events; until then Jaeger answers 404
        await until(has_all, 30, f"Jaeger has the trace {trace_id}")
    return trace_id
