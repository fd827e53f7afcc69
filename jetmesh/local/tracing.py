"""The spans of a mesh on one machine: a process keeps them, and sends them on to where the user wants them."""

from collections.abc import Mapping
from functools import partial

from jetmesh import settings
from jetmesh.common.extras import has
from jetmesh.common.ports import HOST, is_taken
from jetmesh.local.backing import AFTERWARDS, Backing, BackingServices
from jetmesh.local.plan import listens, program
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.operate.span_source import StorySettings
from jetmesh.telemetry.otlp.settings import GRPC, HTTP_PROTOBUF, Signal, exports, has_receiver, receiver
from jetmesh.telemetry.otlp.variables import PROCESS

NAME, PORT = "traces", 14318
"""The name of the process and of its port, and the usual port."""
JAEGER_GRPC_PORT, JAEGER_PAGE_PORT = 4317, 16686


def keeping_spans(own: BackingServices) -> BackingServices:
    """The same, and the process that keeps spans. An app with a port of its name has one of its own."""
    if NAME in own.ports:
        return own

    def at(state: StateFolder, ports: Mapping[str, int]) -> Backing:
        return own.at(state, ports).over(_store(state, ports[NAME]))

    return BackingServices(at=at, ports={**own.ports, NAME: PORT}, files=own.files)


def where_possible(own: BackingServices) -> BackingServices:
    """The same, keeping spans where any are exported and the extra `traces` is installed."""
    return keeping_spans(own) if exports(PROCESS) and has("starlette", "uvicorn", "opentelemetry.proto") else own


def _store(state: StateFolder, port: int) -> Backing:
    """The process, and what the services are told of it."""
    url = f"http://{HOST}:{port}"
    command = program("jetmesh.local.span_receiver", path=state.traces, port=port)
    process = Spec(NAME, command, listens(port), jaeger_here(), niceness=AFTERWARDS)
    return Backing(processes=[process], urls={"traces_url": url}, environment=partial(_environment, url))


def _environment(url: str, _: str) -> Mapping[str, str]:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": HTTP_PROTOBUF,
        # What the user has set for one signal is where the process sends it on to.
        **{f"OTEL_EXPORTER_OTLP_{signal}_{what}": "" for signal in Signal for what in ("ENDPOINT", "PROTOCOL")},
    }
    if not has_receiver(PROCESS, Signal.METRICS):
        variables["OTEL_METRICS_EXPORTER"] = "none"
    return variables


def jaeger_here() -> Mapping[str, str]:
    """The variables by which spans are sent on to a Jaeger on its usual port, where the user names no receiver."""
    if has_receiver(PROCESS, Signal.TRACES) or not (exports(PROCESS) and is_taken(JAEGER_GRPC_PORT)):
        return {}
    return {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{HOST}:{JAEGER_GRPC_PORT}",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": GRPC,
    }


def sent_on_to() -> str:
    """Where spans go besides the mesh's own store; empty for nowhere."""
    env = {**PROCESS, **jaeger_here()}
    return receiver(env).url.geturl() if has_receiver(env, Signal.TRACES) else ""


def jaeger_page() -> str:
    """Where traces can be looked at: JETMESH_JAEGER_URL, or the Jaeger on its usual ports; empty for nowhere."""
    if url := settings.read(StorySettings).jaeger_url:
        return url.rstrip("/")
    return f"http://{HOST}:{JAEGER_PAGE_PORT}" if jaeger_here() and is_taken(JAEGER_PAGE_PORT) else ""
