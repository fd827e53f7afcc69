"""Short runs of the chaos: every commit knows that it works, and what it would find; `just chaos` is the proof."""

import re
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.chaos import disks
from tests.chaos.arena import DISK_FULL
from tests.chaos.nemesis import CLOCK_AHEAD, KEY_WITHDRAWN, OTHER_KILLED, OTHER_UPGRADED, ROLLBACK, UPGRADE
from tests.chaos.wrapped import BEFORE_ACK, BEFORE_RECORDING, BUGS, IN_THE_BANK

SECONDS_MAX = 240
KINDS = ("SIGKILL of a service", f"SIGKILL {BEFORE_ACK}", "broker SIGKILL", "connections cut")
VERSIONS = (UPGRADE, ROLLBACK)
FINDINGS = {
    "unknown-types-dead-lettered": (
        ROLLBACK,
        "every (order that was acknowledged|end has its effects|refusal|request)",
    ),
    "ack-before-recording": (f"SIGKILL {BEFORE_RECORDING}", "every (order that was acknowledged|end has its effects)"),
    "guard-left-out": (f"SIGKILL {BEFORE_ACK}", "every event was recorded once"),
    "compensation-left-out": (f"SIGKILL {IN_THE_BANK}", r"money held = taken \+ let go"),
}
"""By planted bug: the kind of fault that brings it to light, and what the audit says then."""


def chaos(*arguments: str, kinds: Sequence[str]) -> str:
    """What a run prints that ends as it should."""
    only = [word for kind in kinds for word in ("--only", kind)]
    command = [sys.executable, "-m", "tests.chaos", "--deadline", "12", *arguments, *only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_books_balance_after_a_short_storm() -> None:
    printed = chaos("--orders", "80", "--seconds", "8", kinds=KINDS)
    for kind in KINDS:
        assert re.search(rf"{kind} +[1-9]", printed), printed


def test_the_books_balance_after_upgrades_and_rollbacks_under_load() -> None:
    printed = chaos("--orders", "200", "--seconds", "12", kinds=VERSIONS)
    for kind in VERSIONS:
        assert re.search(rf"{kind} +[1-9]", printed), printed


def test_the_books_of_two_apps_balance_while_one_is_upgraded_and_rolled_back() -> None:
    kinds = ("SIGKILL of a service", OTHER_KILLED, OTHER_UPGRADED)
    printed = chaos("--two-apps", "--orders", "60", "--seconds", "10", kinds=kinds)
    for kind in kinds:
        assert re.search(rf"{kind} +[1-9]", printed), printed


def test_the_books_balance_after_the_broker_was_emptied_and_restored_under_load() -> None:
    kinds = ("broker emptied and restored", "SIGKILL of a service")
    printed = chaos("--orders", "150", "--seconds", "10", kinds=kinds)
    for kind in kinds:
        assert re.search(rf"{kind} +[1-9]", printed), printed
    assert "placed again, since a restore had undone them" in printed


@pytest.mark.parametrize("kind", [KEY_WITHDRAWN, CLOCK_AHEAD])
def test_the_books_balance_after_a_storm_of_one_kind(kind: str) -> None:
    printed = chaos("--orders", "60", "--seconds", "8", kinds=[kind])
    assert re.search(rf"{kind} +[1-9]", printed), printed


@pytest.mark.skipif(bool(disks.why_not()), reason=disks.why_not())
def test_the_books_balance_after_a_disk_was_full() -> None:
    printed = chaos("--orders", "60", "--seconds", "8", kinds=[DISK_FULL])
    assert re.search(rf"{DISK_FULL} +[1-9]", printed), printed


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    kind, finding = FINDINGS[bug]
    printed = chaos("--orders", "200", "--seconds", "12", "--bug", bug, kinds=[kind])
    assert re.search(rf"✗ {finding}[^:\n]*(:[^:\n]*)?: [1-9]", printed), printed
