"""Payments as it runs: on the sandbox bank."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from jetmesh import Context, read_settings
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.service import Payments


class Settings(BaseModel):
    """`JETMESH_BANK_LEDGER`: the file of the sandbox bank."""

    bank_ledger: Path | None = None


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Payments]:
    """The gateway, open for as long as the service runs."""
    bank = SandboxBank(read_settings(Settings).bank_ledger or context.settings.state / "bank.sqlite")
    try:
        yield Payments(bank)
    finally:
        await bank.aclose()
