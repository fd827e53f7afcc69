"""How the console of a demo reaches the demo that started it: a port on loopback, and a token that only the two know.

Without the two variables that the demo gives its console there is no such page.
"""

import asyncio
import hmac
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import httpx
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jetmesh import Unavailable
from jetmesh.common.ports import HOST
from jetmesh.extend import ConsoleItem, ConsolePage
from jetmesh.http import Limits
from jetmesh.http.server import listen, serving
from jetmesh.local.plan import Plan
from jetmesh.local.supervisor import StartFailed
from jetmesh.settings import read
from jetmesh_shop.reference.faults import Faults

TIMEOUT_SECONDS = 90.0
"""A service that starts again may take its time."""
WORDS = (
    "Break something, watch it in Flow, and mend it again: nothing is lost, and nothing is done twice. What a stopped "
    "process would have done waits on the broker; a killed one is started again at once."
)


class DemoSettings(BaseModel):
    """What a demo tells its console alone: where it listens, and the token that it wants."""

    demo_url: str = ""
    demo_token: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """The demo's side."""

    listener: socket.socket = field(default_factory=lambda: listen(HOST, 0))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def told_to_the_console(self, plan: Plan) -> Plan:
        """The same plan, whose console finds this demo."""
        url = f"http://{HOST}:{self.listener.getsockname()[1]}"
        told = {"JETMESH_DEMO_URL": url, "JETMESH_DEMO_TOKEN": self.token}
        processes = [
            replace(each, environment={**each.environment, **told}) if each.name == "console" else each
            for each in plan.backing.processes
        ]
        return replace(plan, backing=replace(plan.backing, processes=processes))

    @asynccontextmanager
    async def over(self, faults: Faults) -> AsyncIterator[None]:
        """Let the console break and mend things, for the block."""
        async with serving(application(faults, self.token), self.listener, Limits(stop_seconds=1), asyncio.Event()):
            try:
                yield
            finally:
                await faults.end()


def application(faults: Faults, token: str) -> Starlette:
    """What the demo answers to its console."""

    def is_known(request: Request) -> bool:
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode())

    async def items(request: Request) -> Response:
        if not is_known(request):
            return Response(status_code=401)
        return JSONResponse([asdict(item) for item in await faults.items()])

    async def act(request: Request) -> Response:
        if not is_known(request):
            return Response(status_code=401)
        try:
            said = await faults.act(request.path_params["item"], request.path_params["action"])
        except StartFailed as failed:
            return JSONResponse(str(failed), 503)
        return JSONResponse(said)

    return Starlette(routes=[Route("/", items), Route("/{item}/{action}", act, methods=["POST"])])


def pages() -> Sequence[ConsolePage]:
    """The page of a console that a demo started; nothing elsewhere."""
    told = read(DemoSettings)
    if not told.demo_url:
        return ()

    async def asked(method: str, path: str) -> Any:
        bearer = {"Authorization": f"Bearer {told.demo_token}"}
        try:
            async with httpx.AsyncClient(base_url=told.demo_url, trust_env=False, timeout=TIMEOUT_SECONDS) as client:
                answer = await client.request(method, path, headers=bearer)
        except httpx.HTTPError as failed:
            raise Unavailable(f"the demo does not answer: {failed!r}") from failed
        if answer.is_error:
            raise Unavailable(f"the demo: {answer.text or answer.status_code}")
        return answer.json()

    async def items() -> list[ConsoleItem]:
        return [ConsoleItem(**item) for item in await asked("GET", "/")]

    async def act(item: str, action: str) -> str:
        return str(await asked("POST", f"/{item}/{action}"))

    return [ConsolePage(path="faults", title="Faults", key="x", words=WORDS, items=items, act=act)]
