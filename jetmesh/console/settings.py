"""The settings of the console, `JETMESH_CONSOLE_…`, checked at start."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, model_validator

TOKEN_MIN = 16

Network: TypeAlias = IPv4Network | IPv6Network


def _words(text: object) -> object:
    return _split(text) if isinstance(text, str) else text


def _networks(text: object) -> object:
    return [ip_network(word, strict=False) for word in _split(text)] if isinstance(text, str) else text


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


class ConsoleSettings(BaseModel):
    """`console_token` is what operators show, `console_viewer_token` what viewers do; both have 16 characters or more.
    `console_proxies` are the networks of an OIDC proxy, whose headers say who asks, and `console_proxy_secret` is the
    password that it shows (basic authentication). `console_operators` are the users and groups (in these headers) that
    may act, all others are viewers. `console_hide_bodies` shows no bodies to viewers, `console_read_only` lets nobody
    act. `console_live_max` pages are live at a time, of these `console_live_max_of_session` of one session."""

    console_host: str = "127.0.0.1"
    console_port: int = Field(default=8088, ge=0, le=65_535)
    console_token: str = ""
    console_viewer_token: str = ""
    console_proxies: Annotated[Sequence[Network], BeforeValidator(_networks)] = ()
    console_proxy_secret: str = ""
    console_operators: Annotated[Sequence[str], BeforeValidator(_words)] = ()
    console_hide_bodies: bool = False
    console_read_only: bool = False
    console_live_max: int = Field(default=200, ge=1, le=800)
    console_live_max_of_session: int = Field(default=20, ge=1)

    @property
    def is_open(self) -> bool:
        """Whether nobody has to say who he is: on loopback alone."""
        return not (self.console_token or self.console_viewer_token or self.console_proxies)

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        for name in ("console_token", "console_viewer_token", "console_proxy_secret"):
            if 0 < len(getattr(self, name)) < TOKEN_MIN:
                raise ValueError(f"JETMESH_{name.upper()} is short: write {TOKEN_MIN} characters or more, at random")
        if self.console_proxy_secret and not self.console_proxies:
            raise ValueError("JETMESH_CONSOLE_PROXY_SECRET is for a proxy: name its network, JETMESH_CONSOLE_PROXIES")
        if self.console_token and self.console_token == self.console_viewer_token:
            raise ValueError("JETMESH_CONSOLE_VIEWER_TOKEN is the operators' token: make another one")
        if self.is_open and not is_loopback(self.console_host):
            raise ValueError(
                f"JETMESH_CONSOLE_HOST={self.console_host} lets others in: set JETMESH_CONSOLE_TOKEN, or "
                "JETMESH_CONSOLE_PROXIES with the network of an OIDC proxy"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
