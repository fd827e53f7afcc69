"""The world outside payments: the sandbox bank behind the gateway's protocol."""

from pathlib import Path

from jetmesh_shop.group_commit import GroupCommit
from jetmesh_shop.payments.bank import Answer, Call, Capture, Close, Hold, Refund
from jetmesh_shop.payments.gateway import (
    AlreadyCaptured,
    Captured,
    CaptureRefused,
    Closed,
    Held,
    Refunded,
    Refused,
    Released,
)
from jetmesh_shop.payments.ledger import Bank


class SandboxBank:
    """A Gateway on the sandbox bank's ledger; replicas may open the same file at once."""

    def __init__(self, path: Path) -> None:
        self._bank = Bank(path)
        self._counter: GroupCommit[Call, Answer] = GroupCommit(self._bank.perform, "bank")

    async def hold(
        self, order_key: str, amount_minor: int, currency: str, payment_method: str
    ) -> Held | Refused | Closed:
        """Hold the money. Raises BankUnavailable, and KeyReused if the key was used for another hold."""
        answer = await self._counter.submit(Hold(order_key, amount_minor, currency, payment_method))
        assert isinstance(answer, Held | Refused | Closed)
        return answer

    async def capture(self, order_key: str) -> Captured | CaptureRefused:
        """Take the money that is held. Raises BankUnavailable."""
        answer = await self._counter.submit(Capture(order_key))
        assert isinstance(answer, Captured | CaptureRefused)
        return answer

    async def close(self, order_key: str) -> Released | AlreadyCaptured:
        """Give back what is held and refuse later holds for good. Raises BankUnavailable."""
        answer = await self._counter.submit(Close(order_key))
        assert isinstance(answer, Released | AlreadyCaptured)
        return answer

    async def refund(self, order_key: str) -> Refunded:
        """Give back what was taken and refuse later holds for good. Raises BankUnavailable."""
        answer = await self._counter.submit(Refund(order_key))
        assert isinstance(answer, Refunded)
        return answer

    async def aclose(self) -> None:
        """Answer what waits, then close the ledger."""
        await self._counter.aclose()
        self._bank.close()
