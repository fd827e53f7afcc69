"""Grafana's dashboards, from the panels declared here."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetmesh_contracts.money import DECIMALS

FOLDER = Path(__file__).resolve().parent.parent / "observability" / "grafana" / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 8

Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One picture: each query with the legend of its series. `unit` is Grafana's name of it."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    meaning: str = ""

    def document(self, number: int, x: int, y: int) -> Json:
        """As Grafana keeps it."""
        targets = [
            {
                "refId": chr(65 + index),
                "expr": query,
                "legendFormat": legend,
                "datasource": PROMETHEUS,
                "exemplar": True,
            }
            for index, (legend, query) in enumerate(self.queries.items())
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.meaning,
            "datasource": PROMETHEUS,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0}, "overrides": []},
            "targets": targets,
        }


@dataclass(frozen=True)
class Dashboard:
    """Panels from left to right, then downwards; `variables` are labels to choose from, by the metric that has them."""

    uid: str
    title: str
    panels: Sequence[Panel]
    variables: dict[str, str]

    def document(self) -> Json:
        """As Grafana keeps it."""
        return {
            "uid": f"jetmesh-{self.uid}",
            "title": f"jetmesh: {self.title}",
            "tags": ["jetmesh"],
            "timezone": "browser",
            "editable": False,
            "schemaVersion": 41,
            "refresh": "15s",
            "time": {"from": "now-1h", "to": "now"},
            "links": [{"title": "jetmesh", "type": "dashboards", "tags": ["jetmesh"], "keepTime": True}],
            "templating": {"list": [variable(name, metric) for name, metric in self.variables.items()]},
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterator[Json]:
        x = y = 0
        for number, panel in enumerate(self.panels, 1):
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            yield panel.document(number, x, y)
            x += panel.width


def variable(label: str, metric: str) -> Json:
    """A choice of the values of a label."""
    query = f"label_values({metric}, {label})"
    return {"name": label, "type": "query", "datasource": PROMETHEUS, "query": query, "definition": query,
            "includeAll": True, "multi": True, "refresh": 2, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"}}  # fmt: skip


ENVIRONMENT = "deployment_environment_name"
CHOICE = f'"${ENVIRONMENT}"'


def of(metric: str, *more: str) -> str:
    """A metric in the environment that is chosen; `more` are further matchers."""
    return f"{metric}{{{', '.join([f'{ENVIRONMENT}=~{CHOICE}', *more])}}}"


RATE = "[$__rate_interval]"
CHOSEN = 'service_name=~"$service_name"'
ATTEMPTS = of("messaging_process_duration_seconds_count", CHOSEN)
FAILED = of("messaging_process_duration_seconds_count", CHOSEN, 'error_type!=""')
DURATIONS = of("messaging_process_duration_seconds_bucket", CHOSEN)
WORK = 'jetmesh_consumer_kind=~"work|express"'
LETTERS = 'consumer_desc=~"jetmesh letters of .+"'
LEADER = 'is_stream_leader="true"'
REACTION = "service_name, jetmesh_reaction"
LEGEND = "{{service_name}}.{{jetmesh_reaction}}"
DURABLE = "messaging_nats_stream_name, messaging_consumer_group_name"
PLACE = "{{messaging_nats_stream_name}} / {{messaging_consumer_group_name}}"


def quantile(share: float, buckets: str, by: str) -> str:
    """The duration that this share of a histogram stays under."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({buckets}{RATE})))"


ORDER_FLOW = Dashboard(
    "order-flow",
    "order flow",
    [
        Panel("Attempts", {LEGEND: f"sum by ({REACTION}) (rate({ATTEMPTS}{RATE}))"}, "cps"),
        Panel(
            "Errors",
            {LEGEND: f"sum by ({REACTION}) (rate({FAILED}{RATE})) / sum by ({REACTION}) (rate({ATTEMPTS}{RATE}))"},
            "percentunit",
            meaning="The share of attempts that ended in an error; most are retried.",
        ),
        Panel("Duration, 95 %", {LEGEND: quantile(0.95, DURATIONS, REACTION)}, "s"),
        Panel(
            "From the click to each step, 95 %",
            {
                "{{cloudevents_event_type}}": quantile(
                    0.95, of("jetmesh_trace_elapsed_seconds_bucket"), "cloudevents_event_type"
                )
            },
            "s",
            width=12,
        ),
        Panel(
            "From the click to the confirmation",
            {
                f"{share:.0%}": quantile(
                    share,
                    of("jetmesh_trace_elapsed_seconds_bucket", 'cloudevents_event_type="orders.confirmed"'),
                    "cloudevents_event_type",
                )
                for share in (0.5, 0.95, 0.99)
            },
            "s",
            width=12,
        ),
        Panel(
            "Outcomes",
            {
                "{{jetmesh_outcome}}": "sum by (jetmesh_outcome) "
                f"(rate({of('messaging_client_consumed_messages_total', CHOSEN)}{RATE}))"
            },
            "cps",
        ),
        Panel(
            "Events recorded",
            {
                "{{cloudevents_event_type}}": "sum by (cloudevents_event_type) "
                f"(rate({of('messaging_client_sent_messages_total')}{RATE}))"
            },
            "cps",
        ),
        Panel(
            "Attempts by how often the delivery had come",
            {
                "{{jetmesh_attempt}}": "sum by (jetmesh_attempt) "
                f"(rate({of('jetmesh_delivery_attempts_total', WORK)}{RATE}))"
            },
            "cps",
            meaning="Without deadlines: what was not due comes again by design.",
        ),
        Panel(
            "Dead letters",
            {
                f"{LEGEND}: {{{{error_type}}}}": f"sum by ({REACTION}, error_type) "
                f"({of('jetmesh_dead_letters_total', CHOSEN)})"
            },
            meaning="Since the process began, by the type of the error. `jetmesh dlq` shows and replays them.",
        ),
        Panel(
            "Circuit breakers",
            {
                "{{service_name}}: {{jetmesh_needs}}": "max by (service_name, jetmesh_needs) "
                f"({of('jetmesh_circuit_breaker_state_ratio')})"
            },
            meaning="0 closed, 1 half-open, 2 open: what a service needs is away, it waits and loses nothing.",
        ),
        Panel(
            "Guard refusals",
            {"{{service_name}}": f"sum by (service_name) (rate({of('jetmesh_guard_refusals_total')}{RATE}))"},
            "cps",
            meaning="Decided on a story that had gone on meanwhile; read and decided again. Not an error.",
        ),
        Panel(
            "Spans with an error",
            {
                "{{service_name}}: {{span_name}}": "sum by (service_name, span_name) "
                f'(rate(traces_span_metrics_calls_total{{status_code="STATUS_CODE_ERROR"}}{RATE}))'
            },
            "cps",
            width=24,
        ),
    ],
    {ENVIRONMENT: "jetmesh_service_ready_ratio", "service_name": "messaging_process_duration_seconds_count"},
)

