"""What is generated is current, and the generators hold what they find to what is declared."""

from pathlib import Path

import pytest

from jetmesh.topology.chart import values
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from tools import generate
from tools.chart_values import with_durables

VALUES = """\
app: x

services:
  orders:
    # Kept.
    http: {enabled: true}
    consumers:
      - {stream: GONE, durable: orders-gone}
  gone:
    mail: true
"""


def test_every_generated_file_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_the_check_names_a_file_that_is_not_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale, gone, new = tmp_path / "stale", tmp_path / "gone", tmp_path / "below" / "new"
    stale.write_text("before")
    gone.write_text("before")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "GENERATORS", [lambda: {stale: "now", gone: None, new: "new"}])
    assert generate.main(["--check"]) == 1
    assert "not current: stale\nnot current: gone\nnot current: below/new\n" in capsys.readouterr().out
    assert generate.main([]) == 0
    assert (stale.read_text(), gone.exists(), new.read_text()) == ("now", False, "new")
    assert generate.main(["--check"]) == 0


def test_the_chart_lists_the_durables_of_each_service_and_keeps_what_else_is_said_of_it() -> None:
    wanted = {"orders": {"consumers": [{"stream": "PAYMENTS", "durable": "orders-promise"}]},
              "new": {"consumers": [{"stream": "ORDERS", "durable": "new-read"}]}}  # fmt: skip
    assert with_durables(VALUES, wanted) == VALUES.partition("    consumers")[0] + (
        "    consumers:\n      - {stream: PAYMENTS, durable: orders-promise}\n"
        "  new:\n    consumers:\n      - {stream: ORDERS, durable: new-read}\n"
    )


def test_no_deadline_is_scaled_on_and_a_split_stream_is_in_its_parts() -> None:
    listed = values(topology(SERVICES, split={"ORDERS": 2}))["services"]
    durables = {each["durable"] for service in listed.values() for each in service["consumers"]}
    assert "orders-time_out" not in durables
    assert {"stream": "ORDERS-1", "durable": "payments-authorize"} in listed["payments"]["consumers"]
