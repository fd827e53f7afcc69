"""How and where spans are exported, read from the environment variables of the OpenTelemetry specification."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling

Environment = Mapping[str, str]

GRPC = "grpc"
HTTP_PROTOBUF = "http/protobuf"
GZIP = "gzip"

_SAMPLERS: Mapping[str, Callable[[float], sampling.Sampler]] = {
    "always_on": lambda _: sampling.ALWAYS_ON,
    "always_off": lambda _: sampling.ALWAYS_OFF,
    "traceidratio": sampling.TraceIdRatioBased,
    "parentbased_always_on": lambda _: sampling.DEFAULT_ON,
    "parentbased_always_off": lambda _: sampling.DEFAULT_OFF,
    "parentbased_traceidratio": sampling.ParentBasedTraceIdRatio,
}


class SettingError(ValueError):
    """An environment variable holds what cannot be meant; the text names it and says what can."""


@dataclass(frozen=True)
class Receiver:
    """Where spans go: a collector, Jaeger, or any other that speaks OTLP."""

    protocol: str
    url: SplitResult
    headers: Mapping[str, str]
    timeout_seconds: float
    gzip: bool
    tls: "TlsFiles"


@dataclass(frozen=True)
class TlsFiles:
    """PEM files that replace the system's certificates and name this client; empty where not given."""

    certificate: str
    client_key: str
    client_certificate: str


@dataclass(frozen=True)
class Batching:
    """How many spans wait, how many go in one request, and how long the last ones wait for company."""

    queue_max: int
    batch_max: int
    delay_seconds: float


def receiver(env: Environment) -> Receiver:
    """Raises SettingError."""
    protocol = _one_of(env, _signal_variable(env, "PROTOCOL"), (HTTP_PROTOBUF, GRPC))
    return Receiver(
        protocol=protocol,
        url=_grpc_endpoint(env) if protocol == GRPC else _http_endpoint(env),
        headers=_pairs(env, _signal_variable(env, "HEADERS")),
        # Milliseconds in the specification, seconds in the Python exporters for metrics that read the same variable.
        timeout_seconds=_number(env, _signal_variable(env, "TIMEOUT"), 10),
        gzip=_one_of(env, _signal_variable(env, "COMPRESSION"), ("none", GZIP)) == GZIP,
        tls=TlsFiles(
            certificate=env.get(_signal_variable(env, "CERTIFICATE"), ""),
            client_key=env.get(_signal_variable(env, "CLIENT_KEY"), ""),
            client_certificate=env.get(_signal_variable(env, "CLIENT_CERTIFICATE"), ""),
        ),
    )


def batching(env: Environment) -> Batching:
    """Wider than the specification's 2,048, 512 and 5 s: a backlog that drains must not lose its spans.

    Raises SettingError.
    """
    queue_max = int(_number(env, "OTEL_BSP_MAX_QUEUE_SIZE", 65_536))
    return Batching(
        queue_max=queue_max,
        batch_max=min(queue_max, int(_number(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 2_048))),
        delay_seconds=_number(env, "OTEL_BSP_SCHEDULE_DELAY", 1_000) / 1000,
    )


def sampler(env: Environment) -> sampling.Sampler:
    """Every trace unless told otherwise; the argument is the share of traces that is kept. Raises SettingError."""
    name = _one_of(env, "OTEL_TRACES_SAMPLER", ("parentbased_always_on", *_SAMPLERS))
    variable = "OTEL_TRACES_SAMPLER_ARG"
    try:
        return _SAMPLERS[name](float(env.get(variable) or 1))
    except ValueError:
        raise SettingError(f"{variable}={env[variable]!r}: a share between 0 and 1 is wanted") from None


def resource(env: Environment) -> Resource:
    """What an operator says of this process; it wins over what the code says. Raises SettingError."""
    attributes = _pairs(env, "OTEL_RESOURCE_ATTRIBUTES")
    if name := env.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = name
    return Resource(attributes)


def disabled(env: Environment) -> bool:
    """True if nothing may be traced or exported at all."""
    return env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exports(env: Environment) -> bool:
    """False if spans are made, so that their ids travel on, but sent nowhere. Raises SettingError."""
    return _one_of(env, "OTEL_TRACES_EXPORTER", ("otlp", "none")) == "otlp"


def _signal_variable(env: Environment, name: str) -> str:
    """The traces' own variable where it is set, else the one for all signals."""
    own = f"OTEL_EXPORTER_OTLP_TRACES_{name}"
    return own if env.get(own) else f"OTEL_EXPORTER_OTLP_{name}"


def _http_endpoint(env: Environment) -> SplitResult:
    """The traces' own endpoint is taken as it is; under the one for all signals, traces have a path of their own."""
    variable = _signal_variable(env, "ENDPOINT")
    url = _url(variable, env.get(variable) or "http://localhost:4318")
    if "TRACES" in variable:
        return url._replace(path=url.path or "/")
    return url._replace(path=url.path.rstrip("/") + "/v1/traces")


def _grpc_endpoint(env: Environment) -> SplitResult:
    variable = _signal_variable(env, "ENDPOINT")
    return _url(variable, env.get(variable) or "http://localhost:4317")


def _url(variable: str, text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        if url.scheme in ("http", "https") and url.hostname and url.port != 0:
            return url
    except ValueError:
        pass
    raise SettingError(f"{variable}={text!r}: a URL such as http://collector:4318 is wanted")


def _one_of(env: Environment, variable: str, choices: Collection[str]) -> str:
    """The first choice is the default."""
    default, *_ = choices
    chosen = (env.get(variable) or default).strip().lower()
    if chosen not in choices:
        raise SettingError(f"{variable}={chosen!r}: one of {', '.join(sorted(set(choices)))} is wanted")
    return chosen


def _number(env: Environment, variable: str, default: float) -> float:
    text = env.get(variable) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 < number < math.inf:
        return number
    raise SettingError(f"{variable}={text!r}: a number above 0 is wanted")


def _pairs(env: Environment, variable: str) -> dict[str, str]:
    """`key=value,key=value`, both percent-encoded."""
    members = [member.partition("=") for member in env.get(variable, "").split(",") if member.strip()]
    if not all(key.strip() and equals for key, equals, _ in members):
        raise SettingError(f"{variable}: key=value pairs parted by commas are wanted")
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in members}
