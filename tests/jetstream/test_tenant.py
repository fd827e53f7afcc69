"""What a tenant's names are on the wire, that they come back as they were, and what a tenant has no way to."""

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from jetmesh.jetstream.headers import encode_headers
from jetmesh.jetstream.tenant import Tenant
from jetmesh.jetstream.tenant_names import FIELDS, MICRO, from_wire, to_wire
from jetmesh.jetstream.transport import OnFrame
from jetmesh.testing.simulation import SimulatedBroker
from jetmesh.testing.simulation.connection import SimulatedConnection

TO, FROM = to_wire("acme"), from_wire("acme")

SUBJECTS = {
    "orders.placed.42": "acme.orders.placed.42",
    "*.*.42": "acme.*.*.42",
    ">": "acme.>",
    "timers.orders.by-schedule.remind": "acme.timers.orders.by-schedule.remind",
    "$JS.API.INFO": "$JS.API.INFO",
    "$JS.API.STREAM.NAMES": "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.INFO.ORDERS": "$JS.API.STREAM.INFO.acme_ORDERS",
    "$JS.API.STREAM.MSG.GET.KV_jetmesh_apps": "$JS.API.STREAM.MSG.GET.KV_acme_jetmesh_apps",
    "$JS.API.STREAM.INFO.OBJ_ORDERS": "$JS.API.STREAM.INFO.OBJ_acme_ORDERS",
    "$JS.API.CONSUMER.MSG.NEXT.ORDERS.pack": "$JS.API.CONSUMER.MSG.NEXT.acme_ORDERS.pack",
    "$JS.API.CONSUMER.CREATE.ORDERS.pack.orders.>": "$JS.API.CONSUMER.CREATE.acme_ORDERS.pack.acme.orders.>",
    "$JS.API.DIRECT.GET.ORDERS": "$JS.API.DIRECT.GET.acme_ORDERS",
    "$JS.API.DIRECT.GET.ORDERS.orders.placed.42": "$JS.API.DIRECT.GET.acme_ORDERS.acme.orders.placed.42",
    "$JS.ACK.ORDERS.pack.1.2.3.4.0": "$JS.ACK.acme_ORDERS.pack.1.2.3.4.0",
    "$JS.ACK.hub.hash.ORDERS.pack.1.2.3.4.0.x": "$JS.ACK.hub.hash.acme_ORDERS.pack.1.2.3.4.0.x",
    "$JS.FC.acme_ORDERS.follow.x": "$JS.FC.acme_ORDERS.follow.x",
    "$JS.SNAPSHOT.RESTORE.acme_ORDERS.x": "$JS.SNAPSHOT.RESTORE.acme_ORDERS.x",
    "$KV.jetmesh_apps.shop": "$KV.acme_jetmesh_apps.shop",
    "$O.ORDERS.C.piece": "$O.acme_ORDERS.C.piece",
    "$SRV.PING": "$SRV.PING",
    "$SRV.STATS.orders.some-id": "$SRV.STATS.acme_orders.some-id",
    "_INBOX.abc.1": "_INBOX.abc.1",
}
TOKENS = some.text("abcxyzABC019-_*", min_size=1, max_size=8)


@pytest.mark.parametrize("ours", SUBJECTS)
def test_a_subject_has_one_name_on_the_wire(ours: str) -> None:
    assert (TO.subject(ours), FROM.subject(SUBJECTS[ours])) == (SUBJECTS[ours], ours)


@given(some.sampled_from(sorted(SUBJECTS)), some.lists(TOKENS, min_size=1, max_size=6))
def test_every_subject_comes_back_as_it_was(kind: str, tokens: list[str]) -> None:
    """Of every kind, with any tokens behind it; a token of ours may be the tenant's name."""
    for subject in (".".join(tokens), f"acme.{'.'.join(tokens)}", kind):
        assert FROM.subject(TO.subject(subject)) == subject or subject.startswith("_")


@pytest.mark.parametrize("tokens", [("domain", "stream"), ("acme", "acme")])
def test_the_api_may_be_somewhere_else(tokens: tuple[str, str]) -> None:
    to, back = to_wire("acme", "jetmesh.api."), from_wire("acme", "jetmesh.api.")
    for ours, wire in {
        "jetmesh.api.CONSUMER.INFO.ORDERS.pack": "jetmesh.api.CONSUMER.INFO.acme_ORDERS.pack",
        "jetmesh.api.$KV.apps.shop": "jetmesh.api.$KV.acme_apps.shop",
        "jetmesh.orders.stock": "acme.jetmesh.orders.stock",
        ".".join(tokens): f"acme.{'.'.join(tokens)}",
    }.items():
        assert (to.subject(ours), back.subject(wire)) == (wire, ours)


