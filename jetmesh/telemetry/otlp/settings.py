"""How and where traces, metrics and logs are exported: one reading of OpenTelemetry's environment variables for all.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import math
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling

from jetmesh.telemetry.otlp.proxies import PORTS, proxy
from jetmesh.telemetry.otlp.variables import Environment, SettingError, redacted, text

Number = TypeVar("Number", int, float)

GRPC = "grpc"
HTTP_PROTOBUF = "http/protobuf"
GZIP = "gzip"
_PORTS = {GRPC: 4317, HTTP_PROTOBUF: 4318}
_MILLISECONDS_MIN = 100
_IN_A_REQUEST_LINE = re.compile("[!-~]+")
_HEADER_NAME = re.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile("[ -~]*")
_OF_THE_TRANSPORT = frozenset({"content-encoding", "content-length", "content-type", "te", "transfer-encoding"})

_SAMPLERS: Mapping[str, Callable[[float], sampling.Sampler]] = {
    "always_on": lambda _: sampling.ALWAYS_ON,
    "always_off": lambda _: sampling.ALWAYS_OFF,
    "traceidratio": sampling.TraceIdRatioBased,
    "parentbased_always_on": lambda _: sampling.DEFAULT_ON,
    "parentbased_always_off": lambda _: sampling.DEFAULT_OFF,
    "parentbased_traceidratio": sampling.ParentBasedTraceIdRatio,
}


class Signal(StrEnum):
    """A kind of telemetry that is exported."""

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
    """Where a signal is sent: a collector, Jaeger, or any other OTLP receiver. `url` has no user and password:
    `headers` has them. `proxy` is the URL of an HTTP proxy, empty for none."""

    signal: Signal
    protocol: str
    url: SplitResult
    headers: Mapping[str, str]
    timeout_seconds: float
    gzip: bool
    tls: "TlsFiles"
    proxy: str

    @property
    def next_hop(self) -> tuple[str, int]:
        """Host and port to connect to: the proxy's, if there is one."""
        url = urlsplit(self.proxy) if self.proxy else self.url
        return url.hostname or "", url.port or PORTS[url.scheme]


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the CA certificates that replace the system's, and the certificate and key of this client (the key may
    be in the certificate's file); empty if not given."""

    certificate: str
    client_key: str
    client_certificate: str


@dataclass(frozen=True)
class Batching:
    """The size of the queue of spans or log records, the size of a batch, and how long an incomplete batch waits."""

    queue_max: int
    batch_max: int
    delay_seconds: float


def exports(env: Environment, signal: Signal = Signal.TRACES) -> bool:
    """Whether the signal is exported at all: its exporter may be `none`. Raises SettingError."""
    return not disabled(env) and _one_of(env, f"OTEL_{signal}_EXPORTER", ("otlp", "none")) == "otlp"


def has_receiver(env: Environment, signal: Signal) -> bool:
    """Whether the signal is configured: by an endpoint or by its exporter's name. Logs also go to standard error, so
    the endpoint for all signals does not switch on their export. Raises SettingError."""
    own = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", f"OTEL_{signal}_EXPORTER")
    shared = () if signal is Signal.LOGS else ("OTEL_EXPORTER_OTLP_ENDPOINT",)
    return exports(env, signal) and any(text(env, variable) for variable in (*own, *shared))


def receiver(env: Environment, signal: Signal = Signal.TRACES) -> Receiver:
    """Where and how a signal is sent. Raises SettingError."""
    of = _Variables(env, signal)
    protocol = _one_of(env, of("PROTOCOL"), (HTTP_PROTOBUF, GRPC))
    endpoint = _grpc_endpoint(of) if protocol == GRPC else _http_endpoint(of)
    url = _without_user(endpoint, protocol)
    return Receiver(
        signal=signal,
        protocol=protocol,
        url=url,
        headers=_headers(of, endpoint, protocol),
        timeout_seconds=_timeout_seconds(of),
        gzip=_one_of(env, of("COMPRESSION"), ("none", GZIP)) == GZIP,
        tls=_tls_files(of),
        proxy=proxy(env, url),
    )


