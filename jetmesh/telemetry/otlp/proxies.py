"""Which HTTP proxy is used for a receiver: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from jetmesh.telemetry.otlp.variables import Environment, SettingError, redacted, text

PORTS = {"http": 80, "https": 443}


def proxy(env: Environment, url: SplitResult) -> str:
    """The URL of the proxy for a receiver; empty for none, for hosts in NO_PROXY, and for this machine.

    Raises:
        SettingError: naming the variable that is not the URL of an HTTP proxy.
    """
    named = _named(env)
    variable = next((named[kind] for kind in (url.scheme, "all") if text(env, named.get(kind, ""))), "")
    if not variable or _is_loopback(url.hostname or "") or _is_spared(url, text(env, named.get("no", ""))):
        return ""
    value = text(env, variable)
    return _checked(variable, value if "://" in value else f"http://{value}")


def _named(env: Environment) -> Mapping[str, str]:
    """The variables by scheme, read as `urllib` does: names in lower case win, even if they are empty."""
    names = (name for name in sorted(env, key=str.islower) if name.lower().endswith("_proxy"))
    return {name.lower().removesuffix("_proxy"): name for name in names}


def _checked(variable: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        if parts.scheme == "http" and parts.hostname and parts.port != 0:
            return parts.geturl()
    except ValueError:
        pass
    raise SettingError(f"{variable}={redacted(value)!r}: the URL of an HTTP proxy, http://proxy:3128, is expected")


def _is_spared(url: SplitResult, no_proxy: str) -> bool:
    return any(_matches(entry, url) for part in no_proxy.lower().split(",") if (entry := part.strip()))


def _matches(entry: str, url: SplitResult) -> bool:
    """Whether an entry of NO_PROXY matches. It is a host, a domain with or without `.` or `*.` before it, each with or
    without a port, an address, a network (10.0.0.0/8), or `*` for all."""
    if entry == "*":
        return True
    host = (url.hostname or "").rstrip(".")
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    try:
        entry_url = urlsplit(f"//{entry.removeprefix('*').lstrip('.')}")
        if entry_url.port not in (None, url.port or PORTS[url.scheme]):
            return False
    except ValueError:
        return False
    name = (entry_url.hostname or "").rstrip(".")
    return bool(name) and f".{host}".endswith(f".{name}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
