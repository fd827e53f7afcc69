"""One reaction at work in this process: what every form of worker stands on, complete when it is made."""

import logging
import math
from typing import Any

from jetmesh.cloudevents import decode_envelope
from jetmesh.common.throttled_log import Conditions
from jetmesh.event import EventType
from jetmesh.jetstream.demand import Demand
from jetmesh.middleware import Middleware
from jetmesh.reaction import Reaction
from jetmesh.runtime import foreign
from jetmesh.runtime.circuit_breaker import CircuitBreaker
from jetmesh.runtime.context import Context
from jetmesh.runtime.express import Express
from jetmesh.runtime.rate_limit import RateLimit
from jetmesh.service import Service

log = logging.getLogger("jetmesh.reaction")


class Binding:
    """A reaction of a service, with the context that it runs in, its dependencies and its middlewares."""

    def __init__(
        self,
        context: Context,
        service: Service,
        reaction: Reaction,
        dependencies: Any = None,
        breaker: CircuitBreaker | None = None,
        middlewares: tuple[Middleware, ...] = (),
    ) -> None:
        self.context, self.service, self.reaction = context, service, reaction
        self.dependencies, self.breaker, self.middlewares = dependencies, breaker, middlewares
        self.telemetry = context.telemetry.reaction(
            reaction, context.connection.clock.now, trusts_outside=context.settings.trust_traces
        )
        self.attempts_max = math.inf if reaction.retry.attempts is None else reaction.retry.attempts
        """The delivery count up to which the attempts at a delivery are not used up."""
        self.types: dict[str, EventType] = {event.type: event for event in reaction.arrives}
        self.envelope_of = foreign.envelope_of(reaction) if reaction.listens else decode_envelope
        self.call = context.pools.runner(reaction)
        """The reaction's function; a plain one runs in a pool."""
        self.conditions = Conditions(log)
        self.demand = Demand(context.settings.slots, context.busy)
        """What its pull may hold."""
        rate = reaction.limit
        self.limit = RateLimit(context, reaction, rate, self.conditions) if rate else None
        """Its rate limit, if it declares one."""
        self.express = Express(context, reaction) if reaction.urgent else None
        """Its express durables, if it has urgent types."""
