"""The world outside payments: the sandbox bank behind the gateway's protocol."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from jetmesh_shop.payments import bank
from jetmesh_shop.payments.bank import Answer, Rule, Terms
from jetmesh_shop.payments.gateway import AlreadyCaptured, Captured, CaptureRefused, Closed, Held, Refused, Released
from jetmesh_shop.payments.ledger import Bank

Waiting: TypeAlias = "tuple[str, Rule[Any], asyncio.Future[Any]]"
"""A call that waits: its key, its rule, and its answer."""


class SandboxBank:
    """A Gateway on the sandbox bank's ledger; replicas may open the same file at once.

    A lone call is carried out at once. Those that arrive meanwhile share the next transaction, so that the cost of a
    disk's flush is divided by the load.
    """

    def __init__(self, path: Path) -> None:
        self._bank = Bank(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank")
        self._waiting: list[Waiting] = []
        self._carrying: asyncio.Task[None] | None = None

    async def hold(
        self, order_key: str, amount_minor: int, currency: str, payment_method: str
    ) -> Held | Refused | Closed:
        """Hold the money. Raises BankUnavailable, and KeyReused if the key was used for another hold."""
        return await self._call(order_key, partial(bank.hold, terms=Terms(amount_minor, currency, payment_method)))

    async def capture(self, order_key: str) -> Captured | CaptureRefused:
        """Take the money that is held. Raises BankUnavailable."""
        return await self._call(order_key, bank.capture)

    async def close(self, order_key: str) -> Released | AlreadyCaptured:
        """Give back what is held and refuse later holds for good. Raises BankUnavailable."""
        return await self._call(order_key, bank.close)

    async def refund(self, order_key: str) -> None:
        """Give back what was taken and refuse later holds for good. Raises BankUnavailable."""
        await self._call(order_key, bank.refund)

    async def aclose(self) -> None:
        """Answer what waits, then close the ledger; what comes later is refused with RuntimeError."""
        if self._carrying is not None:
            await self._carrying
        self._thread.shutdown()
        self._bank.close()

    async def _call(self, key: str, rule: Rule[Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((key, rule, answer))
        if self._carrying is None:
            self._carrying = loop.create_task(self._carry_out())
        return await answer

    async def _carry_out(self) -> None:
        """Carry out all that waits, until nothing does."""
        while self._waiting:
            taken, self._waiting = self._waiting, []
            calls = [(key, rule) for key, rule, _ in taken]
            for (_, _, waiting), answer in zip(taken, await self._answers(calls), strict=True):
                if waiting.done():  # its caller was cancelled
                    continue
                if isinstance(answer, Exception):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)
        self._carrying = None

    async def _answers(self, calls: list[tuple[str, Rule[Any]]]) -> list[Any]:
        """An exception among the answers is its caller's; any other, all callers'."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._bank.perform, calls)
        except Exception as error:
            return [error] * len(calls)
