"""What payments needs of a bank: the simulated one answers as the sandbox bank does.

Each key is charged at most once, whatever is repeated, closed or given up.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pytest

from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.bank import Rule
from jetmesh_shop.payments.gateway import (
    AlreadyCaptured,
    BankUnavailable,
    Captured,
    CaptureRefused,
    Closed,
    Gateway,
    Held,
    KeyReused,
    Refused,
    Released,
)
from jetmesh_shop.payments.ledger import Bank, Ledger, begin_outage, end_outage
from tests.simulation.outside import SimulatedBank

PRICE = (2300, "EUR", "pm_card_visa")
Movements = list[tuple[str, str]]


class Line(Protocol):
    """A bank, and what a test sees and does behind its gateway."""

    @property
    def gateway(self) -> Gateway: ...

    def movements(self) -> Movements: ...

    def begin_outage(self) -> None: ...

    def end_outage(self) -> None: ...


class Sandbox:
    """The sandbox bank on its ledger's file."""

    def __init__(self, path: Path) -> None:
        self._path, self.gateway = path, SandboxBank(path)

    def movements(self) -> Movements:
        with closing(Ledger(self._path)) as ledger:
            return [*ledger.movements()]

    def begin_outage(self) -> None:
        begin_outage(self._path)

    def end_outage(self) -> None:
        end_outage(self._path)


class Simulated:
    """The bank of the simulation."""

    def __init__(self) -> None:
        self.gateway = SimulatedBank(7)

    def movements(self) -> Movements:
        return [(key, kind) for key, kind, _ in self.gateway.movements]

    def begin_outage(self) -> None:
        self.gateway.trouble.closed = True

    def end_outage(self) -> None:
        self.gateway.trouble.closed = False


