"""What anybody may leave in a broker: bodies, headers and subjects that nothing good ever says."""

import json
from collections.abc import Iterator

from jetmesh.jetstream.headers import Headers, encode_headers
from jetmesh.jetstream.transport import Transport

ESCAPES = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x9b31m\x9d0;owned\x9c\u202eexe.gnp\u2066\rback\x08\x00\x7f\u2028[/] [bold]"
LONG = "9" * 4_400
DIGITS = "9" * 300
"""As many as a subject may have."""

BODIES: dict[str, bytes] = {
    "empty": b"",
    "deep list": b"[" * 500_000,
    "deep object": b'{"order_id":' * 80_000,
    "deep and whole": b"[" * 900 + b"]" * 900,
    "no JSON": b"no order at all",
    "escapes": ESCAPES.encode(),
    "UTF-16": '{"order_id": "o-1"}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"order_id": "o-bom"}',
    "no UTF-8": b'{"order_id": "\xff\xfe"}',
    "list as key": b'{"order_id": ["x"], "restock_id": ["x"], "sku": ["x"]}',
    "object as key": b'{"order_id": {"a": 1}, "restock_id": {"a": 1}, "sku": {}}',
    "null as key": b'{"order_id": null, "restock_id": null, "sku": null}',
    "number as key": f'{{"order_id": {LONG}, "restock_id": 1e999, "sku": NaN}}'.encode(),
    "key with escapes": json.dumps({"order_id": ESCAPES, "restock_id": ESCAPES, "sku": ESCAPES}).encode(),
    "half a pair": b'{"order_id": "\\ud83d", "restock_id": "\\udc00", "sku": "\\ud83d"}',
    "twice": b'{"order_id": "a", "order_id": "b"}',
    "twice, behind many": ("{" + "".join(f'"x{n}":1,' for n in range(80_000)) + '"a":1,"a":2}').encode(),
    "scalars": b"null",
    "text": b'"text"',
    "number": b"0",
    "list": b"[1, 2, 3]",
    "wrong types": json.dumps(
        {
            "order_id": "o-wrong",
            "restock_id": "r-wrong",
            "sku": "cola",
            "amount_minor": "many",
            "goods": 3,
            "lines": {"a": 1},
            "available": [],
            "quantity": -1,
            "message_id": {"x": ESCAPES},
            "courier_id": [ESCAPES],
            "on_duty": 7,
            "rides": {"order_id": ESCAPES},
            "waiting": "many",
            "currency": ESCAPES,
            "action": ["discarded"],
            "by": 1,
            "at": ESCAPES,
            "letter": ESCAPES,
        }
    ).encode(),
    "structured": json.dumps(
        {"specversion": "1.0", "id": ESCAPES, "type": "orders.placed", "source": "/x", "data": {"order_id": ["x"]}}
    ).encode(),
}

HEADERS: dict[str, Headers] = {
    "none": {},
    "cloud": {"ce-specversion": "1.0", "ce-id": "%61bc%1b", "ce-type": ESCAPES, "ce-source": ESCAPES, "ce-time": "?"},
    "structured": {"Content-Type": "application/cloudevents+json"},
    "evidence": {
        "Jetmesh-Service": ESCAPES, "Jetmesh-Reaction": ESCAPES, "Jetmesh-Error-Type": "[/red]",
        "Jetmesh-Reason": ESCAPES, "Jetmesh-Attempts": LONG, "Jetmesh-Subject": ESCAPES, "Jetmesh-Stream": "../..",
        "Jetmesh-Sequence": LONG, "Jetmesh-First-Time": "inf", "Jetmesh-Last-Time": ESCAPES,
        "Jetmesh-Traceparent": ESCAPES, "Jetmesh-Replay": LONG, "traceparent": ESCAPES, "tracestate": LONG,
    },
    "more evidence": {
        "Jetmesh-Sequence": "-1", "Jetmesh-Attempts": "٣", "Jetmesh-First-Time": "-1e300",
        "Jetmesh-Last-Time": "99999-01-01T00:00:00Z", "Jetmesh-Omitted-Bytes": "all",
        "Jetmesh-Subject": "orders.placed",        ESCAPES.split("\r")[0].replace(":", ""): "a name",
    },
}  # fmt: skip

OUTSIDE = (
    "orders.placed", "orders.cancellation_requested", "stock.restocked", "orders.nonsense", "stock.level",
    "delivery.delivered", "delivery.position_reported", "shifts.begun",
)  # fmt: skip
INSIDE = (
    "orders.placed", "orders.confirmed", "orders.cancelled", "orders.refused", "orders.what",
    "orders.ENDED", "payments.ENDED",
    "payments.authorized", "payments.captured", "payments.voided", "payments.declined",
    "inventory.reserved", "inventory.rejected", "inventory.released", "stock.restocked", "stock.level",
    "notifications.confirmation_sent", "notifications.cancellation_sent", "notifications.receipt_sent",
    "delivery.dispatched", "delivery.delivered", "shifts.begun", "couriers.roster",
)  # fmt: skip
KEYS = ("o-hostile", "o-\x1b[31m\u202e", "[/]")
ELSEWHERE = (
    "dead.x", "dead.orders.place", "dead.orders.place.INTAKE.1", f"dead.orders.place.INTAKE.{DIGITS}",
    "dead.payments.capture.ORDERS.2", "dead.\x1b[2J.\u202e.INTAKE.3", "dead.other-team.react.THEIRS.7",
    "dead_log.x", "dead_log.orders.place.INTAKE.1", "dead_log.\x1b[2J.[/].INTAKE.x",
    "timers.orders.x", "timers.orders.begun", "timers.orders.place.INTAKE.1", f"timers.payments.x.ORDERS.{DIGITS}",
    "due.orders.x", "due.orders.place.INTAKE.4", "claims.orders.x",
)  # fmt: skip


def messages() -> Iterator[tuple[str, bytes, Headers]]:
    """Every body on every subject, with headers of each kind somewhere."""
    kinds = list(HEADERS.values())
    subjects = [*OUTSIDE, *(f"{event_type}.{key}" for event_type in INSIDE for key in KEYS), *ELSEWHERE]
    for place, subject in enumerate(subjects):
        for number, body in enumerate(BODIES.values()):
            if len(body) < 100_000 or place % 5 == 0:
                yield subject, body, kinds[(place + number) % len(kinds)]


async def fill(connection: Transport) -> int:
    """Send all of it; how much it was."""
    count = 0
    for count, (subject, body, headers) in enumerate(messages(), 1):
        connection.send(subject, body, headers=encode_headers(headers) if headers else b"")
        if count % 50 == 0:
            await connection.flush(timeout=20)
    await connection.flush(timeout=20)
    return count
