"""The schedules of reactions to the clock, as the broker has them: the check of `jetmesh doctor`."""

import json
from datetime import UTC, datetime

from jetmesh.jetstream import stream_reader
from jetmesh.operate.findings import CheckContext, Finding, Findings, Grade
from jetmesh.reaction import Reaction
from jetmesh.topology.names import handed_out, schedule, timers_of


async def schedules(context: CheckContext) -> Findings:
    """Check that the broker has each schedule as it is declared, and say when it is due next."""
    for service in context.services:
        for reaction in service.reactions:
            if reaction.schedule:
                yield await _schedule(context, timers_of(service.stream), reaction)


async def _schedule(context: CheckContext, stream: str, reaction: Reaction) -> Finding:
    declared, who = reaction.schedule, f"{reaction.service}.{reaction.name}"
    assert declared is not None
    kept = await stream_reader.read(context.connection, stream, schedule(reaction.service, reaction.name))
    note = await stream_reader.read(context.connection, stream, handed_out(reaction.service, reaction.name))
    if not kept:
        fix = f"start it: `jetmesh run {reaction.service}`; a service stores its schedules when it starts"
        return Finding("schedules", Grade.WRONG, f"{who}: the broker has no schedule {declared}", fix)
    if kept[-1].data != str(declared).encode():
        fix = f"start the version that declares it: `jetmesh run {reaction.service}`"
        has = kept[-1].data.decode(errors="replace")
        return Finding("schedules", Grade.WRONG, f"{who}: the broker has {has}, and declared is {declared}", fix)
    until = json.loads(note[-1].data)["until"] if note else "no time yet"
    due = next(declared.after(datetime.now(UTC))).isoformat()
    return Finding("schedules", Grade.GOOD, f"{who}: {declared}, next at {due}, handed out until {until}")
