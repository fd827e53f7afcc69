"""A runtime for event-driven services on NATS JetStream: think in events, record them once, see every path.

What is public is here, in `jetmesh.sql` and in `jetmesh.testing`; services import nothing else of it. What only a
program at work needs, with a connection, is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jetmesh.app import App
from jetmesh.blob import Blob, BlobDamaged, BlobMissing, Blobs
from jetmesh.common.json_body import Malformed as MalformedJson
from jetmesh.common.json_body import document as read_json
from jetmesh.event import Event, Recorded
from jetmesh.event_model import EventModel, Token
from jetmesh.failure import Deferred, NotYet, Permanent, Retry, TooLarge, Unavailable
from jetmesh.fold import Fold
from jetmesh.foreign import ForeignMessage
from jetmesh.middleware import CallNext, Delivery, Middleware
from jetmesh.outcome import Outcome
from jetmesh.problem import Problem
from jetmesh.rate import Rate
from jetmesh.reaction import DeclarationError
from jetmesh.request_model import Request
from jetmesh.schedule import Tick
from jetmesh.service import Service
from jetmesh.settings import SettingsError
from jetmesh.settings import read as read_settings
from jetmesh.snapshot import Snapshot

if TYPE_CHECKING:
    from jetmesh.client.mesh import Mesh, connect
    from jetmesh.client.sync import SyncMesh, connect_sync
    from jetmesh.common.throttled_log import Conditions
    from jetmesh.jetstream.direct_get import Stored
    from jetmesh.runtime.context import Context
    from jetmesh.runtime.idempotency import claim
    from jetmesh.runtime.publish_result import AlreadyThere, NotTaken, PublishResult, Taken
    from jetmesh.runtime.reader import RecordedPage

__all__ = [
    "AlreadyThere",
    "App",
    "Blob",
    "BlobDamaged",
    "BlobMissing",
    "Blobs",
    "CallNext",
    "Conditions",
    "Context",
    "DeclarationError",
    "Deferred",
    "Delivery",
    "Event",
    "EventModel",
    "Fold",
    "ForeignMessage",
    "MalformedJson",
    "Mesh",
    "Middleware",
    "NotTaken",
    "NotYet",
    "Outcome",
    "Permanent",
    "Problem",
    "PublishResult",
    "Rate",
    "Recorded",
    "RecordedPage",
    "Request",
    "Retry",
    "Service",
    "SettingsError",
    "Snapshot",
    "Stored",
    "SyncMesh",
    "Taken",
    "Tick",
    "Token",
    "TooLarge",
    "Unavailable",
    "claim",
    "connect",
    "connect_sync",
    "read_json",
    "read_settings",
]

_AT_WORK = {
    "AlreadyThere": "jetmesh.runtime.publish_result",
    "Conditions": "jetmesh.common.throttled_log",
    "Context": "jetmesh.runtime.context",
    "Mesh": "jetmesh.client.mesh",
    "NotTaken": "jetmesh.runtime.publish_result",
    "PublishResult": "jetmesh.runtime.publish_result",
    "RecordedPage": "jetmesh.runtime.reader",
    "Stored": "jetmesh.jetstream.direct_get",
    "SyncMesh": "jetmesh.client.sync",
    "Taken": "jetmesh.runtime.publish_result",
    "claim": "jetmesh.runtime.idempotency",
    "connect": "jetmesh.client.mesh",
    "connect_sync": "jetmesh.client.sync",
}


def __getattr__(name: str) -> Any:
    if name not in _AT_WORK:
        raise AttributeError(f"module 'jetmesh' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_AT_WORK[name]), name)
    return found
