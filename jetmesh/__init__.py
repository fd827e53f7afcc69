"""A runtime for event-driven services on NATS JetStream: think in events, record them once, see every path."""

from jetmesh.event import Event, Recorded
from jetmesh.event_model import EventModel, Token
from jetmesh.failure import Deferred, NotYet, Permanent, Retry, Unavailable
from jetmesh.service import DeclarationError, Service
from jetmesh.snapshot import Snapshot

__all__ = [
    "DeclarationError",
    "Deferred",
    "Event",
    "EventModel",
    "NotYet",
    "Permanent",
    "Recorded",
    "Retry",
    "Service",
    "Snapshot",
    "Token",
    "Unavailable",
]
