"""How and where traces, metrics and logs are exported: one reading of OpenTelemetry's environment variables for all.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import math
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling

from jetmesh.otlp.variables import Environment, SettingError

Number = TypeVar("Number", int, float)

GRPC = "grpc"
HTTP_PROTOBUF = "http/protobuf"
GZIP = "gzip"
_PORTS = {GRPC: 4317, HTTP_PROTOBUF: 4318}
_MILLISECONDS_MIN = 100

_SAMPLERS: Mapping[str, Callable[[float], sampling.Sampler]] = {
    "always_on": lambda _: sampling.ALWAYS_ON,
    "always_off": lambda _: sampling.ALWAYS_OFF,
    "traceidratio": sampling.TraceIdRatioBased,
    "parentbased_always_on": lambda _: sampling.DEFAULT_ON,
    "parentbased_always_off": lambda _: sampling.DEFAULT_OFF,
    "parentbased_traceidratio": sampling.ParentBasedTraceIdRatio,
}


class Signal(StrEnum):
    """What is exported."""

    TRACES = "TRACES"
    METRICS = "METRICS"
    LOGS = "LOGS"


_LIMITS = {
    Signal.TRACES: "OTEL_BSP_EXPORT_TIMEOUT",
    Signal.METRICS: "OTEL_METRIC_EXPORT_TIMEOUT",
    Signal.LOGS: "OTEL_BLRP_EXPORT_TIMEOUT",
}


@dataclass(frozen=True)
class Receiver:
    """Where a signal goes: a collector, Jaeger, or any other that speaks OTLP. `url` has no user and password:
    `headers` has them. `proxy` is the URL of an HTTP proxy on the way, empty for none."""

    signal: Signal
    protocol: str
    url: SplitResult
    headers: Mapping[str, str]
    timeout_seconds: float
    gzip: bool
    tls: "TlsFiles"
    proxy: str


@dataclass(frozen=True)
class TlsFiles:
    """PEM files that replace the system's certificates and name this client; empty where not given."""

    certificate: str
    client_key: str
    client_certificate: str


@dataclass(frozen=True)
class Batching:
    """How many spans or log records wait, how many go in one request, and how long the last ones wait for company."""

    queue_max: int
    batch_max: int
    delay_seconds: float


def exports(env: Environment, signal: Signal = Signal.TRACES) -> bool:
    """Whether the signal is exported at all: its exporter may be `none`. Raises SettingError."""
    return not disabled(env) and _one_of(env, f"OTEL_{signal}_EXPORTER", ("otlp", "none")) == "otlp"


def has_receiver(env: Environment, signal: Signal) -> bool:
    """Whether somebody asked for the signal: by an endpoint or by its exporter's name. Logs go to standard error as
    well, so that the endpoint for all signals is not enough for them. Raises SettingError."""
    own = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", f"OTEL_{signal}_EXPORTER")
    shared = () if signal is Signal.LOGS else ("OTEL_EXPORTER_OTLP_ENDPOINT",)
    return exports(env, signal) and any(env.get(variable, "").strip() for variable in (*own, *shared))


def receiver(env: Environment, signal: Signal = Signal.TRACES) -> Receiver:
    """Where and how a signal is sent. Raises SettingError."""
    of = _Variables(env, signal)
    protocol = _one_of(env, of("PROTOCOL"), (HTTP_PROTOBUF, GRPC))
    endpoint = _grpc_endpoint(of) if protocol == GRPC else _http_endpoint(of)
    return Receiver(
        signal=signal,
        protocol=protocol,
        url=_without_user(endpoint, protocol),
        headers=_headers(env, of, endpoint),
        timeout_seconds=_timeout_seconds(of),
        gzip=_one_of(env, of("COMPRESSION"), ("none", GZIP)) == GZIP,
        tls=TlsFiles(
            certificate=_file(env, of("CERTIFICATE")),
            client_key=_file(env, of("CLIENT_KEY")),
            client_certificate=_file(env, of("CLIENT_CERTIFICATE")),
        ),
        proxy=_proxy(env, endpoint),
    )


def batching(env: Environment) -> Batching:
    """How spans are batched: wider than the specification's 2,048, 512 and 5 s, for a backlog that drains must not lose
    its spans. Raises SettingError."""
    return _batching(env, "OTEL_BSP", Batching(65_536, 2_048, 1.0))


def log_batching(env: Environment) -> Batching:
    """How log records are batched. Raises SettingError."""
    return _batching(env, "OTEL_BLRP", Batching(2_048, 512, 1.0))


def metric_interval_seconds(env: Environment) -> float:
    """How often the metrics are read and sent. Raises SettingError."""
    return _number(env, "OTEL_METRIC_EXPORT_INTERVAL", 60_000.0) / 1000


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


@dataclass(frozen=True)
class _Variables:
    """The variables of one signal's exporter."""

    env: Environment
    signal: Signal

    def __call__(self, name: str) -> str:
        """The signal's own variable where it is set, else the one for all signals."""
        return own if self.env.get(own := self.own(name)) else f"OTEL_EXPORTER_OTLP_{name}"

    def own(self, name: str) -> str:
        """The signal's own variable."""
        return f"OTEL_EXPORTER_OTLP_{self.signal}_{name}"


def _http_endpoint(of: _Variables) -> SplitResult:
    """A signal's own endpoint is taken as it is; under the one for all signals, each has a path of its own."""
    variable = of("ENDPOINT")
    url = _url(variable, of.env.get(variable) or "http://localhost:4318")
    if variable == of.own("ENDPOINT"):
        return url._replace(path=url.path or "/")
    return url._replace(path=f"{url.path.rstrip('/')}/v1/{of.signal.lower()}")


