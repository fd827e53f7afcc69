"""Whether a stream of others can be listened to as it is: nothing of it is ever changed."""

from collections.abc import Sequence

from jetmesh.jetstream.consumer_config import Config
from jetmesh.topology.ownership import owner_of

UNFIT = {"workqueue": "whoever acknowledges a message there takes it away from its own readers"}
"""Retentions under which a durable of ours would do harm, and why."""


def unfit(config: Config, filters: Sequence[str]) -> str:
    """Why durables with these filters can't read a stream; empty if they can."""
    if owner := owner_of(config):
        return f"it is no foreign stream: it belongs to {owner}; react to the events in it with `@service.on`"
    if why := UNFIT.get(config.get("retention", "")):
        return f"its retention is {config['retention']}: {why}; make a stream with a source of it, and listen to that"
    holds = [*(config.get("subjects") or ()), *_sourced(config)]
    for each in filters:
        if holds and not any(_meet(subject.split("."), each.split(".")) for subject in holds):
            return (
                f"it holds {', '.join(holds)}, and no subject of {each} is in it: correct the subject or stream of the "
                f"reaction that listens, or let the stream's owner add it (`nats stream edit {config['name']}`)"
            )
    return ""


def _meet(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether some subject matches both patterns."""
    for left, right in zip(one, other, strict=False):
        if ">" in (left, right):
            return True
        if left != right and "*" not in (left, right):
            return False
    return len(one) == len(other)


def _sourced(config: Config) -> Sequence[str]:
    """What comes from a mirrored stream or from sources: anything."""
    return [">"] if config.get("mirror") or config.get("sources") else []
