"""Who asks, and what he may do: roles, sessions, tokens of forms."""

import hmac
import secrets
import time
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from http.cookies import SimpleCookie
from ipaddress import ip_address
from urllib.parse import urlsplit

from jetmesh.common.own_name import own_name
from jetmesh.console.settings import ConsoleSettings, is_loopback

COOKIE = "jetmesh_console"
SESSION_SECONDS = 12 * 3_600
USER_HEADERS, GROUPS_HEADER = ("x-forwarded-email", "x-forwarded-user"), "x-forwarded-groups"
"""What oauth2-proxy says of a user. It takes these from what a browser sends, and lets any other header through."""

READ_ONLY = "This console is read-only. Do it in one without --read-only."
UNNAMED = "Nobody is named in this request: come by the address of the OIDC proxy in front of the console."


class Role(StrEnum):
    """What a user may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. `bound` is what his form tokens are bound to: his session, or his name where nothing else tells who he
    is; empty: he shows a token, which no other site's page can do."""

    name: str
    role: Role
    bound: str = ""


class NotAllowed(Exception):
    """The request is refused; the text says why, and what to do."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Caller:
    """What of a request access depends on."""

    client: str
    headers: Mapping[str, str]

    def authorization(self, scheme: str) -> str:
        """What the request shows by this scheme; empty if nothing."""
        said, _, shown = self.headers.get("authorization", "").partition(" ")
        return shown.strip() if said.lower() == scheme else ""

    @property
    def password(self) -> str:
        """The password of basic authentication; empty without one."""
        try:
            return b64decode(self.authorization("basic"), validate=True).decode().partition(":")[2]
        except ValueError:
            return ""

    @property
    def cookie(self) -> str:
        """The session in the cookie, signed; empty without one."""
        try:
            found = SimpleCookie(self.headers.get("cookie", "")).get(COOKIE)
        except ValueError:
            return ""
        return found.value if found else ""


class Access:
    """The rules of one console."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        own = settings.console_token  # whoever knows it may sign what he likes
        self._secret = sha256(f"jetmesh console {own}".encode()).digest() if own else secrets.token_bytes(32)
        self._tokens = {Role.OPERATOR: settings.console_token, Role.VIEWER: settings.console_viewer_token}

    @property
    def has_login(self) -> bool:
        """Whether there is a token to log in with."""
        return any(self._tokens.values())

    def user(self, asked: Caller) -> User:
        """Who asks.

        Raises:
            NotAllowed: nobody who may.
        """
        if self._settings.is_open:
            self._require_loopback(asked)
            return User(own_name(), Role.OPERATOR, own_name())
        if bearer := asked.authorization("bearer"):
            if (role := self.role_of(bearer)) is None:
                raise NotAllowed(401, "This token opens nothing here.")
            return User(f"bearer of the {role} token", role)
        if self._is_proxy(asked) and (name := _first(asked.headers, USER_HEADERS)):
            return User(name, self._role_by_name(asked, name), name)
        if (role := self._session_role(asked.cookie)) is not None:
            return User(f"bearer of the {role} token", role, asked.cookie)
        raise NotAllowed(401, "Log in to see the mesh." if self.has_login else UNNAMED)

    def role_of(self, token: str) -> Role | None:
        """The role that a token gives; every one is compared, so that the time taken tells nothing."""
        same = [
            role
            for role, known in self._tokens.items()
            if hmac.compare_digest(token.encode(), known.encode()) and known
        ]
        return same[0] if same else None

    def may_act(self, user: User) -> bool:
        """Whether the user may change anything."""
        return user.role is Role.OPERATOR and not self._settings.console_read_only

    def sees_bodies(self, user: User) -> bool:
        """Whether the user may read bodies, which may be personal."""
        return not self._settings.console_hide_bodies or self.may_act(user)

    def session(self, role: Role) -> str:
        """A new session of a role: what its cookie holds."""
        said = f"{role}.{int(time.time()) + SESSION_SECONDS}.{secrets.token_urlsafe(9)}"
        return f"{said}.{self._sign(said)}"

    def form_token(self, user: User) -> str:
        """The token that a form of this user brings along."""
        return self._form_token(user, int(time.time() // SESSION_SECONDS))

    def _form_token(self, user: User, period: int) -> str:
        return self._sign(f"form {period} {user.bound}")

    def check_form(self, user: User, token: str) -> None:
        """Refuse a form that is none of those that the user was shown.

        Raises:
            NotAllowed: it is one.
        """
        now = int(time.time() // SESSION_SECONDS)
        good = [hmac.compare_digest(token.encode(), self._form_token(user, each).encode()) for each in (now, now - 1)]
        if user.bound and not any(good):
            raise NotAllowed(403, "The form is too old: load the page again, and send it once more.")

    def require_may_act(self, user: User) -> None:
        """Refuse a user who may change nothing.

        Raises:
            NotAllowed: he is one.
        """
        if not self.may_act(user):
            is_read_only = self._settings.console_read_only
            raise NotAllowed(403, READ_ONLY if is_read_only else "You are a viewer. Ask an operator to do it.")

    def _session_role(self, cookie: str) -> Role | None:
        said, _, signature = cookie.rpartition(".")
        if not said or not hmac.compare_digest(signature.encode(), self._sign(said).encode()):
            return None
        role, until, _ = said.split(".", 2)
        return Role(role) if int(until) > time.time() else None

    def _sign(self, said: str) -> str:
        return hmac.new(self._secret, said.encode(), sha256).hexdigest()

    def _role_by_name(self, asked: Caller, name: str) -> Role:
        groups = asked.headers.get(GROUPS_HEADER, "").split(",")
        names = {name, *(group.strip() for group in groups)}
        return Role.OPERATOR if names & set(self._settings.console_operators) else Role.VIEWER

    def _is_proxy(self, asked: Caller) -> bool:
        """Whether the proxy asks: by its address, and by its secret where there is one."""
        try:
            address = ip_address(asked.client)
        except ValueError:
            return False
        if not any(address in network for network in self._settings.console_proxies):
            return False
        secret = self._settings.console_proxy_secret
        return not secret or hmac.compare_digest(asked.password.encode(), secret.encode())

    def _require_loopback(self, asked: Caller) -> None:
        """A name that another site chose may point to this machine (DNS rebinding)."""
        host = urlsplit(f"//{asked.headers.get('host', '')}").hostname or ""
        if not is_loopback(host):
            raise NotAllowed(403, f"The console is open to this machine alone: call it localhost, not {host!r}.")


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((found for name in names if (found := headers.get(name, "").strip())), "")
