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
    Captured,
    Held,
    KeyReused,
)
from jetmesh_shop.payments.ledger import Bank, Ledger, connect
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


async def test_the_ledger_has_a_refund_as_money_that_was_released(bank: SandboxBank, path: Path) -> None:
    await bank.hold("o-1", *PRICE)
    await bank.capture("o-1")
    await bank.refund("o-1")
    with closing(Ledger(path)) as ledger:
        (balance,) = ledger.balances()
    assert (balance.captured_minor, balance.released_minor, balance.open_minor) == (0, PRICE[0], 0)
    assert (balance.captures, balance.releases) == (0, 1)


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
