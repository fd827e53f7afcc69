"""A page that an app adds to the console: drawn, guarded and logged by it."""

import re
from collections.abc import Sequence

import pytest

from jetmesh.extend import ConsoleItem, ConsolePage
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.reaction import DeclarationError
from jetmesh.testing import MeshOf
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.tollgate import Bank, Gate, tollgate


class Barrier:
    """What the page shows."""

    def __init__(self) -> None:
        self.is_up = False

    async def items(self) -> Sequence[ConsoleItem]:
        actions = {"lower": "Lower it"} if self.is_up else {"raise": "Raise it"}
        return [ConsoleItem(name="barrier", title="<b>Barrier", state="up" if self.is_up else "down", actions=actions)]

    async def act(self, item: str, action: str) -> str:
        self.is_up = action == "raise"
        return f"The {item} is {'up' if self.is_up else 'down'}."

    def page(self, path: str = "barriers", key: str = "z") -> ConsolePage:
        return ConsolePage(path=path, title="Barriers", key=key, words="Of tolls.", items=self.items, act=self.act)


async def test_an_operator_acts_once_and_the_log_says_it(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    service, barrier = tollgate(), Barrier()
    mesh = await mesh_of(service, dependencies=[Gate(Bank())])
    browser = await console_of([service], added=[barrier.page()])
    shown = (await browser.get("/mesh/barriers")).text
    assert "&lt;b&gt;Barrier" in shown
    assert 'data-key="z"' in shown
    answer = await send(browser, "/mesh/barriers", "/mesh/barriers/act", item="barrier", do="raise")
    assert (barrier.is_up, "The barrier is up." in answer.text, "Lower it" in answer.text) == (True, True, True)
    again = await send(browser, "/mesh/barriers", "/mesh/barriers/act", item="barrier", do="raise")
    assert (again.status_code, "look at the page again" in again.text) == (409, True)
    (entry,) = await DeadLetters(mesh.context.connection, mesh.context.publisher).log()
    assert (entry.action, entry.reaction, entry.note) == ("barriers: raise", "tolls.barriers.barrier", "Raise it")


async def test_neither_a_viewer_nor_another_page_acts(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    service, barrier = tollgate(), Barrier()
    await mesh_of(service, dependencies=[Gate(Bank())])
    browser = await console_of([service], added=[barrier.page()])
    token = re.findall(r'name="form_token" value="([^"]*)"', (await browser.get("/mesh/barriers")).text)[0]
    wanted = {"item": "barrier", "do": "raise"}
    assert (await browser.post("/mesh/barriers/act", data=wanted)).status_code == 403
    assert (await browser.post("/mesh/barriers/act", data={**wanted, "form_token": token[::-1]})).status_code == 403
    other = {"Origin": "http://other.example"}
    sent = await browser.post("/mesh/barriers/act", data={**wanted, "form_token": token}, headers=other)
    assert sent.status_code == 403
    viewer = await console_of([service], added=[barrier.page()], token="o" * 32, viewer_token="v" * 32)
    viewer.headers["Authorization"] = f"Bearer {'v' * 32}"
    assert "Raise it" not in (await viewer.get("/mesh/barriers")).text
    assert (await viewer.post("/mesh/barriers/act", data=wanted)).status_code == 403
    assert not barrier.is_up


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ([("letters", "z")], "path='letters'"),
        ([("Barriers/x", "z")], "path='Barriers/x'"),
        ([("barriers", "f")], "key='f'"),
        ([("barriers", "z"), ("barriers", "y")], "path='barriers'"),
    ],
    ids=["a view's", "no path", "a view's key", "twice"],
)
async def test_a_page_that_does_not_fit_is_named(
    console_of: ConsoleOf, pages: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(DeclarationError, match=re.escape(words)):
        await console_of([tollgate()], added=[Barrier().page(*page) for page in pages])
