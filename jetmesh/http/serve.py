"""An application served over HTTP by a service, next to its reactions."""

import asyncio
from functools import partial

from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from jetmesh.http.limits import Limits
from jetmesh.http.outside import FromOutside
from jetmesh.http.server import HttpServer, listen
from jetmesh.runtime.context import Context
from jetmesh.settings import read


class HttpSettings(BaseModel):
    """`JETMESH_HTTP_PORT` and so on, where a service serves HTTP; without a port it does not. `http_pause_seconds`: how
    long it continues after a stop, not ready any more, while those who send requests take it out.
    `http_requests_per_second`: of one address, in bursts of 20."""

    http_host: str = "127.0.0.1"
    http_port: int = 0
    http_pause_seconds: float = Field(default=0.0, ge=0, le=60)
    http_requests_per_second: float | None = Field(default=None, gt=0)

    def limits(self) -> Limits:
        """The usual limits, with the rate of these settings."""
        return Limits(requests_per_second=self.http_requests_per_second)


def serve(
    context: Context,
    app: ASGIApp,
    settings: HttpSettings | None = None,
    *,
    limits: Limits | None = None,
    leaving: asyncio.Event | None = None,
) -> None:
    """Serve `app` next to the reactions, where `JETMESH_HTTP_PORT` is set or `settings` has a port. A wiring calls it.

    A stop answers what is under way; `leaving` is set then, so that answers without an end, such as server-sent events,
    end. A caller of whom `JETMESH_TRUST_TRACES` does not say so chooses no trace.

    Raises:
        SettingsError: a setting is wrong, or the port can't be listened on.
    """
    settings = settings or read(HttpSettings)
    if settings.http_port:
        outside = FromOutside(app, trusts_callers=context.settings.trust_traces)
        listener = listen(settings.http_host, settings.http_port)
        server = HttpServer(outside, listener, limits or settings.limits(), leaving or asyncio.Event())
        context.run(
            server.run_until_drained,
            name=f"HTTP on port {settings.http_port}",
            drain=partial(server.drain, settings.http_pause_seconds),
        )
