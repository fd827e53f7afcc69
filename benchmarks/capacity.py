"""How much a million orders an hour need, from what one order takes: plain arithmetic over measured figures."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import Row

ORDERS_AN_HOUR = 1_000_000
PEAK = 2.0
"""How much busier the busiest minute is than the hour's mean."""
BUSY = 0.6
"""The share of a core that is used at the peak: beyond it, waiting grows faster than work."""
COPIES = 3
NODE_CORES = 8
DAYS_KEPT = 30
REMAINS = {
    "a year at one order a second": 365 * 86_400,
    "an hour at a million an hour": 1_000_000,
    "a day at a million an hour": 24_000_000,
    "30 days at a million an hour": 720_000_000,
    "a year at a million an hour": 8_760_000_000,
}
"""For how long, and how many orders that are."""
STREAM_RATE = 1_800.0
"""Guarded messages a second that one synced stream takes one by one (decision 9); in batches, four times as many."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one order takes."""

    messages_of_busiest: float
    subjects: float
    disk_bytes: float
    network_bytes: float
    services_cpu_micros: float
    broker_cpu_micros: float
    spans: float
    subject_bytes: float
    markers: float
    marker_bytes: float
    marker_disk_bytes: float


def footprint(rows: Sequence[Row]) -> Footprint:
    """As it was measured.

    Raises:
        ValueError: a figure is missing; the text names it.
    """

    def value(start: str) -> float:
        found = next((row.value for row in rows if row.part == "footprint" and row.what.startswith(start)), None)
        if found is None:
            raise ValueError(f"no figure {start!r}: measure it with `just bench footprint`")
        return found

    return Footprint(
        messages_of_busiest=value("messages kept of an order in"),
        subjects=value("subjects kept of an order"),
        disk_bytes=value("disk of an order"),
        network_bytes=value("network of an order"),
        services_cpu_micros=value("CPU of an order, five services"),
        broker_cpu_micros=value("CPU of an order, the broker"),
        spans=value("spans of an order"),
        subject_bytes=value("broker: memory of a subject"),
        markers=value("markers that stay"),
        marker_bytes=value("broker: memory of a marker"),
        marker_disk_bytes=value("disk of a marker"),
    )


def lines(one: Footprint) -> Iterator[tuple[str, str, str]]:
    """What is needed, how much of it, and the sum that says so."""
    mean = ORDERS_AN_HOUR / 3_600
    peak = mean * PEAK
    yield "orders a second", _number(peak), f"{ORDERS_AN_HOUR:,} / 3,600 = {mean:,.0f}, at the peak × {PEAK:g}"
    cores = math.ceil(peak * one.services_cpu_micros / 1e6 / BUSY)
    yield "cores for services", f"{cores}", f"{peak:,.0f} × {one.services_cpu_micros:,.0f} µs / {BUSY:.0%}, rounded up"
    broker = math.ceil(peak * one.broker_cpu_micros / 1e6 / BUSY)
    words = (
        f"{peak:,.0f} × {one.broker_cpu_micros:,.0f} µs / {BUSY:.0%}, rounded up; {COPIES} copies do it {COPIES} times"
    )
    yield "cores for each broker", f"{broker} on each of {COPIES}", words
    nodes = math.ceil(cores / NODE_CORES) + 1
    words = f"brokers apart from one another; {cores} / {NODE_CORES}, rounded up, and one that may be lost"
    yield f"nodes of {NODE_CORES} cores", f"{COPIES} + {nodes}", words
    busiest = peak * one.messages_of_busiest
    streams = math.ceil(busiest / STREAM_RATE / BUSY)
    words = f"{peak:,.0f} × {one.messages_of_busiest:.1f} = {busiest:,.0f} a second, of {STREAM_RATE:,.0f} × {BUSY:.0%}"
    yield "streams for the busiest owner, one message at a time", f"{streams}", words
    disk = ORDERS_AN_HOUR * one.disk_bytes / 1e9
    yield "disk an hour, one copy", f"{disk:,.1f} GB", f"{ORDERS_AN_HOUR:,} × {one.disk_bytes:,.0f} B"
    kept = disk * 24 * DAYS_KEPT / 1e3
    yield (
        f"disk of {DAYS_KEPT} days, one copy",
        f"{kept:,.1f} TB",
        f"× 24 × {DAYS_KEPT}: archive and purge what has ended",
    )
    index = ORDERS_AN_HOUR * one.subjects * one.subject_bytes / 1e9
    words = f"{ORDERS_AN_HOUR:,} × {one.subjects:.1f} subjects × {one.subject_bytes:,.0f} B"
    yield "memory of a broker for each hour that is kept", f"{index:,.1f} GB", words
    network = peak * one.network_bytes * 8 / 1e6
    yield "network of the brokers' clients", f"{network:,.0f} Mbit/s", f"{peak:,.0f} × {one.network_bytes:,.0f} B × 8"
    copied = peak * one.disk_bytes * (COPIES - 1) * 8 / 1e6
    words = f"{peak:,.0f} × {one.disk_bytes:,.0f} B × {COPIES - 1} × 8"
    yield "network between the brokers", f"{copied:,.0f} Mbit/s", words
    yield "spans a second", _number(peak * one.spans), f"{peak:,.0f} × {one.spans:.1f}: what the collector must take"


def remains(one: Footprint) -> Iterator[tuple[str, str, str, str]]:
    """What stays of archived orders: for how many, memory and disk of a broker, and how many orders that are."""
    for what, orders in REMAINS.items():
        memory = orders * one.markers * one.marker_bytes / 1e9
        disk = orders * one.markers * one.marker_disk_bytes / 1e9
        yield what, f"{orders / 1e6:,.1f} million", f"{memory:,.1f} GB", f"{disk:,.1f} GB"


def markdown(rows: Sequence[Row], about: str) -> str:
    """Three tables: what one order takes, what many need, and what stays of them for ever."""
    measured = [row for row in rows if row.part == "footprint"]
    text = [about, "", "| one order takes | |", "|---|--:|"]
    text += [f"| {row.what} | {f'{_number(row.value)} {row.unit}'.strip()} |" for row in measured]
    text += ["", f"| {ORDERS_AN_HOUR:,} orders an hour need | | since |", "|---|--:|---|"]
    one = footprint(rows)
    text += [f"| {what} | {amount} | {why} |" for what, amount, why in lines(one)]
    text += ["", "| archived, with markers | orders | memory of a broker | disk, one copy |", "|---|--:|--:|--:|"]
    text += [f"| {' | '.join(cells)} |" for cells in remains(one)]
    return "\n".join(text)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
