"""The names of a tenant on a broker that several share: `orders.placed.42` is `acme.orders.placed.42` there, and the
stream ORDERS is `acme_ORDERS`.

*Wire* names are the broker's; all others are those that every room but this one speaks of.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.transport import API

Leaf = Literal["subject", "stream", "service", "headers", "counts"]
Fields = Mapping[str, Any]
"""Of the fields of a body those that hold names: each a `Leaf`, or the form of what it holds (of each, in a list)."""

_TRANSFORM: Fields = {"src": "subject", "dest": "subject"}
_SOURCE: Fields = {"name": "stream", "filter_subject": "subject", "subject_transforms": _TRANSFORM}
STREAM: Fields = {
    "name": "stream",
    "subjects": "subject",
    "sources": _SOURCE,
    "mirror": _SOURCE,
    "republish": _TRANSFORM,
    "subject_transform": _TRANSFORM,
}
_CONSUMER: Fields = {"filter_subject": "subject", "filter_subjects": "subject", "deliver_subject": "subject"}
_CONSUMER_INFO: Fields = {"stream_name": "stream", "config": _CONSUMER}
_READ: Fields = {"last_by_subj": "subject", "next_by_subj": "subject", "multi_last": "subject"}
_OF_STREAMS: Fields = {
    **STREAM,
    **_READ,
    "config": STREAM,
    "state": {"subjects": "counts"},
    "message": {"subject": "subject", "hdrs": "headers"},
    "subject": "subject",
    "subjects_filter": "subject",
    "filter": "subject",
    "deliver_subject": "subject",
}
_OF_CONSUMERS: Fields = {**_CONSUMER_INFO, "consumers": _CONSUMER_INFO}
FIELDS: Mapping[str, Fields] = {"STREAM": _OF_STREAMS, "CONSUMER": _OF_CONSUMERS, "DIRECT": _READ, "INFO": {}}
"""The bodies of the calls of the JetStream API, requests and answers, by the first token of the call."""
MICRO: Fields = {"name": "service", "endpoints": {"subject": "subject"}}
"""What a service answers to `nats micro`."""

ADDRESSES = ("$JS.FC.", "$JS.SNAPSHOT.", "$JS.RESTORE.", "$SYS.")
"""Subjects that the server made up, and its own: they are used as they are."""
LISTS = frozenset({"STREAM.NAMES", "STREAM.LIST"})
"""Calls about all streams of the broker."""
_WITHOUT_STREAM = frozenset({"INFO", *LISTS})
_CALL = re.compile(
    r"(?P<call>STREAM\.(?:CREATE|UPDATE|INFO|DELETE|PURGE|SNAPSHOT|RESTORE|MSG\.GET|MSG\.DELETE|LEADER\.STEPDOWN)"
    r"|CONSUMER\.(?:CREATE|DURABLE\.CREATE|INFO|DELETE|NAMES|LIST|MSG\.NEXT|PAUSE|RESET|UNPIN|LEADER\.STEPDOWN)"
    r"|DIRECT\.GET)\.(?P<stream>[^.]+)(?:\.(?P<rest>.+))?",
    re.IGNORECASE,
)
"""A call about one stream; the server's words about a denied one are in small letters."""
_BUCKET = re.compile(r"(?P<kind>\$(?:KV|O)\.)(?P<bucket>[^.]+)(?P<rest>.*)", re.IGNORECASE)
_SERVICE = re.compile(r"(?P<verb>\$SRV\.(?:PING|INFO|STATS))(?:\.(?P<name>[^.]+)(?P<rest>.*))?", re.IGNORECASE)
_ACK = re.compile(r"(?P<kind>\$JS\.ACK\.)(?P<rest>.+)", re.IGNORECASE)
_BEFORE_NAME = re.compile(r"(KV_|OBJ_)?(.*)", re.IGNORECASE)
_HEADERS = re.compile(
    rb"\r\n(%b): ([^\r\n]*)"
    % b"|".join(
        each.encode()
        for each in (
            Nats.STREAM,
            Nats.SUBJECT,
            Nats.EXPECTED_STREAM,
            Nats.EXPECTED_LAST_SUBJECT,
            Nats.SCHEDULE_TARGET,
            Nats.SCHEDULE_SOURCE,
            Nats.SCHEDULER,
        )
    )
)
"""The header lines that hold a name."""
_OF_STREAM = frozenset({Nats.STREAM.encode(), Nats.EXPECTED_STREAM.encode()})


