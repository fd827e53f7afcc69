"""What became of the orders of one run: how they ended, how long it took, whether all of it can be seen."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from jetmesh.common.tables import counts, row
from jetmesh.operate.books import Fact, Letter
from jetmesh.operate.load import percentile
from jetmesh_shop.orders.service import orders
from jetmesh_shop.reference.audit import ShopAudit
from jetmesh_shop.reference.checks import CONFIRMED, outcome, shelves
from jetmesh_shop.reference.facts import PLACED, REFUSED, Facts
from jetmesh_shop.reference.traces import Damaged, TraceStore

ENDS = tuple(event.type for event in orders.endings)


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. `seconds` are from the first publish to the last end, latencies from the click to the confirmation."""

    placed: int
    confirmed: int
    cancelled: int
    refused: int
    pending: int
    charged_twice: int
    oversold: int
    dead_letters: int
    complete_traces: int
    seconds: float
    orders_per_second: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    drained_seconds: float
    offences: int

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, doubled or pending."""
        return not (self.pending or self.charged_twice or self.oversold or self.dead_letters or self.offences)


def summarize(done: ShopAudit, order_ids: Collection[str], traces: Path) -> Summary:
    """The summary of the orders with these ids; what the mesh did before counts only in the audit."""
    facts = done.facts
    stories = {key: facts.stories.get(key, {}) for key in order_ids}
    clicks = _clicks(facts, stories)
    ended = {key: _end(story) for key, story in stories.items() if outcome(story) != "pending"}
    began = min(clicks.values(), default=0)
    seconds = (max((end.unix_nano for end in ended.values()), default=began) - began) / 1e9
    last = max((event.unix_nano for story in stories.values() for event in story.values()), default=began)
    latencies = sorted(
        (story[CONFIRMED].unix_nano - clicks[key]) / 1e6 for key, story in stories.items() if CONFIRMED in story
    )
    kinds = [outcome(story) for story in stories.values()]
    return Summary(
        placed=len(stories),
        confirmed=kinds.count("confirmed"),
        cancelled=kinds.count("cancelled"),
        refused=kinds.count("refused"),
        pending=kinds.count("pending"),
        charged_twice=sum(balance.captures > 1 for balance in facts.balances or ()),
        oversold=sum(shelf.oversold for shelf in shelves(facts).values()),
        dead_letters=len(letters_since(facts, began)),
        complete_traces=_complete(stories, ended, traces),
        seconds=round(seconds, 3),
        orders_per_second=round(len(ended) / seconds, 1) if seconds else 0.0,
        latency_p50_ms=percentile(latencies, 50),
        latency_p95_ms=percentile(latencies, 95),
        latency_p99_ms=percentile(latencies, 99),
        drained_seconds=round((last - began) / 1e9, 3),
        offences=sum(len(finding.offences) for finding in done.findings),
    )


def letters_since(facts: Facts, unix_nano: int) -> list[Letter]:
    """The dead letters from this time on."""
    return [letter for letter in facts.letters if letter.unix_nano >= unix_nano]


def _clicks(facts: Facts, stories: dict[str, dict[str, Fact]]) -> dict[str, int]:
    """When each order came: into the intake over NATS, else, over HTTP, when it was recorded."""
    clicks = {}
    for key, story in stories.items():
        if first := story.get(PLACED) or story.get(REFUSED):
            clicks[key] = first.unix_nano
    for message in reversed(facts.intake):
        if message.type == PLACED and facts.named(message) in clicks:
            clicks[facts.named(message)] = message.unix_nano
    return clicks


def _end(story: dict[str, Fact]) -> Fact:
    return max((story[end] for end in ENDS if end in story), key=lambda event: event.unix_nano)


def _complete(stories: dict[str, dict[str, Fact]], ended: Collection[str], traces: Path) -> int:
    """How many ended orders have one trace that holds the span of every event recorded about them."""
    if not traces.exists():
        return 0
    try:
        with TraceStore(traces) as store:
            kept = store.ids()
    except Damaged:
        return 0
    return sum(_is_complete(stories[key].values(), kept) for key in ended)


def _is_complete(events: Collection[Fact], kept: Collection[tuple[str, str]]) -> bool:
    spans = {(event.traceparent[3:35], event.traceparent[36:52]) for event in events}
    return len({trace_id for trace_id, _ in spans}) == 1 and all(span in kept for span in spans)


def document(summary: Summary) -> dict[str, float]:
    """The summary as JSON."""
    return asdict(summary)


def render(summary: Summary) -> RenderableType:
    """The summary as two small tables."""
    ends = row(*counts(
        placed=summary.placed, confirmed=summary.confirmed, cancelled=summary.cancelled, refused=summary.refused,
        pending=summary.pending, dead_letters=summary.dead_letters, complete_traces=summary.complete_traces,
    ))  # fmt: skip
    times = row(
        ("seconds", f"{summary.seconds:,.1f}"),
        ("orders/s", f"{summary.orders_per_second:,.0f}"),
        ("p50", _duration(summary.latency_p50_ms)),
        ("p95", _duration(summary.latency_p95_ms)),
        ("p99", _duration(summary.latency_p99_ms)),
        ("drained after", f"{summary.drained_seconds:,.1f} s"),
    )
    return Group(ends, Text(), times)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1_000:.2f} s" if milliseconds >= 1_000 else f"{milliseconds:.0f} ms"