@pytest.fixture(params=["sandbox", "simulated"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    """Both."""
    if request.param == "simulated":
        yield Simulated()
        return
    sandbox = Sandbox(tmp_path / "bank.sqlite")
    yield sandbox
    await sandbox.gateway.aclose()


async def test_a_hold_and_its_capture_move_the_money_once_however_often_they_are_asked(line: Line) -> None:
    held = [await line.gateway.hold("o-1", *PRICE) for _ in range(3)]
    captured = [await line.gateway.capture("o-1") for _ in range(3)]
    assert isinstance(held[0], Held)
    assert held == [held[0]] * 3
    assert captured == [Captured(held[0].authorization_id)] * 3
    assert await line.gateway.hold("o-1", *PRICE) == held[0]
    assert line.movements() == [("o-1", "held"), ("o-1", "captured")]


async def test_a_closed_key_refuses_holds_for_good_also_when_it_never_held(line: Line) -> None:
    assert await line.gateway.close("o-1") == Released()
    assert await line.gateway.hold("o-1", *PRICE) == Closed()
    assert await line.gateway.capture("o-1") == CaptureRefused("closed")
    assert line.movements() == []


async def test_closing_gives_back_once_what_was_held(line: Line) -> None:
    await line.gateway.hold("o-1", *PRICE)
    assert [await line.gateway.close("o-1") for _ in range(2)] == [Released()] * 2
    assert await line.gateway.hold("o-1", *PRICE) == Closed()
    assert line.movements() == [("o-1", "held"), ("o-1", "released")]


async def test_what_is_captured_can_not_be_closed(line: Line) -> None:
    await line.gateway.hold("o-1", *PRICE)
    await line.gateway.capture("o-1")
    assert await line.gateway.close("o-1") == AlreadyCaptured()
    assert line.movements()[-1] == ("o-1", "captured")


async def test_what_is_captured_is_given_back_once_and_its_key_is_closed(line: Line) -> None:
    await line.gateway.hold("o-1", *PRICE)
    await line.gateway.capture("o-1")
    for _ in range(2):
        await line.gateway.refund("o-1")
    assert await line.gateway.hold("o-1", *PRICE) == Closed()
    assert await line.gateway.capture("o-1") == CaptureRefused("closed")
    assert line.movements() == [("o-1", "held"), ("o-1", "captured"), ("o-1", "refunded")]


async def test_nothing_is_captured_without_a_hold(line: Line) -> None:
    assert await line.gateway.capture("o-1") == CaptureRefused("not_held")


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
    line: Line, payment_method: str, reason: str
) -> None:
    answers = [await line.gateway.hold("o-1", 2300, "EUR", payment_method) for _ in range(2)]
    assert [answer.reason for answer in answers if isinstance(answer, Refused)] == [reason] * 2
    assert await line.gateway.close("o-1") == Released()
    assert line.movements() == []


@pytest.mark.parametrize("other", [(2301, "EUR", "pm_card_visa"), (2300, "USD", "pm_card_visa"), (2300, "EUR", "pm_x")])
async def test_a_key_holds_only_what_it_was_first_asked_for(line: Line, other: tuple[int, str, str]) -> None:
    await line.gateway.hold("o-1", *PRICE)
    with pytest.raises(KeyReused, match="o-1"):
        await line.gateway.hold("o-1", *other)


async def test_a_flaky_card_fails_twice_per_key_and_then_pays(line: Line) -> None:
    for key in ("o-1", "o-2"):
        for _ in range(2):
            with pytest.raises(BankUnavailable):
                await line.gateway.hold(key, 2300, "EUR", "pm_sandbox_flaky")
        assert isinstance(await line.gateway.hold(key, 2300, "EUR", "pm_sandbox_flaky"), Held)
    assert line.movements() == [("o-1", "held"), ("o-2", "held")]


async def test_a_refused_capture_leaves_the_hold_to_be_closed(line: Line) -> None:
    await line.gateway.hold("o-1", 2300, "EUR", "pm_sandbox_captureFails")
    assert [await line.gateway.capture("o-1") for _ in range(2)] == [CaptureRefused("capture_failed")] * 2
    assert line.movements() == [("o-1", "held")]
    await line.gateway.close("o-1")
    assert line.movements() == [("o-1", "held"), ("o-1", "released")]


async def test_an_expired_hold_is_back_on_the_card_before_it_is_closed(line: Line) -> None:
    await line.gateway.hold("o-1", 2300, "EUR", "pm_sandbox_holdExpires")
    assert [await line.gateway.capture("o-1") for _ in range(2)] == [CaptureRefused("authorization_expired")] * 2
    assert await line.gateway.close("o-1") == Released()
    assert line.movements() == [("o-1", "held"), ("o-1", "released")]


async def test_an_outage_stops_every_call_before_it_does_anything(line: Line) -> None:
    await line.gateway.hold("o-1", *PRICE)
    line.begin_outage()
    for call in (line.gateway.hold("o-2", *PRICE), line.gateway.capture("o-1"), line.gateway.close("o-1")):
        with pytest.raises(BankUnavailable):
            await call
    line.end_outage()
    assert line.movements() == [("o-1", "held")]
    assert isinstance(await line.gateway.capture("o-1"), Captured)


async def test_a_call_that_was_given_up_and_is_repeated_moves_the_money_once(line: Line) -> None:
    given_up = asyncio.ensure_future(line.gateway.hold("o-1", *PRICE))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert isinstance(await line.gateway.hold("o-1", *PRICE), Held)
    assert await line.gateway.close("o-1") == Released()
    assert line.movements() == [("o-1", "held"), ("o-1", "released")]


async def test_calls_that_come_together_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    perform = Bank.perform

    def counted(bank: Bank, calls: Sequence[tuple[str, Rule[Any]]]) -> list[Any]:
        sizes.append(len(calls))
        return perform(bank, calls)

    monkeypatch.setattr(Bank, "perform", counted)
    bank = SandboxBank(tmp_path / "bank.sqlite")
    await asyncio.gather(*(bank.hold(f"o-{number}", *PRICE) for number in range(50)))
    await bank.aclose()
    assert sizes == [50]
    with pytest.raises(RuntimeError):
        await bank.hold("o-51", *PRICE)
