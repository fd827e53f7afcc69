"""What jetmesh sets itself: the goal of each row that has one, and whether the figure reaches it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import Row

PEERS_BY_HAND, FASTSTREAM = "nats-py by hand", "FastStream"


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for the rows that it is about: of their value, in the row's own unit, or of their ratio."""

    name: str
    """Under this the page names it where it is not reached."""
    part: str
    what: str
    """A pattern of the whole text."""
    limit: float
    who: str = ".*"
    is_least: bool = False
    is_ratio: bool = False

    def is_about(self, row: Row) -> bool:
        """Whether the row is measured against it."""
        return bool(
            row.part == self.part
            and (row.ratio is not None or not self.is_ratio)
            and re.fullmatch(self.what, row.what)
            and re.fullmatch(self.who, row.who)
        )

    def is_reached(self, row: Row) -> bool:
        """Whether the row's figure is within the limit."""
        figure = row.ratio if self.is_ratio and row.ratio is not None else row.value
        return figure >= self.limit if self.is_least else figure <= self.limit

    def text(self, unit: str) -> str:
        """As the table shows it."""
        return f"{'≥' if self.is_least else '≤'} {self.limit:,g} {'×' if self.is_ratio else unit}".strip()


def _times(name: str, part: str, what: str, who: str, limit: float) -> Goal:
    """So many times as good as a peer, at least."""
    return Goal(name, part, what, limit, who, is_least=True, is_ratio=True)


def _within(name: str, part: str, what: str, limit: float) -> Goal:
    """So many times what it is beside, at most."""
    return Goal(name, part, what, limit, is_ratio=True)


def _hop(kind: str, sync: str, faststream: float, by_hand: float) -> Iterator[Goal]:
    what, where = f"one hop, {kind}, sync_interval {sync}", "" if sync == "2m" else ", synced"
    yield _times(f"one hop {kind}{where}, beside FastStream", "hop", what, FASTSTREAM, faststream)
    yield _times(f"one hop {kind}{where}, beside nats-py by hand", "hop", what, PEERS_BY_HAND, by_hand)


CLICK = "click to confirmation at"
GOALS: Sequence[Goal] = (
    *_hop("untraced", "2m", 6, 1.8),
    *_hop("traced", "2m", 7, 3.5),
    *_hop("untraced", "always", 6, 3),
    _times("one hop beside natsio", "newer-python", "one hop, untraced, sync_interval 2m,.*", "natsio by hand", 1.2),
    _times("one hop beside Watermill", "go", "one hop, untraced,.*", "Watermill, Go", 0.5),
    Goal("a burst to its last ending", "mesh", "10,000 orders, five services: to the last ending", 10),
    Goal("a burst to everything drained", "mesh", "10,000 orders, five services: to everything drained", 18),
    Goal("traces of a burst", "mesh", ".*: traces complete .*", 100, is_least=True),
    Goal("CPU of an order in a burst, services", "mesh", ".*, five services: CPU per order, services", 1_500),
    Goal("CPU of an order in a burst, broker", "mesh", ".*, five services: CPU per order, broker", 800),
    _times("a burst beside FastStream", "mesh", ".* no mail: to the last ending", FASTSTREAM, 2),
    _times("CPU of a burst beside FastStream", "mesh", ".* no mail: CPU per order", FASTSTREAM, 3),
    Goal("at 100 orders a second, p50", "latency", f"{CLICK} 100 orders/s, p50", 8, "jetmesh"),
    Goal("at 100 orders a second, p99", "latency", f"{CLICK} 100 orders/s, p99", 40, "jetmesh"),
    Goal("at one order a second, p50", "latency", f"{CLICK} 1 orders/s, p50", 8, "jetmesh"),
    Goal("CPU of an order at 100 a second", "latency", "CPU of an order at 100 orders/s, services", 3_000, "jetmesh"),
    Goal("a shared core, p50", "shared-core", ".*, p50", 60, "jetmesh"),
    _times("a shared core beside FastStream", "shared-core", ".*, p(50|99)", f"{FASTSTREAM}.*", 1),
    Goal("overload: nothing lost", "overload", ".*: orders lost, and offences of the audit", 0),
    Goal("overload: back to normal", "overload", ".*: until it is back to normal", 10),
    Goal("memory of a service that drains", "memory", "memory while draining .*", 100, "(?!analytics).*"),
    Goal("memory of analytics that drains", "memory", "memory while draining .*", 200, "analytics"),
    _times("a backlog as fast as a burst", "memory", "draining, of a backlog .*", "a backlog", 0.9),
    Goal("an idle mesh", "memory", "idle mesh, .*", 2),
    Goal("a service's start", "memory", "one service: start to first handled event", 0.8),
    _within("CPU of an order beside stored ones", "stored", "CPU of an order, .*", 1.15),
    _within("one hot article", "hot-article", ".* for one hot article: to the last ending", 1.3),
    Goal("a hot article is not oversold", "hot-article", "pieces of the hot article sold that were not there", 0),
    _within("beside failing deliveries", "failing", "one hop at .*", 1.1),
    _times("two replicas", "replicas", "a backlog of .* orders through [a-z]+", "two replicas", 1.6),
    Goal("the console's first view", "console", "first view of the flow, from cold", 1_000),
    Goal("the console's share of a core", "console", ".*, with a viewer: share of a core", 20),
    Goal("the browser's share of a core", "console", ".*: the browser's share of a core", 30),
    Goal("a viewer of a mesh at rest", "console", "a viewer of a mesh at rest: share of all cores", 3),
    Goal("a busy mesh with a viewer", "console", "(CPU|time) of a busy mesh .*, with a viewer", 1.03),
    Goal("an event on the shop's page", "shop", "an event's line on the open page of its order, .*", 100),
    Goal("a room of a thousand readers, p99", "chat", ".* readers, p99", 100),
    Goal("a room of a thousand readers: one order", "chat", ".*: readers that saw another order, or not all", 0),
    Goal("`just bench` whole", "whole", "`just bench`, all parts", 10),
)


def goal_of(row: Row) -> Goal | None:
    """The goal that the row is measured against, if it has one."""
    return next((goal for goal in GOALS if goal.is_about(row)), None)


def missed(rows: Sequence[Row]) -> list[str]:
    """The names of the goals that a row does not reach, each once."""
    judged = [(goal, row) for row in rows if (goal := goal_of(row))]
    return list(dict.fromkeys(goal.name for goal, row in judged if not goal.is_reached(row)))
