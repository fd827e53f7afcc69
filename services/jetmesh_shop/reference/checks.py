"""What must hold in the books of the shop: each check is one function that names what offends against it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from jetmesh.operate import checks
from jetmesh.operate.books import Fact
from jetmesh.operate.checks import Check, Offences, lost
from jetmesh_contracts import inventory, notifications, orders, payments
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import delivery_checks
from jetmesh_shop.reference.books import PLACED, REFUSED, ShopBooks, total

CONFIRMED, CANCELLED = orders.OrderConfirmed.type, orders.OrderCancelled.type
REQUESTED = orders.OrderCancellationRequested.type
CAPTURED, VOIDED = payments.PaymentCaptured.type, payments.PaymentVoided.type
AUTHORIZED, DECLINED = payments.PaymentAuthorized.type, payments.PaymentDeclined.type
CAPTURE_FAILED = payments.PaymentCaptureFailed.type
RESERVED, REJECTED = inventory.GoodsReserved.type, inventory.GoodsRejected.type
RELEASED, RESTOCKED, LEVEL = inventory.GoodsReleased.type, inventory.StockRestocked.type, inventory.StockLevel.type
CONFIRMATION, CANCELLATION = notifications.ConfirmationSent.type, notifications.CancellationSent.type
RECEIPT, DELAY = notifications.ReceiptSent.type, notifications.DelaySent.type
MAILS = CONFIRMATION, CANCELLATION, RECEIPT, DELAY

EFFECTS: Mapping[str, Sequence[set[str]]] = {
    "confirmed": ({CAPTURED}, {AUTHORIZED}, {RESERVED}, {CONFIRMATION}, {RECEIPT}),
    "cancelled": ({VOIDED, DECLINED}, {RELEASED, REJECTED}, {CANCELLATION}),
    "refused": ({CANCELLATION},),
    "pending": (),
}
"""What must have happened to an order that ended so: of each set one."""

Story = Mapping[str, Fact]


def outcome(story: Story) -> str:
    """How an order ended: confirmed, cancelled or refused; pending where it has not."""
    ends = {REFUSED: "refused", CANCELLED: "cancelled", CONFIRMED: "confirmed"}
    return next((name for end, name in ends.items() if end in story), "pending")


def began(story: Story) -> bool:
    """Whether the order was taken or refused."""
    return not {PLACED, REFUSED}.isdisjoint(story)


def acknowledged_are_stored(books: ShopBooks) -> Offences:
    """every message that was acknowledged is stored, refused, delayed, or a dead letter"""
    answers = checks.answers_of(SERVICES)
    for message in checks.unanswered(books, {**answers, REQUESTED: answers[REQUESTED] | {REFUSED}}):
        placed = books.stories.get(books.named(message), {}).get(PLACED)
        # An order of which nothing but the ending was left can't be asked back.
        if message.type != REQUESTED or placed is None or placed.position not in books.gone:
            yield f"{books.named(message)}: {message} led to nothing"


def one_end_each(books: ShopBooks) -> Offences:
    """every order has exactly one end"""
    yield from no_two_ends(books)
    missing = lost(books)
    for key, story in books.stories.items():
        if PLACED in story and outcome(story) == "pending" and not {CONFIRMED, CANCELLED} & missing[key]:
            yield f"{key}: has not ended"


def no_two_ends(books: ShopBooks) -> Offences:
    """no order has two ends"""
    for key, story in books.stories.items():
        if {PLACED, REFUSED} <= story.keys():
            yield f"{key}: was placed and refused"
        elif {CONFIRMED, CANCELLED} <= story.keys() and CAPTURE_FAILED not in story:
            yield f"{key}: was confirmed and cancelled, though its money could be taken"


def ends_have_their_effects(books: ShopBooks) -> Offences:
    """every end has its effects: on the money, on the goods, and a mail"""
    missing = lost(books)
    for key, story in books.stories.items():
        for alternatives in EFFECTS[outcome(story)]:
            if not alternatives & (story.keys() | missing[key]):
                yield f"{key}: is {outcome(story)}, but there is no {' or '.join(sorted(alternatives))}"
        if outcome(story) == "cancelled" and CAPTURED in story:
            yield f"{key}: is cancelled, and its money is taken"


def promises_are_secured(books: ShopBooks) -> Offences:
    """every promised order has its money held and its goods reserved"""
    for key, story in books.stories.items():
        for needed in {AUTHORIZED, RESERVED} - story.keys() if CONFIRMED in story else ():
            yield f"{key}: is confirmed, but there is no {needed}"


def every_event_has_its_cause(books: ShopBooks) -> Offences:
    """every event has its cause among the messages"""
    yield from checks.without_cause(books, {PLACED, REFUSED})


def nothing_for_unknown_orders(books: ShopBooks) -> Offences:
    """nothing was done for an order that was never placed"""
    for key, story in books.stories.items():
        if not began(story):
            yield f"{key}: has {', '.join(sorted(story))}, but was never placed"
        elif REFUSED in story and (extra := story.keys() - {REFUSED, *MAILS}):
            yield f"{key}: was refused, but has {', '.join(sorted(extra))}"


def nobody_was_charged_or_told_unasked(books: ShopBooks) -> Offences:
    """no money was moved and no mail sent for an order that was never placed"""
    for balance in books.balances or ():
        if PLACED not in books.stories.get(balance.key, {}):
            yield f"{balance.key}: the bank moved money, but it was never placed"
    for message_id in books.mails or ():
        if addressee(message_id) not in books.stories:
            yield f"{addressee(message_id)}: a mail {message_id} went out, but it was never placed"


def addressee(message_id: str) -> str:
    """The order that a mail is about: its Message-ID is `<kind.order@host>`."""
    return unquote(message_id.partition(".")[2].rpartition("@")[0])


def charged_once(books: ShopBooks) -> Offences:
    """no card was held or charged twice"""
    for balance in books.balances or ():
        if balance.holds > 1 or balance.captures > 1:
            yield f"{balance.key}: held {balance.holds} times, charged {balance.captures} times"


def money_balances(books: ShopBooks) -> Offences:
    """money held = taken + let go, for every order that has ended"""
    missing = lost(books)
    for balance in books.balances or ():
        if {CAPTURED, VOIDED} & missing[balance.key] and balance.open_minor > 0:
            continue
        ended = outcome(books.stories.get(balance.key, {})) != "pending"
        if balance.open_minor < 0 or (ended and balance.open_minor):
            yield f"{balance.key}: {balance.open_minor} of {balance.held_minor} held are neither taken nor let go"


def ledger_agrees(books: ShopBooks) -> Offences:
    """the bank's ledger and payments' events agree, amount by amount"""
    if books.balances is None:
        return
    held = {balance.key: balance.held_minor for balance in books.balances if balance.holds}
    taken = {balance.key: balance.captured_minor for balance in books.balances if balance.captures}
    recorded = {event.key: event.body["amount_minor"] for event in books.of_type(CAPTURED)}
    for key in taken:
        if taken[key] != recorded.get(key):
            yield f"{key}: the bank took {taken[key]}, payments.captured says {recorded.get(key)}"
    yield from (f"{key}: payments.captured, but the bank took nothing" for key in recorded.keys() - taken.keys())
    for event in books.of_type(AUTHORIZED):
        if event.body["amount_minor"] != held.get(event.key):
            yield f"{event.key}: payments.authorized, but the bank held {held.get(event.key)}"


def charged_what_was_ordered(books: ShopBooks) -> Offences:
    """what was charged is what was ordered"""
    for event in books.of_type(CAPTURED):
        placed = books.stories[event.key].get(PLACED)
        if placed and event.body["amount_minor"] != price(placed):
            yield f"{event.key}: ordered for {price(placed)}, charged {event.body['amount_minor']}"


def price(placed: Fact) -> int:
    """What an order costs, from its lines."""
    return sum(line["quantity"] * line["unit_price_minor"] for line in placed.body["lines"])


def never_below_zero(books: ShopBooks) -> Offences:
    """no stock was ever below zero, nothing was sold that was not there"""
    for event in books.of_type(LEVEL):
        if event.body["available"] < 0:
            yield f"{event.key}: {event} says {event.body['available']}"
    for sku, shelf in shelves(books).items():
        if shelf.oversold:
            yield f"{sku}: {shelf.out} pieces went out of {shelf.restocked} that came in"


def stock_balances(books: ShopBooks) -> Offences:
    """stock: restocked − on the shelf = reserved − released, for every article"""
    for sku, shelf in shelves(books).items():
        if shelf.restocked - shelf.level != shelf.out:
            yield f"{sku}: restocked {shelf.restocked}, on the shelf {shelf.level}, but {shelf.out} went out"


def goods_follow_the_end(books: ShopBooks) -> Offences:
    """goods of a confirmed order are sold, goods of a cancelled one are back"""
    for key, story in books.stories.items():
        reserved, released = _goods(story, RESERVED), _goods(story, RELEASED)
        if RESERVED in story and PLACED in story and reserved != total(story[PLACED].body["lines"]):
            yield f"{key}: what is reserved is not what was ordered"
        if outcome(story) == "confirmed" and released:
            yield f"{key}: is confirmed, but its goods were put back"
        if outcome(story) == "cancelled" and {RELEASED, REJECTED} & story.keys() and released != reserved:
            yield f"{key}: is cancelled, but what was put back is not what was reserved"


def _goods(story: Story, event_type: str) -> Counter[str]:
    """The pieces in an event of the story, by article; none where there is no such event."""
    return total(story[event_type].body["goods"]) if event_type in story else Counter()


def mails_agree(books: ShopBooks) -> Offences:
    """every mail that was noted went out, and no letter under two Message-IDs"""
    if books.mails is None:
        return
    for event in books.of_type(*MAILS):
        if event.body["message_id"] not in books.mails:
            yield f"{event.key}: {event.type}, but the mail is not there"
    letters = Counter(message_id.rpartition("@")[0] for message_id in books.mails)
    for message_id in books.mails:
        if letters[message_id.rpartition("@")[0]] > 1:
            yield f"{addressee(message_id)}: {message_id} is one of several for the same letter"


def no_mail_twice(books: ShopBooks) -> Offences:
    """no mail went out twice"""
    for message_id, copies in sent_again(books).items():
        if copies > 1 + books.restorations:
            yield f"{addressee(message_id)}: {copies} copies of {message_id}"


def sent_again(books: ShopBooks) -> dict[str, int]:
    """The Message-IDs that went out more than once, with the number of copies."""
    return {message_id: copies for message_id, copies in (books.mails or {}).items() if copies > 1}


@dataclass(slots=True)
class Shelf:
    """One article's books, in pieces."""

    restocked: int = 0
    reserved: int = 0
    released: int = 0
    level: int = 0

    @property
    def out(self) -> int:
        """What left the shelf and did not come back."""
        return self.reserved - self.released

    @property
    def oversold(self) -> int:
        """What left the shelf without ever having been on it."""
        return max(0, self.out - self.restocked)


