"""The audit of what `jetmesh restore` has restored, before the services may start: much is still to be done then, and
nothing may be wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from jetmesh.common import terminal
from jetmesh.local.state import StateFolder
from jetmesh.operate import checks as common
from jetmesh.runtime.context import Context
from jetmesh_shop.reference import checks
from jetmesh_shop.reference.books import PLACED, REFUSED, ShopBooks, collect
from jetmesh_shop.reference.checks import Check, addressee

SHOWN = 20
CHECKS: Sequence[Check] = (
    checks.no_two_ends,
    checks.promises_are_secured,
    common.each_event_once,
    checks.every_event_has_its_cause,
    checks.nothing_for_unknown_orders,
    checks.charged_once,
    checks.charged_what_was_ordered,
    checks.never_below_zero,
    checks.stock_balances,
    checks.goods_follow_the_end,
    common.letters_have_a_source,
)


async def audit(context: Context) -> list[str]:
    """What is wrong with the streams. What the bank and the mail server know and the streams do not, since it came
    after the backup, is reported and is no offence."""
    books = await collect(context, StateFolder(context.settings.state))
    tell_lost(unknown(books))
    return offences(books)


def offences(books: ShopBooks) -> list[str]:
    """What is wrong with the streams alone."""
    inside = replace(books, balances=None, mails=None)
    return sorted({f"{offence} ({check.__doc__})" for check in CHECKS for offence in check(inside)})


def unknown(books: ShopBooks) -> list[str]:
    """The orders for which money was moved or a mail went out, and which the streams do not know."""
    known = {key for key, story in books.stories.items() if {PLACED, REFUSED} & story.keys()}
    asked = {fact.body.get("order_id") for fact in books.intake if fact.type == PLACED}
    charged = {balance.key for balance in books.balances or ()}
    told = {addressee(message_id) for message_id in books.mails or ()}
    return sorted((charged | told) - known - asked)


def tell_lost(keys: Iterable[str]) -> None:
    """Name the orders that were lost with the broker."""
    lost = list(keys)
    if not lost:
        return
    shown = ", ".join(lost[:SHOWN]) + (f" and {len(lost) - SHOWN:,} more" if len(lost) > SHOWN else "")
    terminal.say(
        f"{len(lost):,} orders came after the backup, and the bank or a customer's mailbox knows of them: {shown}. "
        f"Place them again under their ids (the bank answers as it did), or give their money back",
        fg="yellow",
        err=True,
    )
