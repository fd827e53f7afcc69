"""TLS to the broker: whom this process trusts, how it proves who it is, and what a failed handshake means."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetmesh.settings import Settings, SettingsError, variable

CA, CERTIFICATE, KEY = (variable(Settings, f"nats_tls_{name}") for name in ("ca", "certificate", "key"))
OTHER_NAME = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def is_asked_for(settings: Settings) -> bool:
    """Whether the connection must be encrypted, whatever the broker says."""
    return bool(settings.nats_tls_ca or settings.nats_tls_certificate or settings.nats_tls_key)


def context(settings: Settings) -> ssl.SSLContext | None:
    """The context that the settings ask for; None: they ask for none.

    Raises:
        SettingsError: a file can't be used; the text names its variable, and nothing of what is in it.
    """
    ca, certificate, key = settings.nats_tls_ca, settings.nats_tls_certificate, settings.nats_tls_key
    if not is_asked_for(settings):
        return None
    if key and not certificate:
        raise SettingsError(f"settings: {CERTIFICATE}: {KEY} is set, and this is not: name the certificate of that key")
    made = _trusting(ca)
    if certificate:
        _identify(made, certificate, key)
    return made


def _trusting(ca: str) -> ssl.SSLContext:
    if ca:
        _check_readable(CA, ca)
    try:
        return ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError:
        raise SettingsError(f"settings: {CA}: {ca} has no certificate in PEM: name the file of the CA") from None


def _identify(made: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load the client's certificate; a key with a passphrase must not ask for it on the terminal."""
    for name, path in ((CERTIFICATE, certificate), (KEY, key or certificate)):
        _check_readable(name, path)
    try:
        made.load_cert_chain(certificate, key or None, password=_no_passphrase)
    except ValueError:
        raise SettingsError(
            f"settings: {KEY}: {key or certificate} has a passphrase: name a file without one"
        ) from None
    except ssl.SSLError as wrong:
        if wrong.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"settings: {KEY}: {key} is not the key of {certificate}: name the one of that pair"
            ) from None
        raise SettingsError(
            f"settings: {CERTIFICATE}, {KEY}: no certificate with its key in PEM: {certificate}, {key or certificate}"
        ) from None


def _check_readable(name: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as unreadable:
        raise SettingsError(f"settings: {name}: {path}: {unreadable.strerror}") from None


def _no_passphrase() -> str:
    raise ValueError("there is none")


def trouble(error: BaseException | None, server: Mapping[str, Any], settings: Settings) -> str:
    """What is wrong with the handshake, and which variable to look at; empty where nothing is.

    `server` is what the broker said of itself. That it misses a client's certificate, or does not trust it, shows as
    a connection that is cut off.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in OTHER_NAME:
            return (
                f"the broker's certificate is for another name ({error.verify_message}): NATS_URL must name one of its"
            )
        return f"the broker's certificate is not trusted ({error.verify_message}): {CA} must name the CA that signed it"
    if server and not server.get("tls_required") and is_asked_for(settings):
        return (
            f"the broker does not ask for TLS, and {CA} or {CERTIFICATE} does: set `tls` at the broker, or unset them"
        )
    if server.get("tls_verify") and isinstance(error, OSError) and not isinstance(error, ConnectionRefusedError):
        if not settings.nats_tls_certificate:
            return f"the broker asks for a client's certificate: {CERTIFICATE} and {KEY} must name one"
        return f"the broker does not take the certificate of {CERTIFICATE}: a CA that it trusts must have signed it"
    return ""