@pytest.mark.parametrize("subject", ["$JS.API.STREAM.EVERYTHING.ORDERS", "$JS.EVENT.ADVISORY.X", "$G.other"])
def test_what_has_no_name_there_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match=r"a tenant has no way to the (call|subject) .* of the (JetStream API|server)"):
        TO.subject(subject)


HEADERS = {
    "Nats-Expected-Last-Subject-Sequence": "3",
    "Nats-Expected-Last-Subject-Sequence-Subject": "orders.*.42",
    "Nats-Schedule-Target": "due.orders.pack.ORDERS.7",
    "Nats-Scheduler": "timers.orders.pack.ORDERS.7",
    "Nats-Stream": "ORDERS",
    "Nats-Subject": "orders.placed.42",
    "Jetmesh-Stream": "ORDERS",
    "ce-type": "orders.placed",
}


def test_headers_that_hold_names_are_known() -> None:
    block = encode_headers(HEADERS)
    wire = TO.headers(block)
    named = {
        "Nats-Expected-Last-Subject-Sequence-Subject": "acme.orders.*.42",
        "Nats-Schedule-Target": "acme.due.orders.pack.ORDERS.7",
        "Nats-Scheduler": "acme.timers.orders.pack.ORDERS.7",
        "Nats-Stream": "acme_ORDERS",
        "Nats-Subject": "acme.orders.placed.42",
    }
    assert wire == encode_headers(HEADERS | named)
    assert FROM.headers(wire) == block