def shelves(books: ShopBooks) -> dict[str, Shelf]:
    """The books of every article."""
    found: defaultdict[str, Shelf] = defaultdict(Shelf)
    for event in books.of_type(RESTOCKED):
        found[event.body["sku"]].restocked += event.body["quantity"]
    for sku, pieces in _pieces(books, RESERVED):
        found[sku].reserved += pieces
    for sku, pieces in _pieces(books, RELEASED):
        found[sku].released += pieces
    for event in sorted(books.of_type(LEVEL), key=lambda event: event.sequence):
        found[event.key].level = event.body["available"]
    return dict(sorted(found.items()))


def _pieces(books: ShopBooks, event_type: str) -> Iterator[tuple[str, int]]:
    return (each for event in books.of_type(event_type) for each in total(event.body["goods"]).items())


CHECKS: Sequence[Check[ShopBooks]] = (
    acknowledged_are_stored,
    checks.nothing_is_delayed,
    checks.every_event_keeps_its_contract,
    one_end_each,
    ends_have_their_effects,
    checks.each_event_once,
    checks.one_trace_each,
    every_event_has_its_cause,
    nothing_for_unknown_orders,
    nobody_was_charged_or_told_unasked,
    charged_once,
    money_balances,
    ledger_agrees,
    charged_what_was_ordered,
    never_below_zero,
    stock_balances,
    goods_follow_the_end,
    *delivery_checks.CHECKS,
    mails_agree,
    no_mail_twice,
    checks.letters_have_a_source,
)
RESTORED: Sequence[Check[ShopBooks]] = (
    no_two_ends,
    promises_are_secured,
    checks.each_event_once,
    every_event_has_its_cause,
    nothing_for_unknown_orders,
    charged_what_was_ordered,
    never_below_zero,
    stock_balances,
    goods_follow_the_end,
    *delivery_checks.RESTORED,
    checks.letters_have_a_source,
)
"""What streams that were just restored must keep, whatever the bank and the mail server know besides."""
