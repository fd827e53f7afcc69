"""The mesh's own metrics of a service in a process: what waits, what is in flight, which circuit breaker is open.

Replicas see the same durable: where their numbers are about the durable (`jetmesh.consumer.*`), take the maximum.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from jetmesh.jetstream import certificates
from jetmesh.jetstream.tenant import stream_on_broker
from jetmesh.process.health import Health
from jetmesh.runtime.circuit_breaker import BreakerState
from jetmesh.runtime.rate_limit import RateLimit
from jetmesh.runtime.runner import Runner
from jetmesh.topology.streams import ConsumerKind

log = logging.getLogger("jetmesh.gauges")

POLL_SECONDS = 15.0
DELIVERIES_MAX = 10
"""Attempts beyond this number of one delivery are counted together."""

KIND = "jetmesh.consumer.kind"

Read = Callable[[], Iterable[Observation]]
Instrument = tuple[str, str, Read, str]
"""Name, unit, what reads it, and what it means."""


class Gauges:
    """Observable instruments of a runner: values are read at export and cost nothing in between."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._kinds = {(consumer.stream, consumer.durable): consumer.kind for consumer in runner.consumers}
        self._denied = 0
        runner.context.connection.on_denied(self._count_denial)
        meter = runner.context.telemetry.meter
        for name, unit, read, meaning in self._gauges():
            meter.create_observable_gauge(name, [_callback(read)], unit, meaning)
        for name, unit, read, meaning in self._counters():
            meter.create_observable_counter(name, [_callback(read)], unit, meaning)

    def _gauges(self) -> Iterable[Instrument]:
        return (
            ("jetmesh.consumer.pending", "{message}", self._info("num_pending"), "Waiting for the first delivery."),
            ("jetmesh.consumer.ack_pending", "{message}", self._info("num_ack_pending"), "Delivered, not settled."),
            ("jetmesh.consumer.redelivered", "{message}", self._info("num_redelivered"), "Of these, more than once."),
            ("jetmesh.consumer.missing", "1", self._gone, "1 if the broker has no such durable or stream."),
            ("jetmesh.consumer.paused", "1", self._paused, "1 while an operator lets the durable rest."),
            ("jetmesh.deliveries.in_flight", "{message}", self._in_flight, "In this process, waiting or running."),
            ("jetmesh.deliveries.oldest.age", "s", self._oldest, "Age of the oldest delivery in flight."),
            ("jetmesh.certificate.end", "s", self._certificates, "When a certificate ends, in seconds since 1970."),
            ("jetmesh.storing.failing", "s", self._unstored, "For how long the broker has stored nothing."),
            ("jetmesh.circuit_breaker.state", "1", self._breakers, "0 closed, 1 half-open, 2 open."),
            ("jetmesh.limit.waiting", "{message}", self._waiting, "Waiting in this process for a rate limit."),
            ("jetmesh.clock.ahead", "s", self._clock, "Wall clock less the broker's."),
        )

    def _counters(self) -> Iterable[Instrument]:
        return (
            ("jetmesh.delivery.attempts", "{attempt}", self._attempts, "Attempts, by the delivery count."),
            ("jetmesh.dead_letters", "{message}", self._dead_letters, "Given up, by the type of the error."),
            ("jetmesh.guard.refusals", "{message}", self._refusals, "Records refused: decided on an old story."),
            ("jetmesh.circuit_breaker.openings", "1", self._openings, "How often a circuit breaker opened."),
            ("jetmesh.limit.passed", "{message}", self._passed, "Let in by a rate limit."),
            ("jetmesh.limit.bundles", "1", self._bundles, "Bundles of permits that were taken, a write each."),
            ("jetmesh.permissions.denied", "1", self._denials, "Subjects that the broker denied to this user."),
        )

    async def watch(self) -> None:
        """Ask for the state of each durable, about every 15 seconds."""
        await self._runner.durables.watch(POLL_SECONDS)

    def _info(self, name: str) -> Read:
        return lambda: [
            Observation(info[name], self._durable(stream, durable))
            for (stream, durable), info in list(self._runner.durables.infos.items())
            if name in info
        ]

    def _gone(self) -> list[Observation]:
        missing = self._runner.durables.missing
        return [Observation(int(place in missing), self._durable(*place)) for place in self._kinds]

    def _paused(self) -> list[Observation]:
        infos = list(self._runner.durables.infos.items())
        return [Observation(int(bool(info.get("paused"))), self._durable(*place)) for place, info in infos]

    def _in_flight(self) -> list[Observation]:
        return [Observation(pull.held, self._durable(pull.stream, pull.durable)) for pull in self._runner.pulls]

    def _oldest(self) -> list[Observation]:
        oldest = self._runner.context.in_flight.oldest_seconds()
        places = [(pull.stream, pull.durable) for pull in self._runner.pulls]
        return [Observation(oldest.get(place, 0.0), self._durable(*place)) for place in places]

    def _certificates(self) -> list[Observation]:
        mesh = self._runner.context
        ends = certificates.ends(mesh.settings, mesh.connection.server.certificate)
        return [Observation(end, {"jetmesh.certificate": name}) for name, end in ends.items()]

    def _unstored(self) -> list[Observation]:
        failing = self._runner.context.publisher.storing.failing_seconds
        return [Observation(seconds, {"jetmesh.lane": lane}) for lane, seconds in failing.items()]

    def _clock(self) -> list[Observation]:
        clock = self._runner.context.connection.clock
        return [Observation(clock.ahead_seconds)] if clock.is_known else []

    def _breakers(self) -> list[Observation]:
        return [Observation(s.state.value, {"jetmesh.needs": s.needs}) for s in self._runner.breakers.values()]

    def _openings(self) -> list[Observation]:
        return [Observation(s.openings, {"jetmesh.needs": s.needs}) for s in self._runner.breakers.values()]

    def _waiting(self) -> list[Observation]:
        return [Observation(limit.waiting, of) for limit, of in self._limits()]

    def _passed(self) -> list[Observation]:
        return [Observation(limit.passed, of) for limit, of in self._limits()]

    def _bundles(self) -> list[Observation]:
        return [Observation(limit.bundles, of) for limit, of in self._limits()]

    def _limits(self) -> Iterable[tuple[RateLimit, dict[str, str]]]:
        for name, worker in self._runner.workers.items():
            if limit := worker.binding.limit:
                yield (
                    limit,
                    {"jetmesh.reaction": name, "messaging.consumer.group.name": worker.binding.reaction.durable},
                )

    def _attempts(self) -> list[Observation]:
        found = []
        kinds = {durable: kind for (_, durable), kind in self._kinds.items()}
        for name, worker in self._runner.workers.items():
            counts: dict[int, int] = {}
            for delivered, count in list(worker.binding.telemetry.stats.deliveries.items()):
                attempt = min(delivered, DELIVERIES_MAX)
                counts[attempt] = counts.get(attempt, 0) + count
            of = {"jetmesh.reaction": name, KIND: kinds.get(worker.binding.reaction.durable, ConsumerKind.WORK)}
            found += [Observation(n, {**of, "jetmesh.attempt": attempt}) for attempt, n in counts.items()]
        return found

    def _dead_letters(self) -> list[Observation]:
        return [
            Observation(count, {"jetmesh.reaction": name, "error.type": error})
            for name, worker in self._runner.workers.items()
            for error, count in list(worker.binding.telemetry.stats.dead_letters.items())
        ]

    def _durable(self, stream: str, durable: str) -> dict[str, str]:
        """The labels of a durable: its stream has the name that the broker's exporter has for it."""
        return {
            "messaging.consumer.group.name": durable,
            "messaging.nats.stream.name": stream_on_broker(self._runner.context.connection, stream),
            KIND: self._kinds.get((stream, durable), ConsumerKind.WORK),
        }

    def _count_denial(self, _: str) -> None:
        self._denied += 1

    def _denials(self) -> list[Observation]:
        return [Observation(self._denied)]

    def _refusals(self) -> list[Observation]:
        return [Observation(self._runner.context.publisher.refused)]


