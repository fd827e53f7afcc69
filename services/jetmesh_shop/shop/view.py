"""An order as its page shows it, made of its story, its spans and its mails."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jetmesh.operate.span_record import SpanRecord
from jetmesh_shop.shop import path, words
from jetmesh_shop.shop.evidence import Mail
from jetmesh_shop.shop.path import SERVICES, Step
from jetmesh_shop.shop.story import Happened, Story
from jetmesh_shop.shop.words import Refusal


@dataclass(frozen=True)
class Headline:
    """How the order stands, in one sentence, and what comes next."""

    tone: str
    title: str
    advice: str


@dataclass(frozen=True)
class Entry:
    """One line of the waterfall: an event, or a try that failed; all times in milliseconds since the beginning."""

    key: str
    service: str
    title: str
    words: str
    tone: str
    at_ms: float
    time: datetime | None = None
    bar: tuple[float, float] | None = None
    """Where its reaction began and how long it took, in percent of the whole."""
    took_ms: float | None = None
    attempt: int = 1

    @property
    def hue(self) -> int:
        """The hue of its service."""
        return SERVICES.index(self.service) + 1 if self.service in SERVICES else 8


@dataclass(frozen=True)
class Money:
    """What the money of the order does."""

    total: str
    tone: str
    words: str


@dataclass(frozen=True)
class Line:
    """One article of the order."""

    name: str
    quantity: int
    price: str


@dataclass(frozen=True)
class OrderView:
    """Everything that the page shows."""

    order_id: str
    headline: Headline
    steps: list[list[Step]]
    began: datetime | None
    entries: list[Entry]
    money: Money
    lines: list[Line]
    goods: tuple[str, str]
    mails: Sequence[Mail]
    can_cancel: bool
    is_over: bool
    trace_ids: list[str]
    total_ms: float


def view(order_id: str, story: Story, spans: Sequence[SpanRecord], mails: Sequence[Mail]) -> OrderView:
    """The page's contents."""
    over = path.is_over(story)
    entries = entries_of(story, spans)
    can_cancel = "orders.placed" in story and not {"orders.cancelled", "payments.captured"} & set(story)
    return OrderView(
        order_id=order_id,
        headline=headline(story, over=over),
        steps=path.steps(story, spans),
        began=next((entry.time for entry in entries if entry.time), None),
        entries=entries,
        money=money(story),
        lines=lines(story),
        goods=goods(story),
        mails=mails,
        can_cancel=can_cancel and "orders.cancellation_requested" not in story,
        is_over=over,
        trace_ids=trace_ids(story),
        total_ms=max((entry.at_ms for entry in entries), default=0.0),
    )


def trace_ids(story: Story) -> list[str]:
    """The traces of the story, usually one."""
    return list(dict.fromkeys(event.trace_id for event in story.values() if event.trace_id))


def message_ids(story: Story) -> list[str]:
    """The Message-IDs of the mails that were sent."""
    found = (str(event.data.get("message_id", "")) for event in story.values() if event.service == "notifications")
    return [each for each in found if each]


def headline(story: Story, *, over: bool) -> Headline:
    """The most that can be said."""
    if "orders.refused" in story:
        why = words.REFUSED.get(str(story["orders.refused"].data.get("reason")), words.UNKNOWN)
        return Headline("bad", why.title, why.advice)
    if "orders.cancelled" in story:
        why = why_cancelled(story)
        return Headline("bad", why.title, why.advice)
    if "payments.captured" in story:
        sent = "notifications.receipt_sent" in story
        receipt = "The receipt is in your mail." if sent else "The receipt is on its way."
        late = "It was too late to cancel the order: it is paid. " if "orders.cancellation_requested" in story else ""
        return Headline("good", where(story), late + receipt)
    if "orders.confirmed" in story:
        return Headline("good", "Your order is promised.", "Its money is being taken.")
    if "orders.placed" in story:
        return Headline("info", "We have your order.", "Money and goods are being secured.")
    return Headline("info", "Your order is being taken.", "This page shows it as it happens.")


def where(story: Story) -> str:
    """Where an order is that was paid."""
    for kind, title in (
        ("delivery.delivered", "Delivered. Enjoy it!"),
        ("delivery.reassigned", "Paid. Its courier can't be reached, so another one brings it."),
        ("delivery.dispatched", "Paid, and on its way."),
        ("delivery.delayed", "Paid. The couriers need longer than promised."),
        ("delivery.queued", "Paid. It waits for a free courier."),
    ):
        if kind in story:
            return title
    return "Paid, and yours."


def why_cancelled(story: Story) -> Refusal:
    """What stood in the way: payments and inventory say it more exactly than orders does."""
    reason = str(story["orders.cancelled"].data.get("reason"))
    if reason == "payment_declined" and "payments.declined" in story:
        declined = str(story["payments.declined"].data.get("reason"))
        return words.DECLINED.get(declined, words.DECLINED["other"])
    if reason == "out_of_stock" and "inventory.rejected" in story:
        short = words.shortage(story["inventory.rejected"].data)
        return Refusal(words.CANCELLED[reason].title, f"{short}. {words.CANCELLED[reason].advice}")
    return words.CANCELLED.get(reason, words.UNKNOWN)


