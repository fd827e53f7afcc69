"""Goals: what reaches one, and that the page names those that are not reached."""

import json
import re
from dataclasses import replace
from pathlib import Path

from benchmarks import goals, report
from benchmarks.figures import Row
from benchmarks.goals import Goal

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
PUBLISHED = ROOT / "benchmarks/results/published.json"
ROW = Row("mesh", "10,000 orders, five services: to the last ending", "jetmesh", 10.0, "s")


def test_a_goal_is_a_limit_of_the_value_or_of_the_ratio() -> None:
    most = goals.goal_of(ROW)
    assert most
    assert (most.text("s"), most.is_reached(ROW), most.is_reached(replace(ROW, value=10.1))) == ("≤ 10 s", True, False)
    least = Goal("x", "hop", ".*", 1.8, "peer", is_least=True, is_ratio=True)
    row = Row("hop", "one hop", "peer", 5.0, "/s", ratio=1.8)
    assert (least.text("/s"), least.is_reached(row), least.is_reached(replace(row, ratio=1.79))) == (
        "≥ 1.8 ×", True, False,
    )  # fmt: skip
    assert not least.is_about(replace(row, ratio=None))
    assert not least.is_about(replace(row, who="another peer"))
    assert not most.is_reached(replace(ROW, value=float("nan")))


def test_a_goal_that_several_rows_miss_is_named_once() -> None:
    late = replace(ROW, value=11.0)
    assert goals.missed([ROW]) == []
    assert goals.missed([late, late]) == ["a burst to its last ending"]
    assert report.unreached([ROW]) == "Every goal is reached."


def test_no_two_goals_share_a_name() -> None:
    names = [goal.name for goal in goals.GOALS]
    assert sorted(set(names)) == sorted(names)


def test_the_table_on_the_page_is_that_of_the_published_figures() -> None:
    rows = report.read_json(PUBLISHED)
    about = f"{json.loads(PUBLISHED.read_text())['about']} {report.older(rows)}".strip()
    assert report.markdown(rows, about) in PAGE.read_text()


def test_the_page_says_of_each_goal_that_is_not_reached_what_limits_it() -> None:
    section = PAGE.read_text().partition("\n## Not reached")[2].partition("\n## ")[0]
    named = {" ".join(name.split()) for name in re.findall(r"\*([^*]+)\*", section)}
    missed = set(goals.missed(report.read_json(PUBLISHED)))
    assert named == missed, (
        f"in docs/performance.md, Not reached: add {sorted(missed - named)}, take away {sorted(named - missed)}"
    )
