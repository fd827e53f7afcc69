"""The variables of the OpenTelemetry specification that the runtime reads; it refuses all others by name.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import product

Environment = Mapping[str, str]
PROCESS: Environment = os.environ
"""The environment of this process."""

_SIGNALS = ("", "TRACES_", "METRICS_", "LOGS_")
_OF_AN_EXPORTER = (
    "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "COMPRESSION", "ENDPOINT", "HEADERS", "INSECURE", "PROTOCOL",
    "TIMEOUT",
)  # fmt: skip
_OF_A_BATCH = ("EXPORT_TIMEOUT", "MAX_EXPORT_BATCH_SIZE", "MAX_QUEUE_SIZE", "SCHEDULE_DELAY")

READ = frozenset(
    {
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_LOGS_EXPORTER",
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "OTEL_PROPAGATORS",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        *(f"OTEL_EXPORTER_OTLP_{signal}{name}" for signal, name in product(_SIGNALS, _OF_AN_EXPORTER)),
        *(f"{batch}_{name}" for batch, name in product(("OTEL_BSP", "OTEL_BLRP"), _OF_A_BATCH)),
    }
)
"""The variables that the runtime reads."""

ONE_VALUE: Mapping[str, tuple[str, ...]] = {
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": ("explicit_bucket_histogram",),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("cumulative",),
    "OTEL_LOGS_EXPORTER": ("otlp", "none"),
    "OTEL_METRICS_EXEMPLAR_FILTER": ("trace_based",),
    "OTEL_METRICS_EXPORTER": ("otlp", "none"),
    "OTEL_PROPAGATORS": ("tracecontext",),
    "OTEL_SDK_DISABLED": ("true", "false"),
    "OTEL_TRACES_EXPORTER": ("otlp", "none"),
    **{f"OTEL_EXPORTER_OTLP_{signal}INSECURE": ("true", "false") for signal in _SIGNALS},
}
"""The values that are supported; the specification has more."""

_REFUSED = re.compile(
    "OTEL_(?:"
    "CONFIG_FILE|EXPERIMENTAL_CONFIG_FILE|EXPORTER_(?!OTLP_).+|LOG_LEVEL|"
    "(?:ATTRIBUTE|SPAN|EVENT|LINK|LOGRECORD)_(?:.+_)?LIMIT"
    ")"
)
"""Variables of the specification that are not read: other exporters, a configuration file, attribute limits."""

_FAMILY = re.compile("OTEL_(?:EXPORTER|BSP|BLRP|TRACES?|METRICS?|LOGS?|PROPAGATORS?|SDK|SERVICE)(?:_.*)?")
"""Variables that can only be for an SDK. Others belong to other programs: OTEL_PYTHON_…, OTEL_INSTRUMENTATION_…,
OTEL_RESOURCE_ATTRIBUTES_POD_NAME of the Kubernetes operator."""


class SettingError(ValueError):
    """An environment variable holds what cannot be meant; the text names it and says what can."""


def text(env: Environment, variable: str, default: str = "") -> str:
    """What a variable holds, without the spaces around it; an empty one counts as unset."""
    return env.get(variable, "").strip() or default


def redacted(url: str) -> str:
    """A URL, or what should be one, without the user and password in it."""
    head, at, tail = url.rpartition("@")
    scheme, found, _ = head.partition("://")
    return f"{scheme if found else ''}{found}…@{tail}" if at else url


def check(env: Environment) -> None:
    """Refuse what would otherwise be ignored. An empty variable counts as unset.

    Raises:
        SettingError: naming each variable that is unknown or not supported, or has a value that is not.
    """
    if wrong := list(_wrong(env)):
        raise SettingError("; ".join(wrong))


def _wrong(env: Environment) -> Iterator[str]:
    for variable in sorted(name for name, value in env.items() if name.startswith("OTEL_") and value.strip()):
        if variable in READ:
            yield from _not_one_of(variable, env[variable])
        elif _REFUSED.fullmatch(variable):
            yield f"{variable}: not supported; unset it"
        elif _FAMILY.fullmatch(variable):
            near = get_close_matches(variable, READ, n=1)
            yield f"{variable}: not known" + (f"; is {near[0]} meant?" if near else "; unset it")


def _not_one_of(variable: str, value: str) -> Iterator[str]:
    supported = ONE_VALUE.get(variable)
    if supported and value.strip().lower() not in supported:
        yield f"{variable}={value!r}: not supported; set {' or '.join(supported)}, or unset it"