def report_readiness(meter: Meter, health: Health) -> None:
    """Export whether a service is ready, from the start of its process: one that waits is seen as well."""

    def read() -> list[Observation]:
        return [Observation(int(not health.why_not))]

    meter.create_observable_gauge("jetmesh.service.ready", [_callback(read)], "1", "1 if the service is ready.")


def report(runner: Runner) -> dict[str, Any]:
    """The report of a service in this process, for `nats micro stats` and `jetmesh top`."""
    return {
        "reactions": {name: _reaction_report(runner, name) for name in runner.workers},
        "breakers": {name: {"state": str(s.state), "reason": s.reason} for name, s in runner.breakers.items()},
        "held": len(runner.context.in_flight),
        "refused": runner.context.publisher.refused,
    }


def _reaction_report(runner: Runner, name: str) -> dict[str, Any]:
    worker = runner.workers[name]
    stats, minute = worker.binding.telemetry.stats, worker.binding.telemetry.stats.last_minute()
    breaker, limit = worker.binding.breaker, worker.binding.limit
    return {
        "durable": worker.binding.reaction.durable,
        "attempts": stats.outcomes.total(),
        "outcomes": dict(stats.outcomes),
        "dead_letters": dict(stats.dead_letters),
        "attempts_per_second": round(minute.attempts_per_second, 3),
        "failed_per_second": round(minute.failed_per_second, 3),
        "p50_ms": round(minute.p50_ms, 3),
        "p95_ms": round(minute.p95_ms, 3),
        "breaker": str(breaker.state if breaker else BreakerState.CLOSED),
        "limit_waiting": limit.waiting if limit else 0,
        "limit_opens_in_seconds": round(limit.opens_in_seconds, 3) if limit else 0.0,
    }


def _callback(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: read()
