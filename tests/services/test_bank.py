"""The sandbox bank: each key is charged at most once, whatever is repeated, closed, killed or called at once."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
from click.testing import CliRunner

from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.bank import Terms, capture, hold
from jetmesh_shop.payments.gateway import (
    AlreadyCaptured,
    BankUnavailable,
    Captured,
    CaptureRefused,
    Closed,
    Held,
    KeyReused,
    Refused,
    Released,
)
from jetmesh_shop.payments.ledger import Bank, Ledger, begin_outage, connect, end_outage
from jetmesh_shop.reference.bank import bank as bank_command

PRICE = (2300, "EUR", "pm_card_visa")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bank.sqlite"


@pytest.fixture
async def bank(path: Path) -> AsyncIterator[SandboxBank]:
    bank = SandboxBank(path)
    yield bank
    await bank.aclose()


def kinds(path: Path) -> list[tuple[str, str]]:
    return [*Ledger(path).movements()]


def still_held(path: Path) -> list[str]:
    return [balance.key for balance in Ledger(path).balances() if balance.open_minor]


async def test_a_hold_and_its_capture_move_the_money_once_however_often_they_are_asked(
    bank: SandboxBank, path: Path
) -> None:
    held = [await bank.hold("o-1", *PRICE) for _ in range(3)]
    captured = [await bank.capture("o-1") for _ in range(3)]
    assert isinstance(held[0], Held)
    assert held == [held[0]] * 3
    assert captured == [Captured(held[0].authorization_id)] * 3
    assert await bank.hold("o-1", *PRICE) == held[0]
    assert kinds(path) == [("o-1", "held"), ("o-1", "captured")]


async def test_a_closed_key_refuses_holds_for_good_also_when_it_never_held(bank: SandboxBank, path: Path) -> None:
    assert await bank.close("o-1") == Released()
    assert await bank.hold("o-1", *PRICE) == Closed()
    assert await bank.capture("o-1") == CaptureRefused("closed")
    assert kinds(path) == []


async def test_closing_gives_back_once_what_was_held(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", *PRICE)
    assert [await bank.close("o-1") for _ in range(2)] == [Released()] * 2
    assert await bank.hold("o-1", *PRICE) == Closed()
    assert kinds(path) == [("o-1", "held"), ("o-1", "released")]


async def test_what_is_captured_can_not_be_closed(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", *PRICE)
    await bank.capture("o-1")
    assert await bank.close("o-1") == AlreadyCaptured()
    assert kinds(path)[-1] == ("o-1", "captured")


async def test_what_is_captured_is_given_back_once_and_its_key_is_closed(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", *PRICE)
    await bank.capture("o-1")
    for _ in range(2):
        await bank.refund("o-1")
    assert await bank.hold("o-1", *PRICE) == Closed()
    assert await bank.capture("o-1") == CaptureRefused("closed")
    assert kinds(path) == [("o-1", "held"), ("o-1", "captured"), ("o-1", "refunded")]
    with closing(Ledger(path)) as ledger:
        (balance,) = ledger.balances()
    assert (balance.captured_minor, balance.released_minor, balance.open_minor) == (0, PRICE[0], 0)
    assert (balance.captures, balance.releases) == (0, 1)


async def test_nothing_is_captured_without_a_hold(bank: SandboxBank) -> None:
    assert await bank.capture("o-1") == CaptureRefused("not_held")


@pytest.mark.parametrize(
    ("payment_method", "reason"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_radarBlock", "fraud_suspected"),
        ("pm_nobody_knows", "unknown_payment_method"),
    ],
)
async def test_a_declining_card_is_refused_with_its_reason_every_time(
    bank: SandboxBank, path: Path, payment_method: str, reason: str
) -> None:
    answers = [await bank.hold("o-1", 2300, "EUR", payment_method) for _ in range(2)]
    assert [answer.reason for answer in answers if isinstance(answer, Refused)] == [reason] * 2
    assert await bank.close("o-1") == Released()
    assert kinds(path) == []


@pytest.mark.parametrize("other", [(2301, "EUR", "pm_card_visa"), (2300, "USD", "pm_card_visa"), (2300, "EUR", "pm_x")])
async def test_a_key_holds_only_what_it_was_first_asked_for(bank: SandboxBank, other: tuple[int, str, str]) -> None:
    await bank.hold("o-1", *PRICE)
    with pytest.raises(KeyReused, match="o-1"):
        await bank.hold("o-1", *other)


async def test_a_flaky_card_fails_twice_per_key_and_then_pays(bank: SandboxBank, path: Path) -> None:
    for key in ("o-1", "o-2"):
        for _ in range(2):
            with pytest.raises(BankUnavailable):
                await bank.hold(key, 2300, "EUR", "pm_sandbox_flaky")
        assert isinstance(await bank.hold(key, 2300, "EUR", "pm_sandbox_flaky"), Held)
    assert kinds(path) == [("o-1", "held"), ("o-2", "held")]


async def test_a_refused_capture_leaves_the_hold_to_be_closed(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", 2300, "EUR", "pm_sandbox_captureFails")
    assert [await bank.capture("o-1") for _ in range(2)] == [CaptureRefused("capture_failed")] * 2
    assert still_held(path) == ["o-1"]
    await bank.close("o-1")
    assert still_held(path) == []


async def test_an_expired_hold_is_back_on_the_card_before_it_is_closed(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", 2300, "EUR", "pm_sandbox_holdExpires")
    assert [await bank.capture("o-1") for _ in range(2)] == [CaptureRefused("authorization_expired")] * 2
    assert await bank.close("o-1") == Released()
    assert kinds(path) == [("o-1", "held"), ("o-1", "released")]


async def test_an_outage_stops_every_call_before_it_does_anything(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", *PRICE)
    begin_outage(path)
    for call in (bank.hold("o-2", *PRICE), bank.capture("o-1"), bank.close("o-1")):
        with pytest.raises(BankUnavailable, match="outage"):
            await call
    end_outage(path)
    assert kinds(path) == [("o-1", "held")]
    assert isinstance(await bank.capture("o-1"), Captured)


async def test_two_replicas_at_once_hold_and_take_each_order_once(path: Path) -> None:
    replicas = [SandboxBank(path), SandboxBank(path)]

    async def pay(replica: SandboxBank, key: str) -> None:
        await replica.hold(key, *PRICE)
        await replica.capture(key)

    await asyncio.gather(*(pay(replica, f"o-{number}") for number in range(200) for replica in replicas))
    await asyncio.gather(*(replica.aclose() for replica in replicas))
    assert set(Counter(kinds(path)).values()) == {1}
    (total,) = Ledger(path).totals()
    assert (total.captures, total.captured_minor, total.open_minor) == (200, 200 * 2300, 0)


async def test_hold_and_close_at_once_leave_no_money_held(path: Path) -> None:
    replicas = [SandboxBank(path), SandboxBank(path)]
    calls = [
        call
        for number in range(100)
        for call in (replicas[0].hold(f"o-{number}", *PRICE), replicas[1].close(f"o-{number}"))
    ]
    await asyncio.gather(*calls)
    await asyncio.gather(*(replica.aclose() for replica in replicas))
    assert still_held(path) == []


async def test_one_bad_call_spoils_no_other_in_its_transaction(bank: SandboxBank) -> None:
    await bank.hold("o-1", *PRICE)
    bad, good = await asyncio.gather(
        bank.hold("o-1", 1, "EUR", "pm_card_visa"), bank.hold("o-2", *PRICE), return_exceptions=True
    )
    assert isinstance(bad, KeyReused)
    assert isinstance(good, Held)


PAYING_FOR_EVER = """
import asyncio, itertools, pathlib, sys
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.bank import Terms, capture, hold