def batching(env: Environment) -> Batching:
    """How spans are batched: larger than the specification's 2,048, 512 and 5 s, so that no span of a backlog is lost.
    Raises SettingError."""
    return _batching(env, "OTEL_BSP", Batching(65_536, 2_048, 1.0))


def log_batching(env: Environment) -> Batching:
    """How log records are batched. Raises SettingError."""
    return _batching(env, "OTEL_BLRP", Batching(2_048, 512, 1.0))


def metric_interval_seconds(env: Environment) -> float:
    """How often the metrics are read and sent. Raises SettingError."""
    return _milliseconds(env, "OTEL_METRIC_EXPORT_INTERVAL", 60_000.0) / 1000


def sampler(env: Environment) -> sampling.Sampler:
    """Every trace unless a sampler is set; its argument is the share of traces to keep. Raises SettingError."""
    name = _one_of(env, "OTEL_TRACES_SAMPLER", ("parentbased_always_on", *_SAMPLERS))
    variable = "OTEL_TRACES_SAMPLER_ARG"
    share = text(env, variable)
    try:
        return _SAMPLERS[name](float(share or 1))
    except ValueError:
        raise SettingError(f"{variable}={share!r}: a share between 0 and 1 is expected") from None


def resource(env: Environment) -> Resource:
    """The resource attributes that an operator sets; they win over those that the code sets. Raises SettingError."""
    attributes = _pairs(env, "OTEL_RESOURCE_ATTRIBUTES")
    if name := text(env, "OTEL_SERVICE_NAME"):
        attributes["service.name"] = name
    return Resource(attributes)


def disabled(env: Environment) -> bool:
    """True if nothing may be traced or exported at all."""
    return text(env, "OTEL_SDK_DISABLED").lower() == "true"


@dataclass(frozen=True)
class _Variables:
    """The variables of one signal's exporter."""

    env: Environment
    signal: Signal

    def __call__(self, name: str) -> str:
        """The signal's own variable if it is set, else the one for all signals."""
        return own if text(self.env, own := self.own(name)) else f"OTEL_EXPORTER_OTLP_{name}"

    def own(self, name: str) -> str:
        """The signal's own variable."""
        return f"OTEL_EXPORTER_OTLP_{self.signal}_{name}"


def _http_endpoint(of: _Variables) -> SplitResult:
    """A signal's own endpoint is used as it is; to the endpoint for all signals, the signal's path is added."""
    variable = of("ENDPOINT")
    url = _url(variable, text(of.env, variable, "http://localhost:4318"))
    if variable == of.own("ENDPOINT"):
        return url._replace(path=url.path or "/")
    return url._replace(path=f"{url.path.rstrip('/')}/v1/{of.signal.lower()}")


def _grpc_endpoint(of: _Variables) -> SplitResult:
    """A URL, or host and port; for these OTEL_EXPORTER_OTLP_INSECURE switches TLS off."""
    variable = of("ENDPOINT")
    address = text(of.env, variable, "http://localhost:4317")
    if "://" not in address:
        insecure = _one_of(of.env, of("INSECURE"), ("false", "true")) == "true"
        address = f"{'http' if insecure else 'https'}://{address}"
    url = _url(variable, address)
    if url.path.strip("/") or url.query:
        raise SettingError(f"{variable}={redacted(address)!r}: gRPC has no path; write http://collector:4317")
    return url


