"""The page on capacity: its sums are right, and its figures are those that were measured."""

import json
from pathlib import Path

import pytest

from benchmarks import capacity
from benchmarks.capacity import Footprint
from benchmarks.figures import Row

ROOT = Path(__file__).resolve().parents[2]
ONE = Footprint(
    messages_of_busiest=2.0,
    subjects=8.0,
    disk_bytes=5_000,
    network_bytes=20_000,
    services_cpu_micros=6_000,
    broker_cpu_micros=1_000,
    spans=20,
    subject_bytes=250,
    markers=4.0,
    marker_bytes=200,
    marker_disk_bytes=300,
)


def test_the_sums_of_a_million_orders_an_hour() -> None:
    assert {what: amount for what, amount, _ in capacity.lines(ONE)} == {
        "orders a second": "556",
        "cores for services": "6",
        "cores for each broker": "1 on each of 3",
        "nodes of 8 cores": "3 + 2",
        "streams for the busiest owner, one message at a time": "2",
        "disk an hour, one copy": "5.0 GB",
        "disk of 30 days, one copy": "3.6 TB",
        "memory of a broker for each hour that is kept": "2.0 GB",
        "network of the brokers' clients": "89 Mbit/s",
        "network between the brokers": "44 Mbit/s",
        "spans a second": "11,111",
    }


def test_the_sums_of_what_stays() -> None:
    assert {what: (orders, memory, disk) for what, orders, memory, disk in capacity.remains(ONE)} == {
        "a year at one order a second": ("31.5 million", "25.2 GB", "37.8 GB"),
        "an hour at a million an hour": ("1.0 million", "0.8 GB", "1.2 GB"),
        "a day at a million an hour": ("24.0 million", "19.2 GB", "28.8 GB"),
        "30 days at a million an hour": ("720.0 million", "576.0 GB", "864.0 GB"),
        "a year at a million an hour": ("8,760.0 million", "7,008.0 GB", "10,512.0 GB"),
    }


def test_the_page_has_what_was_measured() -> None:
    published = json.loads((ROOT / "benchmarks/results/footprint.json").read_text())
    rows = [Row(**row) for row in published["rows"]]
    assert capacity.markdown(rows, published["about"]) in (ROOT / "docs/capacity.md").read_text()


def test_a_figure_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="no figure 'messages kept of an order in': measure it with `just bench foot"):
        capacity.footprint([])
