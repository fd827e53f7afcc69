"""A runtime for event-driven services on NATS JetStream: think in events, record them once, see every path.

What is public is here, in `jetmesh.sql` and in `jetmesh.testing`; services import nothing else of it. A name is loaded
when it is first asked for, so that a process loads what it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetmesh.app import App
    from jetmesh.blob import Blob, BlobDamaged, BlobMissing, Blobs
    from jetmesh.client.mesh import Mesh, connect
    from jetmesh.client.sync import SyncMesh, connect_sync
    from jetmesh.common.json_body import Malformed as MalformedJson
    from jetmesh.common.json_body import document as read_json
    from jetmesh.common.throttled_log import Conditions
    from jetmesh.event import Event, Recorded
    from jetmesh.event_model import EventModel, Token
    from jetmesh.failure import Deferred, NotYet, Permanent, Retry, TooLarge, Unavailable
    from jetmesh.fold import Fold
    from jetmesh.foreign import ForeignMessage
    from jetmesh.jetstream.direct_get import Stored
    from jetmesh.middleware import CallNext, Delivery, Middleware
    from jetmesh.outcome import Outcome
    from jetmesh.problem import Problem
    from jetmesh.rate import Rate
    from jetmesh.reaction import DeclarationError
    from jetmesh.request_model import Request
    from jetmesh.runtime.context import Context
    from jetmesh.runtime.idempotency import claim
    from jetmesh.runtime.publish_result import AlreadyThere, NotTaken, PublishResult, Taken
    from jetmesh.runtime.reader import RecordedPage
    from jetmesh.schedule import Tick
    from jetmesh.service import Service
    from jetmesh.settings import SettingsError
    from jetmesh.settings import read as read_settings
    from jetmesh.snapshot import Snapshot

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

_HOMES = {
    "AlreadyThere": "jetmesh.runtime.publish_result",
    "App": "jetmesh.app",
    "Blob": "jetmesh.blob",
    "BlobDamaged": "jetmesh.blob",
    "BlobMissing": "jetmesh.blob",
    "Blobs": "jetmesh.blob",
    "CallNext": "jetmesh.middleware",
    "Conditions": "jetmesh.common.throttled_log",
    "Context": "jetmesh.runtime.context",
    "DeclarationError": "jetmesh.reaction",
    "Deferred": "jetmesh.failure",
    "Delivery": "jetmesh.middleware",
    "Event": "jetmesh.event",
    "EventModel": "jetmesh.event_model",
    "Fold": "jetmesh.fold",
    "ForeignMessage": "jetmesh.foreign",
    "MalformedJson": "jetmesh.common.json_body:Malformed",
    "Mesh": "jetmesh.client.mesh",
    "Middleware": "jetmesh.middleware",
    "NotTaken": "jetmesh.runtime.publish_result",
    "NotYet": "jetmesh.failure",
    "Outcome": "jetmesh.outcome",
    "Permanent": "jetmesh.failure",
    "Problem": "jetmesh.problem",
    "PublishResult": "jetmesh.runtime.publish_result",
    "Rate": "jetmesh.rate",
    "Recorded": "jetmesh.event",
    "RecordedPage": "jetmesh.runtime.reader",
    "Request": "jetmesh.request_model",
    "Retry": "jetmesh.failure",
    "Service": "jetmesh.service",
    "SettingsError": "jetmesh.settings",
    "Snapshot": "jetmesh.snapshot",
    "Stored": "jetmesh.jetstream.direct_get",
    "SyncMesh": "jetmesh.client.sync",
    "Taken": "jetmesh.runtime.publish_result",
    "Tick": "jetmesh.schedule",
    "Token": "jetmesh.event_model",
    "TooLarge": "jetmesh.failure",
    "Unavailable": "jetmesh.failure",
    "claim": "jetmesh.runtime.idempotency",
    "connect": "jetmesh.client.mesh",
    "connect_sync": "jetmesh.client.sync",
    "read_json": "jetmesh.common.json_body:document",
    "read_settings": "jetmesh.settings:read",
}
"""The module of each public name, and behind a colon what it is called there if that is another name."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jetmesh' has no attribute {name!r}")
    module, _, there = _HOMES[name].partition(":")
    found = globals()[name] = getattr(import_module(module), there or name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