def _url(variable: str, address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        is_place = url.scheme in ("http", "https") and url.hostname and url.port != 0 and not url.fragment
        if is_place and _IN_A_REQUEST_LINE.fullmatch(f"{_ascii(url)}{url.path}{url.query}"):
            return url
    except ValueError:
        pass
    raise SettingError(f"{variable}={redacted(address)!r}: a URL such as http://collector:4318 is expected")


def _ascii(url: SplitResult) -> str:
    """The URL with its host in the form of DNS (RFC 3490)."""
    return (url.hostname or "").encode("idna").decode()


def _without_user(url: SplitResult, protocol: str) -> SplitResult:
    port = url.port or (_PORTS[GRPC] if protocol == GRPC else None)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else _ascii(url)
    return url._replace(netloc=f"{host}:{port}" if port else host)


def _headers(of: _Variables, url: SplitResult, protocol: str) -> dict[str, str]:
    """The headers of the variable, and the user and password of the URL as basic authentication."""
    variable = of("HEADERS")
    headers = _pairs(of.env, variable)
    for name, value in headers.items():
        if why := _unsendable(name, value, protocol):
            raise SettingError(f"{variable}: {name!r} {why}")
    if len(names := set(map(str.lower, headers))) < len(headers):
        raise SettingError(f"{variable}: a header is named twice, in capital and in small letters")
    if url.username is None or "authorization" in names:
        return headers
    return {**headers, "Authorization": basic_authentication(url)}


def _unsendable(name: str, value: str, protocol: str) -> str:
    """Why a header can't be sent; empty where it can. Its value may be a secret, and is not shown."""
    if not _HEADER_NAME.fullmatch(name):
        return "is not a valid name of a header"
    if name.lower() in _OF_THE_TRANSPORT or (protocol == GRPC and name.lower().startswith("grpc-")):
        return "is set by the exporter itself; remove it"
    if protocol == GRPC and name.lower().endswith("-bin"):
        return "is a binary header, which is not supported"
    return "" if _HEADER_VALUE.fullmatch(value) else "holds characters that are not ASCII, or a line break"


def basic_authentication(url: SplitResult) -> str:
    """The header's value for the user and password in a URL (RFC 7617)."""
    secret = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return f"Basic {b64encode(secret.encode()).decode()}"


def _timeout_seconds(of: _Variables) -> float:
    """The limit of one request: the exporter's or that of its batches, whichever is less."""
    return (
        min(_milliseconds(of.env, of("TIMEOUT"), 10_000.0), _milliseconds(of.env, _LIMITS[of.signal], 30_000.0)) / 1000
    )


def _milliseconds(env: Environment, variable: str, default: float) -> float:
    """A time in milliseconds, in seconds; a value so small that seconds were probably meant is refused."""
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
    """One of the choices; the first is the default."""
    default, *_ = choices
    chosen = text(env, variable, default).lower()
    if chosen not in choices:
        raise SettingError(f"{variable}={chosen!r}: one of {', '.join(sorted(set(choices)))} is expected")
    return chosen


def _number(env: Environment, variable: str, default: Number) -> Number:
    """A number above 0, of the default's type."""
    said = text(env, variable, str(default))
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if 0 < number < math.inf and type(default)(number) == number:
        return type(default)(number)
    raise SettingError(f"{variable}={said!r}: a {'whole ' * isinstance(default, int)}number above 0 is expected")


def _tls_files(of: _Variables) -> TlsFiles:
    files = TlsFiles(*(_file(of.env, of(name)) for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")))
    if files.client_key and not files.client_certificate:
        raise SettingError(
            f"{of('CLIENT_KEY')}: the certificate of this key is missing; set {of('CLIENT_CERTIFICATE')}"
        )
    return files


def _file(env: Environment, variable: str) -> str:
    name = text(env, variable)
    if name and not Path(name).is_file():
        raise SettingError(f"{variable}={name!r}: there is no such file")
    return name


def _pairs(env: Environment, variable: str) -> dict[str, str]:
    """`key=value,key=value`, both percent-encoded."""
    members = [member.partition("=") for member in text(env, variable).split(",") if member.strip()]
    if not all(key.strip() and equals for key, equals, _ in members):
        raise SettingError(f"{variable}: key=value pairs separated by commas are expected")
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in members}