JETSTREAM = Dashboard(
    "jetstream",
    "JetStream",
    [
        Panel(
            "Lag",
            {PLACE: f"max by ({DURABLE}) ({of('jetmesh:work_pending:max')})"},
            width=12,
            meaning="Work that waits, as the services or, for a service that is dead, the broker report it.",
        ),
        Panel(
            "Oldest delivery in flight",
            {PLACE: f"max by ({DURABLE}) ({of('jetmesh_deliveries_oldest_age_seconds', WORK)})"},
            "s",
            width=12,
        ),
        Panel("Delivered, not settled", {PLACE: f"max by ({DURABLE}) ({of('jetmesh_consumer_ack_pending', WORK)})"}),
        Panel("Redelivered", {PLACE: f"max by ({DURABLE}) ({of('jetmesh_consumer_redelivered', WORK)})"}),
        Panel("In flight", {PLACE: f"sum by ({DURABLE}) ({of('jetmesh_deliveries_in_flight', WORK)})"}),
        Panel(
            "Messages",
            {"{{stream_name}}": f"max by (stream_name) ({of('nats_stream_total_messages', LEADER)})"},
        ),
        Panel(
            "Bytes",
            {"{{stream_name}}": f"max by (stream_name) ({of('nats_stream_total_bytes', LEADER)})"},
            "bytes",
        ),
        Panel(
            "Leaders",
            {"{{server_name}}": f"count by (server_name) ({of('nats_stream_total_messages', LEADER)})"},
            meaning="Streams that each server leads.",
        ),
        Panel("Store", {"{{server_id}}": f"max by (server_id) ({of('nats_varz_jetstream_stats_storage')})"}, "bytes"),
        Panel("Memory of the server", {"{{server_id}}": f"max by (server_id) ({of('nats_varz_mem')})"}, "bytes"),
        Panel(
            "Dead letters",
            {"letters": f"max({of('nats_consumer_num_pending', LETTERS)})"},
            meaning="They wait for a decision: `jetmesh dlq`.",
        ),
        Panel("Connections", {"{{server_id}}": f"max by (server_id) ({of('nats_varz_connections')})"}),
    ],
    {ENVIRONMENT: "jetmesh_service_ready_ratio"},
)


def revenue(function: str, window: str) -> str:
    """What was taken in each currency, in its own unit: some have cents, some have none."""
    queries = []
    for decimals in sorted(set(DECIMALS.values()), reverse=True):
        currencies = "|".join(currency for currency, known in DECIMALS.items() if known == decimals)
        taken = of("shop_revenue_minor_total", f'currency=~"{currencies}"')
        queries.append(f"max by (currency) ({function}({taken}{window})) / {10**decimals}")
    return " or ".join(queries)


def orders(status: str) -> str:
    """The orders of a status."""
    return of("shop_orders_total", f'order_status="{status}"')


BUSINESS = Dashboard(
    "business",
    "business",
    [
        Panel(
            "Orders",
            {"{{order_status}}": f"max by (order_status) (rate({of('shop_orders_total')}{RATE})) * 60"},
            "cpm",
            width=12,
        ),
        Panel(
            "Conversion",
            {
                "confirmed of placed": f"max(increase({orders('confirmed')}[$__range])) "
                f"/ max(increase({orders('placed')}[$__range]))"
            },
            "percentunit",
            "stat",
            6,
        ),
        Panel(
            "Revenue",
            {"{{currency}}": revenue("increase", "[$__range]")},
            "short",
            "stat",
            6,
        ),
        Panel(
            "Revenue an hour",
            {"{{currency}}": revenue("3600 * rate", RATE)},
            width=12,
        ),
        Panel(
            "Under way",
            {
                "orders": f"max({orders('placed')}) - max({orders('confirmed')}) - max({orders('cancelled')})",
            },
            meaning="Placed, and neither confirmed nor cancelled yet.",
            width=12,
        ),
    ],
    {ENVIRONMENT: "jetmesh_service_ready_ratio"},
)

DASHBOARDS = (ORDER_FLOW, JETSTREAM, BUSINESS)


def files() -> dict[Path, str | None]:
    """Every dashboard as Grafana reads it."""
    return {
        FOLDER / f"{dashboard.uid}.json": json.dumps(dashboard.document(), indent=2) + "\n" for dashboard in DASHBOARDS
    }