class TenantNames:
    """One direction: `to_wire` makes the broker's names of ours, `from_wire` ours of the broker's."""

    def __init__(
        self, name: Callable[[str], str], subject: Callable[[str], str], api: str, *, strict: bool = False
    ) -> None:
        self._name, self._plain, self._api, self._strict = name, subject, api, strict

    def stream(self, name: str) -> str:
        """The name of a stream."""
        found = _BEFORE_NAME.fullmatch(name)
        assert found is not None
        return f"{found[1] or ''}{self._name(found[2])}"

    def service(self, name: str) -> str:
        """The name of a service of NATS micro."""
        return self._name(name)

    def subject(self, subject: str) -> str:
        """A subject, or a pattern of subjects.

        Raises:
            ValueError: with `strict`, it is one of the server's, and of no kind that is known here.
        """
        if subject.startswith(self._api):
            return f"{self._api}{self._call(subject[len(self._api) :])}"
        if subject.startswith("_") or subject.startswith(ADDRESSES):
            return subject
        return self._of_server(subject) if subject.startswith("$") else self._plain(subject)

    def headers(self, block: bytes) -> bytes:
        """A header block."""
        return _HEADERS.sub(self._header, block) if b"\r\nNats-" in block else block

    def body(self, form: Fields, value: Any) -> Any:
        """What a field holds, or a whole body, with the names that its form tells of."""
        if isinstance(value, list):
            return [self.body(form, each) for each in value]
        if not isinstance(value, dict):
            return value
        return {name: self._field(form.get(name), found) for name, found in value.items()}

    def text(self, form: Fields, body: bytes) -> bytes:
        """A body in JSON."""
        return json.dumps(self.body(form, json.loads(body))).encode() if body else body

    def _field(self, form: Leaf | Fields | None, value: Any) -> Any:
        if form is None or value is None:
            return value
        if not isinstance(form, str):
            return self.body(form, value)
        if isinstance(value, list):
            return [self._field(form, each) for each in value]
        if form == "counts":
            return {self.subject(subject): count for subject, count in value.items()}
        if form == "headers":
            return b64encode(self.headers(b64decode(value))).decode()
        return str(getattr(self, form)(value)) if value else value

    def _call(self, call: str) -> str:
        """A call of the JetStream API, or what else is found beside it."""
        if call.startswith("$"):
            return self.subject(call)
        if call in _WITHOUT_STREAM:
            return call
        found = _CALL.fullmatch(call)
        if found is None:
            return self._unknown(call, "call", "JetStream API")
        is_read = found["call"].upper() == "DIRECT.GET"
        named, filtered = _consumer_and_filter(found["rest"] or "", is_read=is_read)
        behind = [*([named] if named else []), *([self.subject(filtered)] if filtered else [])]
        return ".".join([found["call"], self.stream(found["stream"]), *behind])

    def _of_server(self, subject: str) -> str:
        if found := _ACK.fullmatch(subject):
            return f"{found['kind']}{self._acknowledged(found['rest'].split('.'))}"
        if found := _BUCKET.fullmatch(subject):
            return f"{found['kind']}{self._name(found['bucket'])}{found['rest']}"
        if found := _SERVICE.fullmatch(subject):
            return f"{found['verb']}.{self.service(found['name'])}{found['rest']}" if found["name"] else subject
        return self._unknown(subject, "subject", "server")

    def _unknown(self, name: str, kind: str, whose: str) -> str:
        if self._strict:
            raise ValueError(f"a tenant has no way to the {kind} {name} of the {whose}")
        return name

    def _acknowledged(self, tokens: list[str]) -> str:
        """Behind `$JS.ACK.`: the stream, after a domain and a hash of the account in `js_ack_fc_v2`."""
        at = 2 if len(tokens) > 7 else 0
        return ".".join([*tokens[:at], self.stream(tokens[at]), *tokens[at + 1 :]])

    def _header(self, line: re.Match[bytes]) -> bytes:
        of = self.stream if line[1] in _OF_STREAM else self.subject
        value = of(line[2].decode("utf-8", "surrogateescape"))
        return b"\r\n%b: %b" % (line[1], value.encode("utf-8", "surrogateescape"))


def _consumer_and_filter(rest: str, *, is_read: bool) -> tuple[str, str]:
    """What stands behind the stream: the name of a consumer and its filter, or the subject that is read."""
    if is_read:
        return "", rest
    name, _, subject = rest.partition(".")
    return name, subject


def to_wire(tenant: str, api: str = f"{API}.") -> TenantNames:
    """The broker's names; `api` is what stands before each call of the JetStream API."""
    return TenantNames(lambda name: f"{tenant}_{name}", lambda subject: f"{tenant}.{subject}", api, strict=True)


def from_wire(tenant: str, api: str = f"{API}.") -> TenantNames:
    """Our names; what is not the tenant's keeps the broker's."""
    name, subject = f"{tenant}_", f"{tenant}."
    return TenantNames(lambda wire: wire.removeprefix(name), lambda wire: wire.removeprefix(subject), api)
