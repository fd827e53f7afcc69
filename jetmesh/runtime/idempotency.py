"""Idempotency keys of the outside world: the first value that is stored under a key holds."""

from hashlib import sha256

from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.topology import names


async def claim(context: Context, service: Service, token: str, value: bytes) -> bytes:
    """Store `value` under `token` unless a value is there; the value that holds, for the time `service.claims`.

    Raises:
        Unavailable: the broker does not answer; whether the claim is taken is unknown, and asking again is safe.
    """
    subject = names.claim(service.name, sha256(token.encode()).hexdigest()[:40])
    for _ in range(3):
        try:
            await context.publisher.record(Message(subject, value, {}, Guard(subject, 0)))
        except Refused:
            holders = await context.direct_get.last(names.claims_of(service.stream), [subject])
            if holders:
                return holders[0].data
        else:
            return value
    return value
