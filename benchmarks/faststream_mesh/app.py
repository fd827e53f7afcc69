"""What the services share: streams, subscribers, publishing, telemetry."""

import os
from typing import Any

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from nats.js.api import ConsumerConfig
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel

from benchmarks.contenders import telemetry
from benchmarks.faststream_mesh.places import OWNERS

BATCH = 256
PUBLISH_SECONDS_MAX = 5.0
"""FastStream's own default is 0.5 s, after which the delivery is given back and comes again."""

BATCH_SECONDS = 0.25


def new_broker(service: str) -> tuple[NatsBroker, TracerProvider]:
    """A broker with FastStream's telemetry middleware, and the provider that it exports through."""
    tracing = telemetry.provider(service)
    middleware = NatsTelemetryMiddleware(tracer_provider=tracing)
    return NatsBroker(os.environ["NATS_URL"], middlewares=(middleware,), logger=None), tracing


def pulls(stream: str, durable: str, *, batch: bool = False) -> dict[str, Any]:
    """A pull subscriber on a durable: handled together up to `BATCH`, acknowledged when handled, else given back."""
    return {
        "stream": JStream(stream, declare=False),
        "durable": durable,
        "config": ConsumerConfig(max_ack_pending=8_192),
        "pull_sub": PullSub(batch_size=2_000, timeout=BATCH_SECONDS, batch=True) if batch else PullSub(BATCH),
        "ack_policy": AckPolicy.NACK_ON_ERROR,
    }


async def tell(broker: NatsBroker, subject: str, event: BaseModel, order_id: str) -> None:
    """Publish into the owner's stream and wait for its acknowledgement; duplicates are dropped for a while."""
    stream = OWNERS[subject.partition(".")[0]]
    headers = {"Nats-Msg-Id": f"{subject}:{order_id}"}
    await broker.publish(event, subject, stream=stream, headers=headers, timeout=PUBLISH_SECONDS_MAX)
