"""Which HTTP proxy stands on the way to a receiver: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from jetmesh.telemetry.otlp.variables import Environment, SettingError, redacted, text

PORTS = {"http": 80, "https": 443}


def proxy(env: Environment, url: SplitResult) -> str:
    """The URL of the proxy to a receiver, as far as NO_PROXY allows; empty for none, and to this machine.

    Raises:
        SettingError: naming the variable that holds no HTTP proxy.
    """
    named = _named(env)
    variable = next((named[kind] for kind in (url.scheme, "all") if text(env, named.get(kind, ""))), "")
    if not variable or _is_loopback(url.hostname or "") or _is_spared(url, text(env, named.get("no", ""))):
        return ""
    value = text(env, variable)
    return _checked(variable, value if "://" in value else f"http://{value}")


def _named(env: Environment) -> Mapping[str, str]:
    """The variables, by what they are for. As `urllib` reads them: names in small letters win, empty ones as well."""
    names = (name for name in sorted(env, key=str.islower) if name.lower().endswith("_proxy"))
    return {name.lower().removesuffix("_proxy"): name for name in names}


def _checked(variable: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        if parts.scheme == "http" and parts.hostname and parts.port != 0:
            return parts.geturl()
    except ValueError:
        pass
    raise SettingError(f"{variable}={redacted(value)!r}: the URL of an HTTP proxy, http://proxy:3128, is wanted")


def _is_spared(url: SplitResult, no_proxy: str) -> bool:
    return any(_spares(entry, url) for part in no_proxy.lower().split(",") if (entry := part.strip()))


def _spares(entry: str, url: SplitResult) -> bool:
    """NO_PROXY names hosts, domains with or without `.` or `*.` before them, each with or without a port, addresses and
    networks (10.0.0.0/8); `*` is all."""
    if entry == "*":
        return True
    host = (url.hostname or "").rstrip(".")
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    try:
        spared = urlsplit(f"//{entry.removeprefix('*').lstrip('.')}")
        if spared.port not in (None, url.port or PORTS[url.scheme]):
            return False
    except ValueError:
        return False
    name = (spared.hostname or "").rstrip(".")
    return bool(name) and f".{host}".endswith(f".{name}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