async def main():
    bank = SandboxBank(pathlib.Path(sys.argv[1]))
    async def pay(lane):
        for number in itertools.count():
            await bank.hold(f"o-{lane}-{number}", 2300, "EUR", "pm_card_visa")
            print(f"o-{lane}-{number}", flush=True)
    await asyncio.gather(*map(pay, range(8)))

asyncio.run(main())
"""


def test_what_was_answered_survives_a_killed_process(path: Path) -> None:
    payer = subprocess.Popen([sys.executable, "-c", PAYING_FOR_EVER, path], stdout=subprocess.PIPE, text=True)
    assert payer.stdout is not None
    answered = {payer.stdout.readline().strip() for _ in range(300)}
    payer.send_signal(signal.SIGKILL)
    answered |= {line.strip() for line in payer.stdout.readlines() if line.endswith("\n")}
    payer.wait()
    payer.stdout.close()
    held = Counter(key for key, _ in kinds(path))
    assert answered <= held.keys()
    assert set(held.values()) == {1}
    (answer,) = Bank(path).perform([(answered.pop(), capture)])
    assert isinstance(answer, Captured)


def test_replicas_that_start_at_once_on_no_file_all_find_a_ledger(path: Path) -> None:
    together = Barrier(6)

    def open_and_hold(fresh: Path, key: str) -> object:
        together.wait(10)
        bank = Bank(fresh)
        (answer,) = bank.perform([(key, partial(hold, terms=Terms(*PRICE)))])
        bank.close()
        return answer

    with ThreadPoolExecutor(6) as replicas:
        for fresh in (path.with_name(f"{number}.sqlite") for number in range(20)):
            answers = replicas.map(open_and_hold, [fresh] * 6, map(str, range(6)))
            assert [type(answer) for answer in answers] == [Held] * 6


async def test_the_journal_can_not_be_changed(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", *PRICE)
    db = connect(path)
    for statement in ("UPDATE movements SET amount_minor = 0", "DELETE FROM movements"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    db.close()


async def test_the_command_switches_the_outage_and_shows_the_books(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", *PRICE)
    run = CliRunner()
    state = ["--state", str(path.parent)]
    assert "closed since" in run.invoke(bank_command, [*state, "outage", "on"]).output
    assert "is open" in run.invoke(bank_command, [*state, "outage", "off"]).output
    assert "is open" in run.invoke(bank_command, [*state, "outage", "status"]).output
    assert '"held_minor": 2300' in run.invoke(bank_command, [*state, "ledger", "show", "--json"]).output
    assert "EUR" in run.invoke(bank_command, [*state, "ledger", "show"]).output


def test_the_command_says_where_it_looked_for_a_bank(tmp_path: Path) -> None:
    result = CliRunner().invoke(bank_command, ["--state", str(tmp_path), "outage", "status"])
    assert result.exit_code == 1
    assert str(tmp_path) in result.output
