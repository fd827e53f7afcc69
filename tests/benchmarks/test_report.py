"""The figures of a benchmark: medians, quantiles, and the pages that they are put into."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import chart, latency, report
from benchmarks.figures import Figure, Row, median, median_interval, quantile, spread
from benchmarks.quiet import Snapshot, disturbances, snapshot

ROOT = Path(__file__).resolve().parents[2]
WHAT = "one hop, untraced, sync_interval 2m"
HOP = Row("hop", WHAT, "jetmesh", 20_000.0, "/s", spread=0.031, cpu_micros=45.2, memory_bytes=71e6)
PEER = Row("hop", WHAT, "a peer & more", 4_000.0, "/s", ratio=5.0)


def test_the_median_is_taken_of_each_field() -> None:
    rounds = [Figure(1.0, 30.0, 5.0), Figure(3.0, 10.0, 5.0), Figure(2.0, 20.0, 8.0)]
    assert median(rounds) == Figure(2.0, 20.0, 5.0)
    assert spread([1.0, 3.0, 2.0]) == 0.5


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.99) == 4.0
    assert math.isnan(quantile([], 0.5))


def test_the_median_of_a_sample_lies_in_an_interval_that_no_distribution_is_assumed_for() -> None:
    assert median_interval(range(15, 0, -1)) == (4, 12)
    assert median_interval([3.0, 1.0, 9.0, 2.0, 5.0, 7.0]) == (1.0, 9.0)
    assert median_interval([2.0]) == (2.0, 2.0)


def test_one_stall_is_in_the_spread_of_the_windows_and_not_in_their_median() -> None:
    calm = [10.0] * 99 + [20.0]
    assert latency.windowed(calm * 5, 1.0) == [20.0] * 5
    stalled = [*calm * 2, *[500.0] * 10, *calm[10:], *calm * 2]
    assert latency.windowed(stalled, 1.0) == [20.0, 20.0, 500.0, 20.0, 20.0]
    assert latency.windowed(calm, 1.0) == [20.0]


def test_the_table_goes_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    report.put_between_markers(page, report.markdown([HOP, PEER, replace(PEER, who="FastStream")], "about"))
    text = page.read_text()
    assert text.startswith("before\n<!-- bench -->\nabout\n")
    assert text.endswith("|\n<!-- /bench -->\nafter\n")
    assert f"| {WHAT} | jetmesh | 20,000 /s ± 3% |  | 45 µs | 71 MB |  |  |" in text
    assert f"| {WHAT} | FastStream | 4,000 /s | 5.00 × |  |  | ≥ 6 × | ✗ no |" in text
    assert "Not reached: one hop untraced, beside FastStream." in text
    assert "old" not in text


def test_the_first_page_shows_five_ratios_of_the_published_run() -> None:
    rows = report.headlines(report.read_json(ROOT / "benchmarks/results/published.json"))
    shown = (ROOT / "README.md").read_text().partition("<!-- bench -->\n")[2].partition("\n<!-- /bench -->")[0]
    about, _, table = shown.partition("\n")
    assert len(rows) == 5
    assert {about.rpartition("; ")[2]} == {f"{row.day}." for row in rows}
    assert table == report.ratios(rows, "").partition("\n")[2]


def test_the_first_page_shows_a_burst_of_any_size() -> None:
    burst = Row("mesh", "2,500 orders, no mail: CPU per order", "FastStream", 6_637.0, "µs", ratio=5.9)
    assert report.headlines([HOP, replace(burst, who="jetmesh"), burst]) == [burst]


def test_a_part_that_was_not_measured_keeps_its_figures_and_its_day() -> None:
    old = [
        replace(HOP, day="2026-11-27"),
        replace(PEER, day="2026-11-27"),
        Row("mesh", "x", "y", 1.0, "s", day="2026-11-27"),
    ]
    new = [replace(HOP, value=1.0, day="2026-11-30")]
    rows = report.merged(old, new)
    assert [(row.part, row.value, row.day) for row in rows] == [("hop", 1.0, "2026-11-30"), ("mesh", 1.0, "2026-11-27")]
    assert report.older(rows) == "Of another day: mesh (2026-11-27)."
    assert report.older(new) == ""


def test_figures_of_a_machine_that_was_not_quiet_are_marked() -> None:
    noisy = replace(HOP, noise="chromium 37%")
    assert report.cells(noisy)[2] == "20,000 /s ± 3% (noisy)"
    assert report.noise([noisy, noisy, PEER]) == ["not a quiet machine: during hop, of one core: chromium 37%"]


def test_who_else_used_the_machine_is_named() -> None:
    before = Snapshot(0.0, 0.0, 0.0, 0.0, {(1, 1): ("init", 50.0), (7, 2): ("browser", 1.0), (3, 1): ("", 0.0)})
    others = {(1, 1): ("init", 50.1), (7, 2): ("browser", 5.0), (7, 9): ("compiler", 2.0), (3, 1): ("", 4.0)}
    quiet = Snapshot(10.0, 14.1, 0.1, 10.0, {(1, 1): ("init", 50.1), (3, 1): ("", 4.0)})
    assert disturbances(before, quiet) == []
    busy = Snapshot(10.0, 24.0, 1.0, 10.0, others)
    assert disturbances(before, busy) == [
        "browser 40%", "processes that have ended 39%", "compiler 20%", "the hypervisor (steal) 10%",
    ]  # fmt: skip


def test_what_this_process_starts_is_not_another_one() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        others = {pid for pid, _ in snapshot().others}
        child.communicate(b"\n")
    assert 1 in others
    assert not {os.getpid(), child.pid} & others


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no <!-- bench -->"):
        report.put_between_markers(page, "table")
    assert page.read_text() == "nothing"


def test_the_chart_has_a_bar_for_each_rate(tmp_path: Path) -> None:
    chart.write(tmp_path / "chart.svg", [HOP, PEER])
    svg = (tmp_path / "chart.svg").read_text()
    assert svg.count("<rect") == 2
    assert "a peer &amp; more" in svg


@pytest.mark.parametrize(("value", "words"), [(math.nan, "nothing"), (math.inf, "never")], ids=["nothing", "never"])
def test_a_figure_that_is_none_does_not_end_the_table(value: float, words: str) -> None:
    assert report.cells(Row("hop", "how long", "jetmesh", value, ""))[2] == words
