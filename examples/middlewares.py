"""Three middlewares around a reaction: how long it takes, for which tenant it works, what it recorded."""

import logging
import time
from collections import defaultdict
from contextvars import ContextVar

from jetmesh import App, CallNext, Delivery, EventModel, Outcome, Permanent, Service, Token

log = logging.getLogger("examples.audit")

TENANT: ContextVar[str] = ContextVar("tenant")
SECONDS: defaultdict[str, float] = defaultdict(float)


class PrintAsked(EventModel, type="requests.asked", owner="office", key_field="print_id"):
    """Somebody wants something printed."""

    print_id: Token


class Printed(EventModel, type="prints.done", owner="printer", key_field="print_id"):
    """It is printed, on the paper of a tenant."""

    print_id: Token
    tenant: str


async def timing(delivery: Delivery, call_next: CallNext) -> Outcome:
    """How long the attempts of each reaction take, those that fail as well."""
    began = time.perf_counter()
    try:
        return await call_next(delivery)
    finally:
        SECONDS[delivery.reaction] += time.perf_counter() - began


async def tenant(delivery: Delivery, call_next: CallNext) -> Outcome:
    """The reaction works for the tenant that the message names; without one it is a dead letter."""
    name = delivery.headers.get("Tenant")
    if not name:
        raise Permanent("header Tenant: missing")
    token = TENANT.set(name)
    try:
        return await call_next(delivery)
    finally:
        TENANT.reset(token)


async def audit(delivery: Delivery, call_next: CallNext) -> Outcome:
    """What was recorded because of what."""
    outcome = await call_next(delivery)
    log.info("%s because of %r: %s %r", delivery.reaction, delivery.event, outcome.name, outcome.events)
    return outcome


printer = Service("printer", middlewares=[tenant])


@printer.on(middlewares=[audit])
async def print_it(asked: PrintAsked) -> Printed:
    """Somebody wants something printed: print it."""
    return Printed(print_id=asked.print_id, tenant=TENANT.get())


SERVICES = App([printer], middlewares=[timing])
"""From outside to inside: the app's list, the service's, the reaction's."""
