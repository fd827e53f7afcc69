"""Orphans: durables that an earlier version of these services made, and that no reaction declares any more."""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jetmesh.jetstream.api import consumers_of, request, stream_names
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.transport import Transport
from jetmesh.topology.difference import RENAMED, filters_of
from jetmesh.topology.names import schedule_of
from jetmesh.topology.ownership import owner_of
from jetmesh.topology.streams import ConsumerKind, Topology

_OURS = re.compile(r"jetmesh ([a-z]+) of (.+)")
"""The description of every durable that jetmesh makes."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """One of them. `is_pulled`: a process of an older version works on it; `successor` goes on with its work."""

    stream: str
    durable: str
    waiting: int = 0
    under_way: int = 0
    is_pulled: bool = False
    successor: str = ""
    team: str = ""
    """The team outside that pulled it, and that no file of this app's contracts declares any more."""

    @property
    def name(self) -> str:
        """The stream and the durable."""
        return f"{self.stream}/{self.durable}"

    def __str__(self) -> str:
        what = f"{self.successor} goes on with its work" if self.successor else f"no {self.declarer} declares it"
        held = "a client pulls it" if self.is_pulled else f"nobody pulls it: `{self.remedy}` removes it"
        return f"{what}; {self.waiting:,} wait, {self.under_way:,} are under way; {held}"

    @property
    def declarer(self) -> str:
        """What would declare it."""
        return f"consumers/{self.team}.yaml" if self.team else "reaction"

    @property
    def remedy(self) -> str:
        """What removes it: a team's durable goes only where the team is named."""
        return f"jetmesh topology apply --prune{f' --team {self.team}' if self.team else ''}"


async def orphans(connection: Transport, wanted: Topology, streams: Iterable[str] = ()) -> list[Orphan]:
    """The orphans of these services and of their app's teams outside, on these streams or on all of the broker's."""
    app = next((consumer.app for consumer in wanted.durables), "")
    services = {consumer.service for consumer in wanted.durables}
    declared = {(consumer.stream, consumer.durable) for consumer in wanted.durables}
    found: list[Orphan] = []
    for stream in streams or await stream_names(connection):
        for info in await consumers_of(connection, stream):
            place = stream, str(info["config"].get("durable_name") or "")
            if place in declared:
                continue
            team = gone_team(info["config"], services, app)
            if team or is_ours(info["config"], services):
                found.append(replace(_orphan(*place, info), team=team))
    return found


async def remove(connection: Transport, orphan: Orphan) -> bool:
    """Remove it, if still nobody pulls it; whether it is gone. With the durable of a reaction to the clock goes its
    schedule."""
    info = await request(connection, f"CONSUMER.INFO.{orphan.stream}.{orphan.durable}")
    if info and _is_pulled(info):
        return False
    await request(connection, f"CONSUMER.DELETE.{orphan.stream}.{orphan.durable}")
    for wake in filters_of(info["config"]) if info else ():
        for subject in schedule_of(wake):
            await request(connection, f"STREAM.PURGE.{orphan.stream}", {"filter": subject})
    return True


def _orphan(stream: str, durable: str, info: Any) -> Orphan:
    successor = (info["config"].get("metadata") or {}).get(RENAMED, "")
    return Orphan(stream, durable, info["num_pending"], info["num_ack_pending"], _is_pulled(info), successor)


def is_ours(config: Config, services: Container[str]) -> bool:
    """Whether a durable was made for one of these services."""
    found = _OURS.fullmatch(config.get("description") or "")
    return bool(found and found[2] in services and str(config.get("durable_name")).startswith(f"{found[2]}-"))


def gone_team(config: Config, services: Container[str], app: str) -> str:
    """The team outside for which this app made a durable, if none of this name is declared any more; empty: none."""
    found, owner = _OURS.fullmatch(config.get("description") or ""), owner_of(config)
    is_of_a_team = found and found[1] == ConsumerKind.OUTSIDE and owner and owner.app == app
    return found[2] if found and is_of_a_team and found[2] not in services else ""


def _is_pulled(info: Any) -> bool:
    """Whether a client asks for deliveries, or still has some."""
    if info.get("num_waiting") or info.get("push_bound"):
        return True
    last = info["delivered"].get("last_active") if info["num_ack_pending"] else None
    if not last:
        return False
    rests = datetime.fromisoformat(info["ts"]) - datetime.fromisoformat(last)
    return bool(rests.total_seconds() < info["config"]["ack_wait"] / 1e9)
