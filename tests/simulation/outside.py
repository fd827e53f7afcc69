"""What is outside the order mesh, in the simulation: a bank, a mail server and a warehouse that fail like real ones."""

import asyncio
import random
from collections.abc import Sequence
from contextvars import Context
from functools import partial

from jetmesh import Recorded
from jetmesh_shop.notifications.mailer import Mail, MailUnavailable
from jetmesh_shop.payments import bank
from jetmesh_shop.payments.bank import Answer, Decision, Intent, Movement, Rule, Terms
from jetmesh_shop.payments.gateway import (
    AlreadyCaptured,
    BankUnavailable,
    Captured,
    CaptureRefused,
    Closed,
    Held,
    Refused,
    Released,
)

CALL_SECONDS_MAX = 5.0


class Trouble:
    """How likely an attempt fails before, or after, it has its effect; the seed decides."""

    def __init__(self, seed: int, name: str) -> None:
        self.random = random.Random(f"{name} {seed}")
        self.before = self.after = 0.0
        self.closed = False

    def fails(self, probability: float) -> bool:
        """Whether it fails this time."""
        return self.closed or self.random.random() < probability


class SimulatedBank:
    """The sandbox bank's rules behind a line on which calls and answers are late or lost: a Gateway.

    A call whose caller has given up or died may still take effect.
    """

    def __init__(self, seed: int) -> None:
        self.trouble = Trouble(seed, "bank")
        self.intents: dict[str, Intent] = {}
        self.movements: list[tuple[str, Movement, int]] = []
        self.under_way = 0

    async def hold(
        self, order_key: str, amount_minor: int, currency: str, payment_method: str
    ) -> Held | Refused | Closed:
        """Set the money aside."""
        return await self._call(order_key, partial(bank.hold, terms=Terms(amount_minor, currency, payment_method)))

    async def capture(self, order_key: str) -> Captured | CaptureRefused:
        """Take the money that is held."""
        return await self._call(order_key, bank.capture)

    async def close(self, order_key: str) -> Released | AlreadyCaptured:
        """Give the money back, and close the key for good."""
        return await self._call(order_key, bank.close)

    async def refund(self, order_key: str) -> None:
        """Give back what was taken."""
        await self._call(order_key, bank.refund)

    async def _call(self, key: str, rule: Rule[Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self.under_way += 1
        loop.call_later(self._delay_seconds(), self._arrive, key, rule, answer, context=Context())
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                return await answer
        except TimeoutError:
            raise BankUnavailable("no answer in time") from None

    def _delay_seconds(self) -> float:
        late = self.trouble.random.random() < (self.trouble.before + self.trouble.after) / 2
        return self.trouble.random.uniform(0, 4 * CALL_SECONDS_MAX if late else 0.05)

    def _arrive(self, key: str, rule: Rule[Answer], waiting: "asyncio.Future[Answer]") -> None:
        self.under_way -= 1
        if self.trouble.fails(self.trouble.before):
            self._answer(waiting, BankUnavailable("the bank is closed"))
            return
        decided: Decision[Answer] = rule(key, self.intents.get(key))
        if decided.intent is not None:
            self.intents[key] = decided.intent
            if decided.movement is not None:
                self.movements.append((key, decided.movement, decided.intent.amount_minor))
        if not self.trouble.fails(self.trouble.after):
            self._answer(waiting, decided.answer)

    @staticmethod
    def _answer(waiting: "asyncio.Future[Answer]", answer: Answer | Exception) -> None:
        if waiting.done():
            return
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)


class SimulatedMailer:
    """A Mailer whose server takes a mail, refuses it for now, or takes it without saying so."""

    def __init__(self, seed: int) -> None:
        self.trouble = Trouble(seed, "mail")
        self.taken: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        """Hand the mail over."""
        await asyncio.sleep(self.trouble.random.uniform(0, 0.1))
        if self.trouble.fails(self.trouble.before):
            raise MailUnavailable("the mail server does not answer")
        self.taken.append(mail)
        await asyncio.sleep(self.trouble.random.uniform(0, 0.1))
        if self.trouble.fails(self.trouble.after):
            raise MailUnavailable("the mail server did not say whether it took the mail")


class SimulatedWarehouse:
    """A Store that keeps each event once, by its stream and sequence."""

    def __init__(self, seed: int) -> None:
        self.trouble = Trouble(seed, "warehouse")
        self.kept: dict[tuple[str, int], Recorded] = {}

    async def store(self, batch: Sequence[Recorded]) -> int:
        """Keep what is new."""
        await asyncio.sleep(self.trouble.random.uniform(0, 0.1))
        if self.trouble.fails(self.trouble.before):
            raise OSError("the disk is full")
        new = {(event.stream, event.sequence): event for event in batch} | self.kept
        stored, self.kept = len(new) - len(self.kept), new
        if self.trouble.fails(self.trouble.after):
            raise OSError("the process was interrupted")
        return stored
