"""What an order did outside of the streams, for its story in the console: money and goods on hold, mails as sent."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from jetmesh.extend import KeyStory, SideEffect, SideEffects
from jetmesh_contracts import (
    CancellationSent,
    ConfirmationSent,
    DelaySent,
    GoodsReleased,
    GoodsReserved,
    PaymentAuthorized,
    ReceiptSent,
)
from jetmesh_contracts.money import money
from jetmesh_shop.notifications.mailer import message_id
from jetmesh_shop.payments.ledger import Ledger, Moved
from jetmesh_shop.reference.mailsink import Kept, MailSink
from jetmesh_shop.reference.state import Stores

MAILS = {
    "confirmation": ConfirmationSent.type,
    "cancellation": CancellationSent.type,
    "receipt": ReceiptSent.type,
    "delay": DelaySent.type,
}
"""The events that say of each kind of mail that it was sent."""
ENDS = {"captured": "taken", "released": "given back"}


def effects(story: KeyStory) -> list[SideEffect]:
    """Those of an order; of money and mails, where the mesh runs on this machine."""
    found = [*_goods(story)]
    if story.state:
        stores = Stores(story.state)
        found += [*_money(story.key, stores), *_mails(story.key, stores)]
    return found


def _goods(story: KeyStory) -> Iterator[SideEffect]:
    """What inventory keeps for the order."""
    reserved, released = story.time_of(GoodsReserved.type), story.time_of(GoodsReleased.type)
    if reserved:
        pieces = _pieces(story.bodies.get(GoodsReserved.type, {}))
        yield SideEffect(
            kind="goods on hold", service="inventory", at=reserved, until=released, event=GoodsReserved.type,
            state="given back" if released else "reserved", title=", ".join(pieces), key=story.key,
        )  # fmt: skip


def _pieces(body: Mapping[str, Any]) -> list[str]:
    return [f"{each['quantity']} × {each['sku']}" for each in body.get("goods", ())]


def _money(key: str, stores: Stores) -> Iterator[SideEffect]:
    """What the bank holds, or held, for the order."""
    if not stores.bank.exists():
        return
    with closing(Ledger(stores.bank)) as ledger:
        moved = ledger.movements_of(key)
    ends = [each for each in moved if each.kind in ENDS]
    for number, held in enumerate(each for each in moved if each.kind == "held"):
        yield _hold(key, held, ends[number] if number < len(ends) else None)
    for each in moved:
        if each.kind == "refunded":
            at = datetime.fromisoformat(each.at)
            title = money(each.amount_minor, each.currency)
            yield SideEffect(kind="refund", service="payments", at=at, state="given back", title=title, key=key)


def _hold(key: str, held: Moved, end: Moved | None) -> SideEffect:
    return SideEffect(
        kind="money on hold", service="payments", event=PaymentAuthorized.type, key=key,
        at=datetime.fromisoformat(held.at), until=datetime.fromisoformat(end.at) if end else None,
        state=ENDS[end.kind] if end else "held", is_open=end is None, title=money(held.amount_minor, held.currency),
    )  # fmt: skip


def _mails(key: str, stores: Stores) -> Iterator[SideEffect]:
    """The mails as they were sent, also those of which no event tells yet."""
    events = {message_id(kind, key): event for kind, event in MAILS.items()}
    for kept in _kept(stores, [*events]):
        yield SideEffect(
            kind="mail", service="notifications", event=events[kept.message_id], at=datetime.fromisoformat(kept.at),
            state="sent", title=kept.subject, key=kept.message_id, facts={"to": kept.recipient}, text=kept.text,
        )  # fmt: skip


def _kept(stores: Stores, message_ids: Sequence[str]) -> list[Kept]:
    if not stores.mails.exists():
        return []
    with closing(MailSink(stores.mails)) as sink:
        try:
            return sink.mails(*message_ids)
        except sqlite3.OperationalError:  # it was never started, so there is no table yet
            return []


EFFECTS = SideEffects(of=effects, reads=(GoodsReserved.type,))
