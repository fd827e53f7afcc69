"""The Transport of a tenant by a prefix: all that stands on it speaks of `orders.placed.42` and ORDERS, and the broker
of `acme.orders.placed.42` and `acme_ORDERS`. Bodies of events are untouched."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jetmesh.jetstream import tenant_names
from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.limits import ServerLimits
from jetmesh.jetstream.tenant_names import FIELDS, LISTS, MICRO
from jetmesh.jetstream.transport import OnFrame, Server, Transport

_API_ANSWER = re.compile(rb'\{"type": ?"io\.nats\.jetstream\.api\.v1\.(stream|consumer)_')
_MICRO_ANSWER = re.compile(rb'\{"type": ?"io\.nats\.micro\.v1\.')
_PUBLISHED = re.compile(rb'(\{"stream": ?")([^"]+)')
_QUOTED = re.compile(r'"([^"\s]+)"')
_OF_A_STREAM = Nats.SUBJECT.encode()


class Address(str):
    """A subject of the broker that somebody else chose: the reply of a request. It is used as it is."""

    __slots__ = ()


class Tenant:
    """A Transport on another one, under the names of a tenant."""

    def __init__(self, inner: Transport, name: str) -> None:
        self._inner, self.name = inner, name
        api = inner.api("")
        self._to, self._from = tenant_names.to_wire(name, api), tenant_names.from_wire(name, api)
        self._api, self._inboxes = api, inner.new_inbox().rpartition(".")[0]
        self.clock: BrokerClock = inner.clock
        self.api, self.new_inbox, self.flush = inner.api, inner.new_inbox, inner.flush
        self.stop_listening, self.on_reconnected = inner.stop_listening, inner.on_reconnected
        self.pause, self.ended = inner.pause, inner.ended

    @property
    def trouble(self) -> str:
        """Why there is no connection."""
        return self._inner.trouble

    @property
    def short_lives(self) -> int:
        """How often in a row the connection was lost soon after it was made."""
        return self._inner.short_lives

    @property
    def limits(self) -> ServerLimits:
        """What the server takes."""
        return self._inner.limits

    @property
    def server(self) -> Server:
        """What it is connected to."""
        return self._inner.server

    def stream(self, name: str) -> str:
        """The broker's name of a stream."""
        return self._to.stream(name)

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Send one message; see `Transport.send`."""
        if isinstance(subject, Address):
            body = self._to.text(MICRO, data) if _MICRO_ANSWER.match(data) else data
            self._inner.send(str(subject), body, reply=reply, headers=headers)
            return
        answers = self._wire(reply) if reply else ""
        self._inner.send(
            self._wire(subject), self._request(subject, data), reply=answers, headers=self._to.headers(headers)
        )

    async def ask(self, subject: str, data: bytes, timeout_seconds: float = 5.0, *, headers: bytes = b"") -> bytes:
        """One request and its answer; see `Transport.ask`."""
        call = subject.removeprefix(self._api) if subject.startswith(self._api) else ""
        if call in LISTS:
            return await self._list(subject, data, timeout_seconds)
        body = self._request(subject, data)
        answer = await self._inner.ask(self._wire(subject), body, timeout_seconds, headers=self._to.headers(headers))
        if not call or call.startswith("$"):
            return self._answer(answer)
        return self._from.text(_fields(call), answer)

    async def listen(self, subject: str, frame: OnFrame, queue: str = "") -> int:
        """Subscribe; `frame` gets our names."""
        return await self._inner.listen(self._wire(subject), self._heard(frame), queue)

    def on_denied(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the server's words, and our name of the subject, whenever it denies this user one."""
        self._inner.on_denied(lambda text: callback(_QUOTED.sub(self._denied, text)))

    def _wire(self, subject: str) -> str:
        return subject if subject.startswith(self._inboxes) else self._to.subject(subject)

    def _denied(self, quoted: re.Match[str]) -> str:
        return f'"{self._ours(quoted[1])}"'

    def _ours(self, wire: str) -> str:
        """Our name of a subject, also where it is in small letters."""
        is_call = wire.lower().startswith(self._api.lower())
        return self._from.subject(f"{self._api}{wire[len(self._api) :]}" if is_call else wire)

    def _request(self, subject: str, data: bytes) -> bytes:
        """The body of a request: one to the JetStream API has names in it."""
        if not data or not subject.startswith(self._api) or subject.startswith("$", len(self._api)):
            return data
        call = subject[len(self._api) :]
        return data if call.startswith("CONSUMER.MSG.NEXT.") else self._to.text(_fields(call), data)

    def _heard(self, frame: OnFrame) -> OnFrame:
        inboxes, ours = self._inboxes, self._from

        def on_frame(subject: str, reply: str, headers: bytes, data: bytes) -> None:
            if subject.startswith(inboxes):
                if _MICRO_ANSWER.match(data) and not self._is_mine(data):
                    return
                answer = data if _OF_A_STREAM in headers else self._answer(data)
                frame(subject, Address(reply), ours.headers(headers), answer)
                return
            acknowledged = ours.subject(reply) if reply.startswith("$JS.ACK.") else Address(reply)
            frame(ours.subject(subject), acknowledged, ours.headers(headers), data)

        return on_frame

    def _answer(self, data: bytes) -> bytes:
        """What came to an inbox, and is no message of a stream."""
        if _API_ANSWER.match(data):
            return self._from.text(FIELDS["STREAM"], data)
        if _MICRO_ANSWER.match(data):
            return self._from.text(MICRO, data)
        return _PUBLISHED.sub(self._published, data, count=1) if data.startswith(b'{"stream"') else data

    def _published(self, found: re.Match[bytes]) -> bytes:
        return found[1] + self._from.stream(found[2].decode()).encode()

    def _is_mine(self, data: bytes) -> bool:
        """Whether a service of this tenant answers to `nats micro`."""
        return str(json.loads(data).get("name")).startswith(f"{self.name}_")

    async def _list(self, subject: str, data: bytes, timeout_seconds: float) -> bytes:
        """The streams of this tenant alone, on one page."""
        wanted: Mapping[str, Any] = self._to.body(FIELDS["STREAM"], json.loads(data)) if data else {}
        found: list[Any] = []
        while True:
            page = json.loads(
                await self._inner.ask(subject, json.dumps({**wanted, "offset": len(found)}).encode(), timeout_seconds)
            )
            if "error" in page:
                return json.dumps(page).encode()
            found += page["streams"] or ()
            if not page["streams"] or len(found) >= page["total"]:
                break
        mine = [ours for each in found if (ours := self._listed(each)) is not None][int(wanted.get("offset") or 0) :]
        return json.dumps({**page, "streams": mine, "total": len(mine), "offset": 0}).encode()

    def _listed(self, stream: Any) -> Any:
        """A stream in a list, by its name or whole; None if it is not this tenant's."""
        name = stream if isinstance(stream, str) else stream["config"]["name"]
        if self._from.stream(name) == name:
            return None
        return self._from.stream(name) if isinstance(stream, str) else self._from.body(FIELDS["STREAM"], stream)


def _fields(call: str) -> tenant_names.Fields:
    return FIELDS[call.partition(".")[0]]


def tenant_of(connection: Transport) -> str:
    """The tenant that a connection is for; empty: none."""
    return connection.name if isinstance(connection, Tenant) else ""


def stream_on_broker(connection: Transport, stream: str) -> str:
    """The name that the broker, and so the `nats` CLI and its exporter, have for a stream."""
    return connection.stream(stream) if isinstance(connection, Tenant) else stream
