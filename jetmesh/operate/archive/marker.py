"""The marker of an archived story: one small message for each owner and key, whose sequence the guards expect."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from jetmesh.jetstream.api import request
from jetmesh.jetstream.group_commit import GroupCommit
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.subject import Subject, is_marker, marker_subject, story_subject
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.archive.row import Row
from jetmesh.operate.archive.scan import scan

Part = tuple[str, str, str]
"""A part of a story: the stream, the entity, the key."""


def unmarked(story: Iterable[Row]) -> dict[Part, list[Row]]:
    """The parts of a story that have no marker yet, each with its events."""
    found: dict[Part, list[Row]] = {}
    for row in story:
        subject = Subject.parse(row.subject)
        if subject.key and not subject.id:  # an occurrence is in no story
            found.setdefault((row.stream, subject.entity, row.key), []).append(row)
    return {part: rows for part, rows in found.items() if not any(is_marker(row.subject) for row in rows)}


async def mark_ended(group_commit: GroupCommit, story: Sequence[Row], endings: Mapping[str, frozenset[str]]) -> bool:
    """Store a marker in every part of a story; False if one of them got a new event since it was read.

    `endings` are the ending types of each stream: the marker lists those that were recorded, with sequence and time.

    Raises:
        Unavailable: the broker does not take it now, or does not answer.
    """
    parts = unmarked(story)
    messages = [_marker(part, rows, endings[part[0]]) for part, rows in parts.items()]
    done = await asyncio.gather(*map(group_commit.record, messages), return_exceptions=True)
    for failed in (each for each in done if isinstance(each, BaseException) and not isinstance(each, Refused)):
        raise failed
    return not any(isinstance(each, Refused) for each in done)


async def forget(connection: Transport, stream: str, entities: Iterable[str], before: datetime) -> int:
    """Remove the markers older than `before`; returns how many. A later message about such a key begins a new story.

    Raises:
        Unavailable: the broker does not answer; a second call is safe.
    """
    removed = 0
    for subjects in sorted({marker_subject(entity, "*") for entity in entities}):
        body = {"filter": subjects, "seq": await _first_since(connection, stream, subjects, before)}
        answer = await request(connection, f"STREAM.PURGE.{stream}", body, strict=True, timeout_seconds=600.0)
        removed += int(answer["purged"])
    return removed


async def _first_since(connection: Transport, stream: str, subjects: str, time: datetime) -> int:
    """The sequence of the first of these messages since `time`; the last sequence plus one if there is none."""
    async with scan(connection, stream, [subjects], since=time) as scanning:
        if page := await scanning.page(1):
            return page[0].sequence
    info = await request(connection, f"STREAM.INFO.{stream}", strict=True)
    return int(info["state"]["last_seq"]) + 1


def _marker(part: Part, rows: Sequence[Row], endings: frozenset[str]) -> Message:
    _, entity, key = part
    stood: dict[str, tuple[int, str]] = {row.type: _place(row) for row in rows if row.type in endings}
    last = max(row.sequence for row in rows)
    data = json.dumps(stood, separators=(",", ":")).encode()
    return Message(marker_subject(entity, key), data, {}, Guard(story_subject(entity, key), last))


def _place(row: Row) -> tuple[int, str]:
    at = datetime.fromtimestamp(row.time_ns // 1_000_000_000, UTC)
    return row.sequence, f"{at:%Y-%m-%dT%H:%M:%S}Z"