def _grpc_endpoint(of: _Variables) -> SplitResult:
    """A URL, or host and port alone, which OTEL_EXPORTER_OTLP_INSECURE tells to go without TLS."""
    variable = of("ENDPOINT")
    text = (of.env.get(variable) or "http://localhost:4317").strip()
    if "://" not in text:
        insecure = _one_of(of.env, of("INSECURE"), ("false", "true")) == "true"
        text = f"{'http' if insecure else 'https'}://{text}"
    return _url(variable, text)


def _url(variable: str, text: str) -> SplitResult:
    try:
        url = urlsplit(text.strip())
        if url.scheme in ("http", "https") and url.hostname and url.port != 0:
            return url
    except ValueError:
        pass
    raise SettingError(f"{variable}={_redacted(text)!r}: a URL such as http://collector:4318 is wanted")


def _redacted(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, found, _ = head.partition("://")
    return f"{scheme if found else ''}{found}…@{tail}" if at else url


def _without_user(url: SplitResult, protocol: str) -> SplitResult:
    port = url.port or (_PORTS[GRPC] if protocol == GRPC else None)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return url._replace(netloc=f"{host}:{port}" if port else f"{host}")


def _headers(env: Environment, of: _Variables, url: SplitResult) -> dict[str, str]:
    """What the variable says, and the user and password in the URL as HTTP's basic authentication."""
    headers = _pairs(env, of("HEADERS"))
    if url.username is None or "authorization" in map(str.lower, headers):
        return headers
    return {**headers, "Authorization": basic_authentication(url)}


def basic_authentication(url: SplitResult) -> str:
    """The header's value for the user and password in a URL (RFC 7617)."""
    secret = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return f"Basic {b64encode(secret.encode()).decode()}"


def _proxy(env: Environment, url: SplitResult) -> str:
    """The proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY name, as far as NO_PROXY allows; none to this machine."""
    proxies = _proxies(env)
    host = url.hostname or ""
    if _is_loopback(host) or _is_spared(host, proxies.get("no", "")):
        return ""
    text = proxies.get(url.scheme) or proxies.get("all", "")
    proxy = urlsplit(text if "://" in text else f"http://{text}")
    if text and (proxy.scheme != "http" or not proxy.hostname):
        variable = f"{url.scheme.upper()}_PROXY"
        raise SettingError(f"{variable}={_redacted(text)!r}: the URL of an HTTP proxy, http://proxy:3128, is wanted")
    return proxy.geturl() if text else ""


def _proxies(env: Environment) -> dict[str, str]:
    """As `urllib` reads them: the names in small letters win."""
    found = {name.lower()[: -len("_proxy")]: env[name] for name in env if name.lower().endswith("_proxy") and env[name]}
    small = {name[: -len("_proxy")]: env[name] for name in env if name.endswith("_proxy") and env[name]}
    return {**found, **small}


def _is_spared(host: str, no_proxy: str) -> bool:
    """NO_PROXY names hosts and domains, with or without a leading dot; `*` is all."""
    names = [name.strip().lower().lstrip(".") for name in no_proxy.split(",")]
    return "*" in names or any(f".{host.lower()}".endswith(f".{name}") for name in names if name)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _timeout_seconds(of: _Variables) -> float:
    """Of one request: the exporter's limit or that of its batches, whichever is less."""
    return (
        min(_milliseconds(of.env, of("TIMEOUT"), 10_000.0), _milliseconds(of.env, _LIMITS[of.signal], 30_000.0)) / 1000
    )


def _milliseconds(env: Environment, variable: str, default: float) -> float:
    """As the specification counts; so few as to mean seconds are refused."""
    milliseconds = _number(env, variable, default)
    if milliseconds < _MILLISECONDS_MIN:
        raise SettingError(f"{variable}={env[variable]!r}: milliseconds are meant; write 10000 for ten seconds")
    return milliseconds


def _batching(env: Environment, prefix: str, default: Batching) -> Batching:
    queue_max = _number(env, f"{prefix}_MAX_QUEUE_SIZE", default.queue_max)
    return Batching(
        queue_max=queue_max,
        batch_max=min(queue_max, _number(env, f"{prefix}_MAX_EXPORT_BATCH_SIZE", default.batch_max)),
        delay_seconds=_number(env, f"{prefix}_SCHEDULE_DELAY", default.delay_seconds * 1000) / 1000,
    )


def _one_of(env: Environment, variable: str, choices: Collection[str]) -> str:
    """The first choice is the default."""
    default, *_ = choices
    chosen = (env.get(variable) or default).strip().lower()
    if chosen not in choices:
        raise SettingError(f"{variable}={chosen!r}: one of {', '.join(sorted(set(choices)))} is wanted")
    return chosen


def _number(env: Environment, variable: str, default: Number) -> Number:
    """A number above 0, of the default's type."""
    text = (env.get(variable) or str(default)).strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 < number < math.inf and type(default)(number) > 0:
        return type(default)(number)
    raise SettingError(f"{variable}={text!r}: a number above 0 is wanted")


def _file(env: Environment, variable: str) -> str:
    name = env.get(variable, "")
    if name and not Path(name).is_file():
        raise SettingError(f"{variable}={name!r}: there is no such file")
    return name


def _pairs(env: Environment, variable: str) -> dict[str, str]:
    """`key=value,key=value`, both percent-encoded."""
    members = [member.partition("=") for member in env.get(variable, "").split(",") if member.strip()]
    if not all(key.strip() and equals for key, equals, _ in members):
        raise SettingError(f"{variable}: key=value pairs parted by commas are wanted")
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in members}
