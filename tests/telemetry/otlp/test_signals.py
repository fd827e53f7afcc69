"""Traces, metrics and logs are sent by one reading of the environment: where, how, and as whom."""

import gzip
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from jetmesh.telemetry import providers
from jetmesh.telemetry.otlp import SettingError
from jetmesh.telemetry.otlp.settings import receiver

SIGNALS = ("traces", "metrics", "logs")
REQUESTS: Mapping[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
WITH_LOGS = {"OTEL_LOGS_EXPORTER": "otlp"}


class Collector(ThreadingHTTPServer):
    """Takes what is posted, and keeps path, headers and body."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Post)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def paths(self) -> set[str]:
        return {urlsplit(path).path for path, _, _ in self.taken}

    def requests(self, signal: str) -> list[Any]:
        return [
            REQUESTS[signal].FromString(gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body)
            for path, headers, body in self.taken
            if path.endswith(f"/v1/{signal}")
        ]

    def headers(self, name: str) -> list[str | None]:
        return [headers.get(name) for _, headers, _ in self.taken]

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Post(BaseHTTPRequestHandler):
    server: Collector
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collectors() -> Iterator[Callable[..., Collector]]:
    made: list[Collector] = []

    def make(*given: Any, **named: Any) -> Collector:
        made.append(Collector(*given, **named))
        return made[-1]

    yield make
    for each in made:
        each.close()


def emit(environment: Mapping[str, str], service: str = "orders") -> None:
    """One span, one count and one log line, sent when this returns."""
    observed = providers.start(service, environment)
    try:
        observed.tracer.start_span("placed").end()
        observed.meter.create_counter("placed").add(1)
        logging.getLogger("jetmesh_shop.orders").error("placed")
    finally:
        observed.shut_down()


def described(request: Any) -> dict[str, str]:
    """The resource that sent it."""
    parts = ("resource_spans", "resource_metrics", "resource_logs")
    resource = next(getattr(request, part)[0].resource for part in parts if hasattr(request, part))
    return {each.key: each.value.string_value for each in resource.attributes}


def test_all_signals_describe_the_same_resource(collectors: Callable[..., Collector]) -> None:
    taken = collectors()
    emit(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{taken.server_port}",
            "OTEL_SERVICE_NAME": "shop-orders",
            "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=shop,deployment.environment.name=m%C3%BCnchen,a=b%3Dc",
            **WITH_LOGS,
        }
    )

    assert taken.paths == {f"/v1/{signal}" for signal in SIGNALS}
    for signal in SIGNALS:
        resource = described(taken.requests(signal)[0])
        assert resource["service.name"] == "shop-orders", signal
        assert resource["service.namespace"] == "shop", signal
        assert resource["deployment.environment.name"] == "münchen", signal
        assert resource["a"] == "b=c", signal


def test_each_signal_goes_to_its_own_endpoint_as_its_own_variables_say(collectors: Callable[..., Collector]) -> None:
    each = {signal: collectors() for signal in SIGNALS}
    own = {}
    for signal, taken in each.items():
        prefix = f"OTEL_EXPORTER_OTLP_{signal.upper()}"
        own[f"{prefix}_ENDPOINT"] = f"http://127.0.0.1:{taken.server_port}/own/v1/{signal}"
        own[f"{prefix}_HEADERS"] = f"api-key={signal}"
        own[f"{prefix}_COMPRESSION"] = "gzip"
    emit({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=all", **own})

    for signal, taken in each.items():
        assert taken.paths == {f"/own/v1/{signal}"}
        assert taken.requests(signal)
        assert set(taken.headers("api-key")) == {signal}
        assert set(taken.headers("Content-Encoding")) == {"gzip"}


@pytest.mark.parametrize("signal", SIGNALS)
def test_one_signal_alone_is_sent_where_only_its_endpoint_is_named(
    collectors: Callable[..., Collector], signal: str
) -> None:
    taken = collectors()
    endpoint = f"http://127.0.0.1:{taken.server_port}/v1/{signal}"
    emit({f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT": endpoint})

    assert taken.paths == {f"/v1/{signal}"}


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_whose_exporter_is_none_is_not_sent(collectors: Callable[..., Collector], signal: str) -> None:
    taken = collectors()
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{taken.server_port}"}
    emit({**endpoint, **WITH_LOGS, f"OTEL_{signal.upper()}_EXPORTER": "none"})

    assert taken.paths == {f"/v1/{each}" for each in SIGNALS if each != signal}


def test_logs_are_exported_only_where_somebody_asks(collectors: Callable[..., Collector]) -> None:
    taken = collectors()
    emit({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{taken.server_port}"})

    assert taken.paths == {"/v1/traces", "/v1/metrics"}


def test_nothing_is_sent_where_the_sdk_is_disabled(collectors: Callable[..., Collector]) -> None:
    taken = collectors()
    endpoint = f"http://127.0.0.1:{taken.server_port}"
    emit({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SDK_DISABLED": "TRUE", **WITH_LOGS})

    assert not taken.taken


def test_a_log_line_points_to_its_trace_and_carries_its_error(collectors: Callable[..., Collector]) -> None:
    taken = collectors()
    endpoint = f"http://127.0.0.1:{taken.server_port}"
    observed = providers.start("orders", {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **WITH_LOGS})
    pointers = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "key": "o-1"}
    try:
        raise ValueError("no such article")
    except ValueError:
        logging.getLogger("jetmesh_shop.orders").exception("refused", extra=pointers)
    observed.shut_down()

    (line,) = taken.requests("logs")[0].resource_logs[0].scope_logs[0].log_records
    attributes = {each.key: each.value.string_value for each in line.attributes}
    assert (line.body.string_value, line.severity_text) == ("refused", "ERROR")
    assert (line.trace_id.hex(), line.span_id.hex()) == (pointers["trace_id"], pointers["span_id"])
    assert attributes["key"] == "o-1"
    assert attributes["exception.message"] == "no such article"


def test_user_and_password_of_an_endpoint_are_sent_as_basic_authentication(
    collectors: Callable[..., Collector],
) -> None:
    taken = collectors()
    emit({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://ada:p%40ss@127.0.0.1:{taken.server_port}", **WITH_LOGS})

    assert len(taken.taken) >= len(SIGNALS)
    assert set(taken.headers("Authorization")) == {"Basic YWRhOnBAc3M="}
    assert all("ada" not in path for path, _, _ in taken.taken)


def test_an_ipv6_endpoint_is_reached_over_http(collectors: Callable[..., Collector]) -> None:
    taken = collectors("::1")
    emit({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://[::1]:{taken.server_port}", **WITH_LOGS})

    assert taken.paths == {f"/v1/{signal}" for signal in SIGNALS}


def proxied(taken: Collector, **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318",
        "HTTP_PROXY": f"http://ada:secret@127.0.0.1:{taken.server_port}",
        **WITH_LOGS,
        **more,
    }


def test_a_proxy_is_asked_for_all_signals(collectors: Callable[..., Collector]) -> None:
    taken = collectors()
    emit(proxied(taken))

    assert {path for path, _, _ in taken.taken} == {f"http://collector.example:4318/v1/{each}" for each in SIGNALS}
    assert set(taken.headers("Host")) == {"collector.example:4318"}
    assert set(taken.headers("Proxy-Authorization")) == {"Basic YWRhOnNlY3JldA=="}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "collector.internal"])
def test_a_proxy_is_left_out_for_this_machine_and_where_no_proxy_says_so(
    collectors: Callable[..., Collector], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, proxy = collectors(), collectors()
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *rest, **named: resolve("127.0.0.1", *rest, **named))
    endpoint = f"http://{host}:{taken.server_port}"
    emit(proxied(proxy, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, NO_PROXY=".internal"))

    assert not proxy.taken
    assert taken.paths == {f"/v1/{signal}" for signal in SIGNALS}


@pytest.mark.parametrize(
    ("host", "no_proxy", "spared"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("[fd00::1]", "fd00::/8", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("collector.mesh.svc", "*.svc", True),
        ("collector.mesh.svc", "SVC.", True),
        ("collector.mesh.svc", "mesh.svc:4318", True),
        ("collector.mesh.svc", "mesh.svc:4317", False),
        ("othermesh.svc", "mesh.svc", False),
        ("collector", "a b, collector", True),
        ("collector", "http://[", False),
        ("collector", "*", True),
        ("collector", ",", False),
    ],
)
def test_no_proxy_names_hosts_domains_addresses_and_networks(host: str, no_proxy: str, spared: bool) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:4318",
        "HTTP_PROXY": "http://proxy:3128",
        "NO_PROXY": no_proxy,
    }
    assert receiver(environment).proxy == ("" if spared else "http://proxy:3128")


class Tunnels(ThreadingHTTPServer):
    """A proxy that carries CONNECT through to one place, whatever host is asked for."""

    daemon_threads = True

    def __init__(self, to: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connect)
        self.to = to
        self.asked: list[tuple[str, str | None]] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Connect(BaseHTTPRequestHandler):
    server: Tunnels

    def do_CONNECT(self) -> None:
        self.server.asked.append((self.path, self.headers["Proxy-Authorization"]))
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_carry, args=(there, self.connection), daemon=True)
            back.start()
            _carry(self.connection, there)
            back.join(5)
        self.close_connection = True

    def log_message(self, *_: object) -> None: ...


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side has hung up


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_proxy_carries_tls_to_the_receiver_and_sees_none_of_it(
    collectors: Callable[..., Collector], tmp_path: Path, protocol: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("collector.example")
    taken: Sequence[object]
    if protocol == "grpc":
        secure = GrpcCollector("127.0.0.1", certificate)
        to, taken = secure.port, secure.taken
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        collector = collectors(context=context)
        to, taken = collector.server_port, collector.taken
    proxy = Tunnels(to)
    emit(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hidden",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
            "HTTPS_PROXY": f"http://ada:secret@127.0.0.1:{proxy.server_port}",
            **WITH_LOGS,
        }
    )
    proxy.shutdown()
    proxy.server_close()

    assert len(taken) >= len(SIGNALS)
    assert set(proxy.asked) == {("collector.example:4318", "Basic YWRhOnNlY3JldA==")}


def test_a_ca_of_ones_own_and_a_client_certificate_serve_all_signals(
    collectors: Callable[..., Collector], tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("client")
    ca, certificate, key = tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(ca))
    client.cert_chain_pems[0].write_to_path(str(certificate))
    client.private_key_pem.write_to_path(str(key))
    taken = collectors(context=context)
    emit(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{taken.server_port}",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(ca),
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(certificate),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(key),
            **WITH_LOGS,
        }
    )

    assert taken.paths == {f"/v1/{signal}" for signal in SIGNALS}


class GrpcCollector:
    """Takes any unary call, and keeps its method and metadata."""

    def __init__(self, host: str, certificate: trustme.LeafCert | None = None) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.server = grpc.server(ThreadPoolExecutor(2), handlers=[_Any(self.taken)])
        if certificate is None:
            self.port = self.server.add_insecure_port(f"{host}:0")
        else:
            pair = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
            self.port = self.server.add_secure_port(f"{host}:0", grpc.ssl_server_credentials([pair]))
        self.server.start()


class _Any(grpc.GenericRpcHandler):
    def __init__(self, taken: list[tuple[str, dict[str, Any]]]) -> None:
        self._taken = taken

    def service(self, call: grpc.HandlerCallDetails) -> Any:
        self._taken.append((call.method, dict(call.invocation_metadata)))
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("form", ["http://ada:secret@{}", "{}"])
def test_grpc_serves_all_signals_with_and_without_a_scheme(host: str, form: str) -> None:
    taken = GrpcCollector(host)
    emit(
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": form.format(f"{host}:{taken.port}"),
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "HTTP_PROXY": "http://127.0.0.1:1",
            **WITH_LOGS,
        }
    )
    taken.server.stop(0).wait()

    assert {method.split(".")[3] for method, _ in taken.taken} == {"trace", "metrics", "logs"}
    if "ada" in form:
        assert {metadata.get("authorization") for _, metadata in taken.taken} == {"Basic YWRhOnNlY3JldA=="}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_on"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "64"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "64"),
        ("OTEL_CONFIG_FILE", "otel.yaml"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://zipkin"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_ENDPIONT", "http://collector:4318"),
        ("OTEL_TRACE_SAMPLER", "always_on"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0.5"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/nowhere/ca.pem"),
        ("HTTP_PROXY", "socks5://proxy:1080"),
        ("ALL_PROXY", "socks5://proxy:1080"),
        ("HTTP_PROXY", "proxy:99999"),
        ("http_proxy", "http://[::1:3128"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://col lector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/ä"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318#v1"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "maybe"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=%E2%82%AC"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=1%0D%0Ahost: elsewhere"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-type=application/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer a,authorization=Bearer b"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", __file__),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1.5"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(variable: str, value: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", **WITH_LOGS, variable: value}
    with pytest.raises(SettingError, match=variable):
        providers.start("orders", environment)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317/v1/traces"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "token-bin=1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "grpc-timeout=1S"),
    ],
)
def test_what_grpc_does_not_take_is_refused_by_its_name(variable: str, value: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(SettingError, match=variable):
        providers.start("orders", {**environment, variable: value})


@pytest.mark.parametrize(
    "variable",
    [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_SERVICE_NAME",
        "HTTP_PROXY",
    ],
)
def test_a_variable_of_spaces_counts_as_unset(collectors: Callable[..., Collector], variable: str) -> None:
    taken = collectors()
    emit({"OTEL_EXPORTER_OTLP_ENDPOINT": f" http://127.0.0.1:{taken.server_port} ", **WITH_LOGS, variable: "  "})

    assert taken.paths == {f"/v1/{signal}" for signal in SIGNALS}
    assert described(taken.requests("traces")[0])["service.name"] == "orders"


def test_a_misspelt_variable_is_told_from_the_one_that_is_meant() -> None:
    with pytest.raises(SettingError, match=r"OTEL_EXPORTER_OTLP_TRACE_ENDPOINT.*OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        providers.start("orders", {"OTEL_EXPORTER_OTLP_TRACE_ENDPOINT": "http://collector:4318"})


def test_a_password_is_not_shown_in_an_error() -> None:
    with pytest.raises(SettingError) as refused:
        providers.start("orders", {"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://ada:secret@collector"})

    assert "secret" not in str(refused.value)


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(empty),
    }
    with pytest.raises(SettingError, match=r"CERTIFICATE.*ca\.pem"):
        providers.start("orders", environment)


@pytest.mark.parametrize(
    "variable",
    [
        "OTEL_PYTHON_LOG_CORRELATION",
        "OTEL_RESOURCE_ATTRIBUTES_POD_NAME",
        "OTEL_SEMCONV_STABILITY_OPT_IN",
        "OTEL_PROPAGATORS",
    ],
)
def test_variables_of_other_programs_and_empty_ones_do_not_matter(variable: str) -> None:
    value = "" if variable == "OTEL_PROPAGATORS" else "anything"
    providers.start("orders", {variable: value}).shut_down()
