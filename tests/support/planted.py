"""Bugs that tests plant as middlewares, to see that they are caught."""

import asyncio

from jetmesh import CallNext, Delivery, Event, Middleware, NotYet, Outcome, Unavailable
from jetmesh.outcome import Nothing, Settled

AGAIN_SECONDS = 0.5

_under_way: set["asyncio.Task[None]"] = set()


async def acknowledged_first(delivery: Delivery, call_next: CallNext) -> Outcome:
    """The broker is told that the delivery is done before it is: only a crash shows what is wrong with that."""
    task = asyncio.create_task(_until_done(delivery, call_next))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return Settled()


async def _until_done(delivery: Delivery, call_next: CallNext) -> None:
    while True:
        try:
            await call_next(delivery)
        except (NotYet, Unavailable):
            await asyncio.sleep(AGAIN_SECONDS)
        except Exception:
            return
        else:
            return


def forgetting(event: type[Event]) -> Middleware:
    """Nothing follows from an event of this type."""

    async def forget(delivery: Delivery, call_next: CallNext) -> Outcome:
        return Nothing() if isinstance(delivery.event, event) else await call_next(delivery)

    return forget