CONFIG = {
    "name": "ORDERS",
    "subjects": ["orders.*.*"],
    "sources": [{"name": "DEAD_LETTERS", "filter_subject": "dead.none"}],
    "subject_transform": {"src": "partition.2.0.>", "dest": ">"},
    "metadata": {"jetmesh.subjects.shop": "orders.*"},
    "num_replicas": 1,
}
ON_WIRE = {
    "name": "acme_ORDERS",
    "subjects": ["acme.orders.*.*"],
    "sources": [{"name": "acme_DEAD_LETTERS", "filter_subject": "acme.dead.none"}],
    "subject_transform": {"src": "acme.partition.2.0.>", "dest": "acme.>"},
    "metadata": {"jetmesh.subjects.shop": "orders.*"},
    "num_replicas": 1,
}
DURABLE = {
    "name": "pack",
    "durable_name": "pack",
    "filter_subjects": ["orders.placed.*"],
    "deliver_subject": "_INBOX.a",
}
BODIES: list[tuple[str, Any, Any]] = [
    ("STREAM", CONFIG, ON_WIRE),
    ("STREAM", {"config": CONFIG, "state": {"subjects": {"orders.placed.42": 3}, "last_seq": 3}},
     {"config": ON_WIRE, "state": {"subjects": {"acme.orders.placed.42": 3}, "last_seq": 3}}),
    ("STREAM", {"seq": 3, "next_by_subj": "orders.>"}, {"seq": 3, "next_by_subj": "acme.orders.>"}),
    ("STREAM", {"filter": "orders.*.42"}, {"filter": "acme.orders.*.42"}),
    ("STREAM", {"message": {"subject": "orders.placed.42", "hdrs": b64encode(encode_headers(HEADERS)).decode()}},
     {"message": {"subject": "acme.orders.placed.42",
                  "hdrs": b64encode(TO.headers(encode_headers(HEADERS))).decode()}}),
    ("CONSUMER", {"stream_name": "ORDERS", "config": DURABLE},
     {"stream_name": "acme_ORDERS", "config": DURABLE | {"filter_subjects": ["acme.orders.placed.*"]}}),
    ("CONSUMER", {"consumers": [{"name": "pack", "stream_name": "ORDERS", "cluster": {"name": "C"}}]},
     {"consumers": [{"name": "pack", "stream_name": "acme_ORDERS", "cluster": {"name": "C"}}]}),
    ("DIRECT", {"multi_last": ["orders.*.42"], "batch": 3}, {"multi_last": ["acme.orders.*.42"], "batch": 3}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_bodies_of_the_api_hold_the_names_of_the_wire(number: int) -> None:
    call, ours, wire = BODIES[number]
    assert TO.body(FIELDS[call], ours) == wire
    assert FROM.body(FIELDS[call], wire) == ours


def test_a_service_is_known_under_the_tenants_name() -> None:
    ours = {"name": "orders", "endpoints": [{"name": "stock", "subject": "jetmesh.orders.stock", "queue_group": "q"}]}
    wire = TO.body(MICRO, ours)
    assert (wire["name"], wire["endpoints"][0]["subject"]) == ("acme_orders", "acme.jetmesh.orders.stock")
    assert FROM.body(MICRO, wire) == ours


class Recorded(SimulatedConnection):
    """A connection that keeps what is sent, and takes what a test lets it hear."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(SimulatedBroker(loop, 0), "recorded", random.Random(0), copy_context())
        self.sent: list[tuple[str, bytes, str]] = []
        self.frames: dict[str, OnFrame] = {}
        self.answers: list[dict[str, Any]] = []

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        self.sent.append((subject, data, reply))

    async def ask(self, subject: str, data: bytes, timeout_seconds: float = 5.0, *, headers: bytes = b"") -> bytes:
        self.sent.append((subject, data, ""))
        return json.dumps(self.answers.pop(0)).encode()

    async def listen(self, subject: str, frame: OnFrame, queue: str = "") -> int:
        self.frames[subject] = frame
        return len(self.frames)


def frames_into(heard: list[tuple[str, str, bytes]]) -> Callable[[str, str, bytes, bytes], None]:
    return lambda subject, reply, _headers, data: heard.append((subject, reply, data))


async def test_a_list_of_streams_has_those_of_the_tenant_alone() -> None:
    inner = Recorded()
    names = ["ORDERS", "acme_ORDERS", "acme-x_ORDERS", "KV_acme_apps", "KV_apps"]
    inner.answers = [{"streams": names[:3], "total": 5}, {"streams": names[3:], "total": 5}]
    answer = json.loads(await Tenant(inner, "acme").ask("$JS.API.STREAM.NAMES", b'{"offset": 0}'))
    assert (answer["streams"], answer["total"]) == (["ORDERS", "KV_apps"], 2)
    assert [json.loads(data)["offset"] for _, data, _ in inner.sent] == [0, 3]


async def test_a_request_is_answered_where_its_sender_says() -> None:
    """Whatever the reply is: it is not one of ours."""
    inner, heard = Recorded(), list[tuple[str, str, bytes]]()
    tenant = Tenant(inner, "acme")
    await tenant.listen("jetmesh.orders.stock", frames_into(heard))
    inner.frames["acme.jetmesh.orders.stock"]("acme.jetmesh.orders.stock", "their.inbox.7", b"", b"42")
    subject, reply, data = heard[0]
    tenant.send(reply, b"7")
    assert (subject, data, inner.sent) == ("jetmesh.orders.stock", b"42", [("their.inbox.7", b"7", "")])


async def test_what_a_service_of_another_tenant_says_of_itself_is_not_heard() -> None:
    inner, heard = Recorded(), list[tuple[str, str, bytes]]()
    tenant = Tenant(inner, "acme")
    inbox = tenant.new_inbox()
    await tenant.listen(inbox, frames_into(heard))
    for name in ("orders", "berlin_orders", "acme_orders"):
        said = json.dumps({"type": "io.nats.micro.v1.ping_response", "name": name}).encode()
        inner.frames[inbox](inbox, "", b"", said)
    assert [json.loads(data)["name"] for _, _, data in heard] == ["orders"]


async def test_the_body_of_an_event_is_untouched() -> None:
    """Also where it looks like an answer of the server."""
    inner, heard = Recorded(), list[tuple[str, str, bytes]]()
    tenant = Tenant(inner, "acme")
    inbox = tenant.new_inbox()
    await tenant.listen(f"{inbox}.*", frames_into(heard))
    body = b'{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"acme_ORDERS"}}'
    tenant.send("orders.placed.42", body)
    frame = inner.frames[f"{inbox}.*"]
    frame("acme.orders.placed.42", "$JS.ACK.acme_ORDERS.pack.1.2.3.4.0", b"", body)
    read = encode_headers({"Nats-Stream": "acme_ORDERS", "Nats-Subject": "acme.orders.placed.42"})
    frame(f"{inbox}.1", "", read, body)
    assert [subject for subject, _, _ in heard] == ["orders.placed.42", f"{inbox}.1"]
    assert heard[0][1] == "$JS.ACK.ORDERS.pack.1.2.3.4.0"
    assert {inner.sent[0][1], *(data for _, _, data in heard)} == {body}


async def test_a_denial_names_the_subject_as_it_was_asked() -> None:
    """The server's words come in small letters."""
    inner, denied = Recorded(), list[str]()
    Tenant(inner, "acme").on_denied(denied.append)
    for wire in ("acme.orders.placed.42", "$js.api.direct.get.acme_orders.acme.orders.placed.42", "$x.unknown"):
        inner.denied(f'nats: permissions violation for publish to "{wire}"')
    assert [text.partition('"')[2].rstrip('"') for text in denied] == [
        "orders.placed.42",
        "$JS.API.direct.get.orders.orders.placed.42",
        "$x.unknown",
    ]
