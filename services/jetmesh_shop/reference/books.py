"""What the audit of the reference mesh goes by: the books of its streams, the bank's ledger, the mail sink."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetmesh.operate.books import Books, Fact
from jetmesh.service import Service
from jetmesh.sql import usable
from jetmesh_contracts import OrderPlaced, OrderRefused
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.service import orders
from jetmesh_shop.payments.ledger import Balance, Ledger
from jetmesh_shop.reference.mailsink import MailSink
from jetmesh_shop.reference.state import Stores

PLACED, REFUSED = OrderPlaced.type, OrderRefused.type
OTHER_ENTITIES = frozenset({"stock", "shifts"})
"""What events are about besides orders."""
ENDINGS = tuple(event.type for event in orders.endings)


@dataclass(slots=True, kw_only=True)
class ShopBooks(Books):
    """The books; and what the bank and the mail server know, None where the state folder has nothing of them."""

    services: Sequence[Service] = SERVICES
    balances: list[Balance] | None = None
    mails: Counter[str] | None = None

    def is_of_a_story(self, event: Fact) -> bool:
        """Stories are those of orders."""
        is_milestone = super(ShopBooks, self).is_of_a_story(event)
        return is_milestone and event.subject.partition(".")[0] not in OTHER_ENTITIES


def with_the_outside(found: Books, folder: Path) -> ShopBooks:
    """The books, with what the state folder has of the bank and of the mails."""
    stores = Stores(folder)
    return ShopBooks.extending(found, balances=_balances(stores.bank), mails=_mails(stores.mails))


def _balances(path: Path) -> list[Balance] | None:
    if not path.exists():
        return None
    with closing(Ledger(path)) as ledger:
        return list(ledger.balances())


def _mails(path: Path) -> Counter[str] | None:
    if not path.exists():
        return None
    with usable(path, "the mails", sqlite3.DatabaseError), closing(MailSink(path)) as sink:
        try:
            return Counter(sink.copies())
        except sqlite3.OperationalError:  # it was never started, so there is no table yet
            return Counter()


def total(goods: Iterable[dict[str, Any]]) -> Counter[str]:
    """Pieces by article."""
    pieces: Counter[str] = Counter()
    for item in goods:
        pieces[item["sku"]] += item["quantity"]
    return pieces
