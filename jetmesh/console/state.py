"""How a reaction is, in one word with its reason: what the picture's colours and signs say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.operate.overview import Overview, ReactionRow, waiting
from jetmesh.service import Service

BEHIND = 1_000
"""So many waiting deliveries are a lag to look at."""
SIGNS = {"good": "✓", "waits": "◷", "paused": "‖", "doubt": "!", "bad": "✗", "away": "○", "unknown": "?"}


@dataclass(frozen=True, slots=True)
class ReactionState:
    """One of `SIGNS`, and why."""

    name: str
    words: str

    @property
    def sign(self) -> str:
        """Its sign, for those who see no colours."""
        return SIGNS[self.name]


UNKNOWN = ReactionState("unknown", "nothing is known yet")
UNREAD = ReactionState("unknown", "nobody looked at this time")
FIGURES = ("rate", "lag", "flight", "resting", "p50", "p95", "failed", "retries", "letters", "breaker")
TOTALS = ("processes", "rate", "lag", "letters")


def state_of(row: ReactionRow, *, running: bool) -> ReactionState:
    """How a reaction is; the worst counts."""
    return next(
        (ReactionState(name, words) for name, words in _found(row, running=running) if words),
        ReactionState("good", "works"),
    )


def _found(row: ReactionRow, *, running: bool) -> list[tuple[str, str]]:
    return [
        ("paused", row.lag.paused),
        ("away", "" if running else "no process of its service answers"),
        ("bad", "its circuit breaker is open" if row.breaker == "open" else ""),
        ("doubt", "its circuit breaker is half-open" if row.breaker == "half-open" else ""),
        ("doubt", "attempts failed in the last minute" if row.failed_per_second else ""),
        ("waits", _waiting(row.limit_waiting, "delivery", "deliveries", "for its rate limit")),
        ("doubt", _waiting(row.lag.pending, "delivery", "deliveries") if _is_behind(row) else ""),
        ("doubt", _waiting(row.dead_letters, "dead letter", "dead letters", "for a decision")),
    ]


def _is_behind(row: ReactionRow) -> bool:
    return row.lag.pending >= BEHIND and not row.waits


def _waiting(count: int, one: str, many: str, why: str = "") -> str:
    """How many wait; empty where none does."""
    if not count:
        return ""
    return (f"{count:,} {one} waits {why}" if count == 1 else f"{count:,} {many} wait {why}").rstrip()


def cells(overview: Overview) -> dict[str, dict[str, Any]]:
    """What the picture shows of each reaction, as text by the name of its place."""
    return {f"{row.service}.{row.name}": _cells(row, overview) for row in overview.rows}


def _cells(row: ReactionRow, overview: Overview) -> dict[str, Any]:
    state = state_of(row, running=bool(overview.instances.get(row.service)))
    return {
        "state": state.name,
        "sign": state.sign,
        "words": state.words,
        "rate": _figure(_rate(row)),
        "lag": "–" if row.waits else f"{row.lag.pending:,}",
        "flight": f"{_resting(row):,} resting" if row.waits else f"{row.lag.ack_pending:,}",
        "resting": f"{_resting(row):,}",
        "p50": _latency(row.p50_ms),
        "p95": _latency(row.p95_ms),
        "failed": _figure(row.failed_per_second),
        "retries": f"{row.retries:,}",
        "letters": f"{row.dead_letters:,}",
        "breaker": row.breaker,
    }


def _latency(ms: float) -> str:
    """A latency; where nothing was attempted within a minute there is none."""
    return _figure(ms) if ms else "–"


def _resting(row: ReactionRow) -> int:
    """How many deliveries of a deadline wait for their time."""
    return row.lag.pending + row.lag.ack_pending


def _rate(row: ReactionRow) -> float:
    """Deliveries a second: between two readings of the broker; where there is no earlier one, or where the durable is
    shared with others, as the service says of its last minute."""
    shares = not row.lag.handled
    return row.attempts_per_second if shares or row.settled_per_second is None else row.settled_per_second


def unread(services: Sequence[Service]) -> dict[str, dict[str, Any]]:
    """The same for a time at which nobody looked."""
    told = {"state": UNREAD.name, "sign": UNREAD.sign, "words": UNREAD.words, **dict.fromkeys(FIGURES, "–")}
    return {f"{each.service}.{each.name}": told for service in services for each in service.reactions}


def told(overview: Overview | None, *, discreet: bool = False) -> dict[str, Any]:
    """All that the picture shows; of a broker that is away nothing. If `discreet`, without the texts of errors."""
    if overview is None:
        return {"cells": {}, "totals": {}, "warnings": []}
    return {"cells": cells(overview), "totals": totals(overview), "warnings": warnings(overview, discreet=discreet)}


def totals(overview: Overview) -> dict[str, str]:
    """The figures of the whole mesh."""
    rows = overview.rows
    return {
        "processes": f"{sum(overview.instances.values()):,}",
        "rate": _figure(sum(_rate(row) for row in rows if not row.is_lane)),
        "lag": f"{waiting(rows):,}",
        "letters": f"{overview.dead_letters:,}",
    }


def warnings(overview: Overview, *, discreet: bool = False) -> list[str]:
    """What is not as it should be, a sentence each."""
    parts = 2 if discreet else None  # the state and the error's type
    breakers = {name: state.split(":")[:parts] for name, state in overview.breakers.items()}
    found = [f"The circuit breaker {name} is {':'.join(words)}." for name, words in breakers.items()]
    if overview.missing:
        found.append(f"No answer from {', '.join(overview.missing)}.")
    found += [f"{row.service}.{row.name} is {row.lag.paused}." for row in overview.rows if row.lag.paused]
    return [*found, *(f"Orphan: {orphan}." for orphan in overview.orphans)]


def _figure(value: float) -> str:
    """A figure with about three digits."""
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:,.1f}" if value >= 1 else f"{value:,.2f}"
