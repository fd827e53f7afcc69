"""Express durables: beside the unchanged durable of a reaction, a second one for its urgent types alone.

What it has acknowledged is done, and the ordinary durable settles its copy of it unseen. That holds for the subjects
that it has had since it began, and for nothing before: so it is never changed, but made anew, from where the ordinary
one has come to. What it has not acknowledged is still with the ordinary one when it is taken away.
"""

from typing import Any

from jetmesh.jetstream.api import request
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.subject import covers
from jetmesh.jetstream.transport import Transport
from jetmesh.topology import starting
from jetmesh.topology.difference import EXPRESS, START, filters_of
from jetmesh.topology.streams import Consumer


def delivers(config: Config, subject: str, sequence: int) -> bool:
    """Whether it delivers a message of its stream, or has delivered it: only one that `apply` made says where it
    began."""
    return 0 < config.get("opt_start_seq", 0) <= sequence and all(
        any(covers(pattern, subject) for pattern in subjects) for subjects in (_noted(config), filters_of(config))
    )


async def make(connection: Transport, consumer: Consumer, config: Config) -> None:
    """Make it, or make it anew if its subjects are others; its ordinary durable is there."""
    place = f"{consumer.stream}.{consumer.durable}"
    there: Any = await request(connection, f"CONSUMER.INFO.{place}")
    if there and not _is_as_declared(there["config"], consumer):
        await request(connection, f"CONSUMER.DELETE.{place}", strict=True)
        config = {name: value for name, value in config.items() if name not in START}
    if "opt_start_seq" not in config:
        config = starting.begun(config, await starting.beside(connection, consumer))
    body = {"stream_name": consumer.stream, "config": config}
    await request(connection, f"CONSUMER.CREATE.{place}", body, strict=True)


def _noted(config: Config) -> list[str]:
    """The subjects that it has had since it began."""
    return str((config.get("metadata") or {}).get(EXPRESS, "")).split(",")


def _is_as_declared(config: Config, consumer: Consumer) -> bool:
    """Whether it has the declared subjects, had no others, and says where it began."""
    same = set(_noted(config)) == set(filters_of(config)) == set(consumer.subjects)
    return same and config.get("opt_start_seq", 0) > 0
