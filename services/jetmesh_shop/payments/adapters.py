"""The world outside payments: the sandbox bank behind the gateway's protocol."""

import asyncio
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from jetmesh_shop.payments import bank
from jetmesh_shop.payments.bank import Answer, Rule, Terms
from jetmesh_shop.payments.gateway import AlreadyCaptured, Captured, CaptureRefused, Closed, Held, Refused, Released
from jetmesh_shop.payments.ledger import Bank


class SandboxBank:
    """A Gateway on the sandbox bank's ledger; replicas may open the same file at once.

    A lone call is carried out at once. Those that arrive meanwhile share the next transaction, so that the cost of a
    disk's flush is divided by the load.
    """

    def __init__(self, path: Path) -> None:
        self._bank = Bank(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank")
        self._waiting: deque[tuple[str, Rule[Any], Future[Any]]] = deque()

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
        await asyncio.to_thread(self._thread.shutdown)
        self._bank.close()

    async def _call(self, key: str, rule: Rule[Answer]) -> Answer:
        answer: Future[Answer] = Future()
        self._waiting.append((key, rule, answer))
        self._thread.submit(self._flush)
        return await asyncio.wrap_future(answer)

    def _flush(self) -> None:
        """Carry out all that waits. An exception among the answers is its caller's; any other, all callers'."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        calls = [(key, rule, answer) for key, rule, answer in taken if answer.set_running_or_notify_cancel()]
        try:
            answers = self._bank.perform([(key, rule) for key, rule, _ in calls])
        except Exception as error:
            answers = [error] * len(calls)
        for (_, _, waiting), answer in zip(calls, answers, strict=True):
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
