"""What the story of an order shows of the bank, of the shelf and of the mails."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from jetmesh.app import added
from jetmesh.console.effects import EFFECTS as GROUP
from jetmesh.extend import KeyStory
from jetmesh.operate.key_history import StoryEvent
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.notifications import templates
from jetmesh_shop.notifications.mailer import message_id
from jetmesh_shop.notifications.mime import compose
from jetmesh_shop.payments import bank
from jetmesh_shop.payments.bank import Terms
from jetmesh_shop.payments.ledger import Bank
from jetmesh_shop.reference.effects import EFFECTS, effects
from jetmesh_shop.reference.mailsink import Store
from jetmesh_shop.reference.state import Stores

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
RESERVED = StoryEvent("inventory.reserved", NOON, "inventory", "INVENTORY", 1, "", "", "")
RELEASED = StoryEvent("inventory.released", NOON + timedelta(hours=1), "inventory", "INVENTORY", 2, "", "", "")
GOODS = {"inventory.reserved": {"goods": [{"sku": "mug", "quantity": 2}, {"sku": "cup", "quantity": 1}]}}


def test_the_reference_mesh_declares_them() -> None:
    assert added(SERVICES, GROUP) == [EFFECTS]


def test_goods_are_on_hold_until_they_are_given_back() -> None:
    (held,) = effects(KeyStory("o-1", [RESERVED], GOODS, None))
    assert (held.title, held.state, held.until, held.event) == ("2 × mug, 1 × cup", "reserved", None, RESERVED.type)
    (held,) = effects(KeyStory("o-1", [RESERVED, RELEASED], GOODS, None))
    assert (held.state, held.at, held.until) == ("given back", NOON, RELEASED.time)


def test_money_is_on_hold_until_it_is_taken_or_given_back(tmp_path: Path) -> None:
    with closing(Bank(Stores(tmp_path).bank)) as counter:
        hold = partial(bank.hold, terms=Terms(2300, "EUR", "pm_card_visa"))
        counter.perform([("o-1", hold), ("o-2", hold), ("o-2", bank.capture), ("o-3", hold), ("o-3", bank.close)])
    found = [effects(KeyStory(f"o-{number}", [], {}, tmp_path)) for number in (1, 2, 3, 4)]
    told = [[(each.kind, each.state, each.is_open, bool(each.until)) for each in some] for some in found]
    assert told == [
        [("money on hold", "held", True, False)],
        [("money on hold", "taken", False, True)],
        [("money on hold", "given back", False, True)],
        [],
    ]
    assert found[0][0].title.replace("\u202f", " ").endswith(("23.00", "EUR"))


def test_a_mail_is_there_as_it_was_sent(tmp_path: Path) -> None:
    sent = message_id("receipt", "o-1")
    mail = templates.receipt("o-1", "EUR", 2300).to("ada@example.com", sent)
    with closing(Store(Stores(tmp_path).mails)) as store:
        store.keep([mail.to], compose(mail, "Shop <shop@example.com>"))
    (found,) = effects(KeyStory("o-1", [], {}, tmp_path))
    assert (found.kind, found.title, found.key, found.facts) == ("mail", mail.subject, sent, {"to": mail.to})
    assert "\r" not in found.text
    assert found.text.split() == mail.text.split()
    assert found.event == "notifications.receipt_sent"
    assert effects(KeyStory("o-9", [], {}, tmp_path)) == []