def money(story: Story) -> Money:
    """Where the money is."""
    total = next(
        (words.amount(story[kind].data) for kind in ("payments.captured", "payments.authorized") if kind in story), ""
    )
    for kind, tone, said in (
        ("payments.voided", "good", "nothing charged: the hold is given back"),
        ("payments.captured", "good", "taken"),
        ("payments.declined", "bad", "nothing charged: declined"),
        ("payments.capture_failed", "warn", "could not be taken; the hold is being given back"),
        ("payments.authorized", "info", "held on your card, not taken yet"),
    ):
        if kind in story:
            return Money(total or _sum(story), tone, said)
    return Money(_sum(story), "", "not touched yet")


def goods(story: Story) -> tuple[str, str]:
    """Where the goods are: a tone and words."""
    for kind, tone, said in (
        ("inventory.released", "", "back on the shelf"),
        ("inventory.rejected", "bad", "not enough in stock"),
        ("delivery.delivered", "good", "delivered to you"),
        ("delivery.dispatched", "good", "with the courier"),
        ("inventory.reserved", "good", "reserved for you"),
    ):
        if kind in story:
            return tone, said
    return "", "not reserved yet"


def lines(story: Story) -> list[Line]:
    """What was ordered."""
    if "orders.placed" not in story:
        return []
    data = story["orders.placed"].data
    return [Line(words.article(each["sku"]), each["quantity"], _amount(data, [each])) for each in data.get("lines", [])]


def _sum(story: Story) -> str:
    if "orders.placed" not in story:
        return ""
    data = story["orders.placed"].data
    return _amount(data, data.get("lines", []))


def _amount(placed: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> str:
    total = sum(line["quantity"] * line["unit_price_minor"] for line in lines)
    return words.amount({"amount_minor": total, "currency": placed.get("currency")})


class Scale:
    """Maps times to percent of the waterfall, from the first to the last of it."""

    def __init__(self, story: Story, spans: Sequence[SpanRecord]) -> None:
        events = [int(event.time.timestamp() * 1e9) for event in story.values()]
        self.began = min(events)
        self._first = min([self.began, *(span.start_unix_nano for span in spans)])
        last = max([*events, *(span.end_unix_nano for span in spans)])
        self._percent = 100 / max(last - self._first, 1)

    def bar(self, span: SpanRecord | None) -> tuple[float, float] | None:
        """Where a span begins, and its width."""
        if span is None:
            return None
        width = max((span.end_unix_nano - span.start_unix_nano) * self._percent, 0.8)
        return round(min((span.start_unix_nano - self._first) * self._percent, 99.2), 2), round(width, 2)


def entries_of(story: Story, spans: Sequence[SpanRecord]) -> list[Entry]:
    """The events, and the tries that failed, by time; with a bar for each whose span is known."""
    if not story:
        return []
    recorded_by = {event.type: _span_of(event, spans) for event in story.values()}
    failed = [span for span in spans if span.kind == "consumer" and _outcome(span) in path.TRIES_AGAIN]
    scale = Scale(story, [*filter(None, recorded_by.values()), *failed])
    found = [_recorded(event, recorded_by[event.type], scale) for event in story.values()]
    return sorted([*found, *(_failed(span, scale) for span in failed)], key=lambda entry: entry.at_ms)


def _span_of(event: Happened, spans: Sequence[SpanRecord]) -> SpanRecord | None:
    """The delivery that recorded an event: the parent of the span that published it."""
    parents = {
        span.parent_id
        for span in spans
        if span.kind == "producer" and span.attributes.get("cloudevents.event_type") == event.type
    }
    mine = (span for span in reversed(spans) if span.kind in ("consumer", "server") and span.span_id in parents)
    return next(mine, None)


def _recorded(event: Happened, span: SpanRecord | None, scale: Scale) -> Entry:
    return Entry(
        key=event.type.replace(".", "-"),
        service=event.service,
        title=words.EVENTS.get(event.type, event.type),
        words=words.detail(event.type, event.data),
        tone="bad" if event.type in words.BAD else "",
        at_ms=(event.time.timestamp() * 1e9 - scale.began) / 1e6,
        time=event.time,
        bar=scale.bar(span),
        took_ms=path.took_ms(span) if span else None,
        attempt=path.attempt_of(span) if span else 1,
    )


def _failed(span: SpanRecord, scale: Scale) -> Entry:
    return Entry(
        key=f"try-{span.span_id}",
        service=span.service,
        title=f"{path.title_of(span)}: tried again",
        words=path.reason_of(span),
        tone="warn",
        at_ms=(span.end_unix_nano - scale.began) / 1e6,
        bar=scale.bar(span),
        took_ms=path.took_ms(span),
        attempt=path.attempt_of(span),
    )


def _outcome(span: SpanRecord) -> str:
    return str(span.attributes.get("jetmesh.outcome", ""))
