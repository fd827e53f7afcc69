"""What became of the orders of one run: how they ended, how long it took, whether all of it can be seen."""

from collections.abc import Collection, Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from jetmesh.common.tables import counts, row
from jetmesh.operate.audit import Audit
from jetmesh.operate.books import Fact
from jetmesh.operate.load import percentile
from jetmesh.operate.span_store import Damaged, TraceStore
from jetmesh.operate.timeline import duration
from jetmesh_shop.reference.audit import ENDS
from jetmesh_shop.reference.books import ENDINGS, PLACED, REFUSED, ShopBooks
from jetmesh_shop.reference.checks import CONFIRMED, outcome, shelves
from jetmesh_shop.reference.delivery_checks import DELIVERED

Summary = Mapping[str, float]
COUNTED = ("placed", *ENDS, "dead_letters", "complete_traces")
TROUBLES = ("pending", "charged_twice", "oversold", "dead_letters", "offences")
PERCENTILES = (50, 95, 99)


def summarize(done: Audit[ShopBooks], order_ids: Collection[str], traces: Path) -> Summary:
    """The figures of the orders with these ids; what the mesh did before counts only in the audit. Seconds are from the
    first publish to the last end, latencies from the click to the confirmation."""
    books = done.books
    stories = {key: books.stories.get(key, {}) for key in order_ids}
    clicks = _clicks(books, stories)
    ended = {key: _end(story) for key, story in stories.items() if outcome(story) != "pending"}
    began = min(clicks.values(), default=0)
    seconds = (max((end.unix_nano for end in ended.values()), default=began) - began) / 1e9
    last = max((event.unix_nano for story in stories.values() for event in story.values()), default=began)
    latencies = sorted(
        (story[CONFIRMED].unix_nano - clicks[key]) / 1e6 for key, story in stories.items() if CONFIRMED in story
    )
    kinds = [outcome(story) for story in stories.values()]
    return {
        "placed": len(stories),
        **{end: kinds.count(end) for end in ENDS},
        "delivered": sum(DELIVERED in story for story in stories.values()),
        "charged_twice": sum(balance.captures > 1 for balance in books.balances or ()),
        "oversold": sum(shelf.oversold for shelf in shelves(books).values()),
        "dead_letters": sum(letter.unix_nano >= began for letter in books.letters),
        "complete_traces": _complete(stories, ended, traces),
        "seconds": round(seconds, 3),
        "orders_per_second": round(len(ended) / seconds, 1) if seconds else 0.0,
        **{f"latency_p{percent}_ms": percentile(latencies, percent) for percent in PERCENTILES},
        "drained_seconds": round((last - began) / 1e9, 3),
        "offences": sum(len(finding.offences) for finding in done.findings),
    }


def is_good(summary: Summary) -> bool:
    """Whether nothing is lost, doubled or pending."""
    return not any(summary[trouble] for trouble in TROUBLES)


def render(summary: Summary) -> RenderableType:
    """The summary as two small tables."""
    ends = row(*counts(**{name: int(summary[name]) for name in COUNTED}))
    times = row(
        ("seconds", f"{summary['seconds']:,.1f}"),
        ("orders/s", f"{summary['orders_per_second']:,.0f}"),
        *((f"p{percent}", duration(round(summary[f"latency_p{percent}_ms"] * 1e6))) for percent in PERCENTILES),
        ("delivered", f"{summary['delivered']:,.0f}"),
        ("drained after", f"{summary['drained_seconds']:,.1f} s"),
    )
    return Group(ends, Text(), times)


def _clicks(books: ShopBooks, stories: dict[str, dict[str, Fact]]) -> dict[str, int]:
    """When each order came: into the intake over NATS, else, over HTTP, when it was recorded."""
    clicks = {}
    for key, story in stories.items():
        if first := story.get(PLACED) or story.get(REFUSED):
            clicks[key] = first.unix_nano
    for message in reversed(books.intake):
        if message.type == PLACED and books.named(message) in clicks:
            clicks[books.named(message)] = message.unix_nano
    return clicks


def _end(story: dict[str, Fact]) -> Fact:
    return max((story[end] for end in ENDINGS if end in story), key=lambda event: event.unix_nano)


def _complete(stories: dict[str, dict[str, Fact]], ended: Collection[str], traces: Path) -> int:
    """How many ended orders have one trace that holds the span of every event recorded about them."""
    try:
        with TraceStore(traces) as store:
            kept = store.ids()
    except (FileNotFoundError, Damaged):
        return 0
    return sum(_is_complete(stories[key].values(), kept) for key in ended)


def _is_complete(events: Collection[Fact], kept: Collection[tuple[str, str]]) -> bool:
    spans = {(event.traceparent[3:35], event.traceparent[36:52]) for event in events}
    return len({trace_id for trace_id, _ in spans}) == 1 and all(span in kept for span in spans)
