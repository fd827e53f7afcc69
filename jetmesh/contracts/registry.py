"""The contracts that are deployed: a JetStream KV bucket with a type's contract under its name, and its past."""

import json
from collections.abc import Iterable
from typing import Any, cast

from nats.js.errors import APIError, BucketNotFoundError, KeyNotFoundError, NoKeysError
from nats.js.kv import KV_DEL, KV_OP, KeyValue

from jetmesh.common import json_body
from jetmesh.contracts.releases import NoRelease
from jetmesh.contracts.schema import Contract, Contracts, parse
from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.transport import API, Transport
from jetmesh.topology import provision
from jetmesh.topology.streams import Stream, Topology

HISTORY_TRIES = 5
BUCKET = "jetmesh_contracts"
HISTORY_MAX = 64
"""How many versions of each contract the bucket keeps: the most that JetStream's KV allows."""


def stream(replicas: int = 1) -> Stream:
    """The stream behind the bucket, as every client of JetStream's KV makes it (ADR-8)."""
    name = f"KV_{BUCKET}"
    return Stream(
        name,
        {
            "name": name,
            "subjects": [f"$KV.{BUCKET}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": replicas,
            "max_msgs_per_subject": HISTORY_MAX,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
        },
    )


async def publish(connection: Transport, contracts: Contracts, replicas: int = 1, *, prune: bool = True) -> list[str]:
    """Write what is new or changed; with `prune`, delete what its owner does not record any more. The types that were
    touched.

    Contracts of other owners stay: several meshes may share a broker.

    """
    bucket = await _made(connection, replicas)
    deployed = await _latest(bucket)
    changed = [name for name, each in contracts.items() if deployed.get(name) != each]
    for name in changed:
        await _put(connection, name, json.dumps(contracts[name].document()).encode())
    gone = [name for name in owned(deployed, contracts) if name not in contracts] if prune else []
    for name in gone:
        await _put(connection, name, b"", {KV_OP: KV_DEL})
    return [*changed, *gone]


def owned(deployed: Contracts, contracts: Contracts) -> Contracts:
    """What is deployed of the owners that have a contract in `contracts`."""
    owners = {each.owner for each in contracts.values()}
    return {name: each for name, each in deployed.items() if each.owner in owners}


async def fetch(connection: Transport) -> Contracts:
    """What is deployed.

    Raises:
        NoRelease: nothing ever was.
    """
    return await _latest(await _found(connection))


async def history(connection: Transport) -> list[Contracts]:
    """What was ever deployed and is kept, oldest first; the last is what is deployed.

    Raises:
        NoRelease: nothing ever was.
    """
    bucket = await _found(connection)
    past = {name: await _versions(bucket, name) for name in await _names(bucket)}
    steps = max((len(versions) for versions in past.values()), default=0)
    return [
        {name: versions[max(0, len(versions) - step)] for name, versions in past.items() if versions}
        for step in range(steps, 0, -1)
    ]


async def _made(connection: Transport, replicas: int) -> KeyValue:
    try:
        return await _found(connection)
    except NoRelease:
        await provision.apply(connection, await provision.plan(connection, Topology((stream(replicas),), ())))
        return await _found(connection)


async def _put(connection: Transport, name: str, value: bytes, headers: dict[str, str] | None = None) -> None:
    """Write an entry. Where the API has a prefix so have the bucket's subjects: nats-py writes to the bucket of this
    name that is nearest."""
    subject = f"$KV.{BUCKET}.{name}"
    whole = subject if connection.api_prefix == API else connection.api(subject)
    await cast(Any, connection).jetstream().publish(whole, value, headers=headers)


async def _found(connection: Transport) -> KeyValue:
    try:
        return cast(KeyValue, await cast(Any, connection).jetstream(prefix=connection.api_prefix).key_value(BUCKET))
    except BucketNotFoundError:
        raise NoRelease("no contracts are deployed: `jetmesh topology apply` writes them") from None
    except APIError as refused:
        code, error_code, description = refused.code or 0, refused.err_code or 0, refused.description or ""
        raise ApiError(code, error_code, description, f"the bucket {BUCKET}") from None


async def _names(bucket: KeyValue) -> list[str]:
    try:
        return sorted(await bucket.keys())
    except NoKeysError:
        return []


async def _latest(bucket: KeyValue) -> Contracts:
    found: dict[str, Contract] = {}
    for name in await _names(bucket):
        try:
            for contracts in _parsed(name, [(await bucket.get(name)).value]):
                found |= contracts
        except KeyNotFoundError:
            continue
    return found


async def _history(bucket: KeyValue, name: str) -> list[KeyValue.Entry]:
    """Every entry of a name that is there. nats-py takes a history that is slow to come for none.

    Raises:
        Unavailable: it did not come.
    """
    for _ in range(HISTORY_TRIES):
        try:
            return await bucket.history(name)
        except NoKeysError:
            continue
    raise Unavailable(f"the broker does not tell the history of {name} in the bucket {BUCKET}")


async def _versions(bucket: KeyValue, name: str) -> list[Contract]:
    entries = await _history(bucket, name)
    return [each[name] for each in _parsed(name, (entry.value for entry in entries if entry.operation is None))]


def _parsed(name: str, values: Iterable[bytes | None]) -> list[Contracts]:
    """The versions of a contract.

    Raises:
        ValueError: somebody has written something else there.
    """
    try:
        return [parse({name: json_body.document(value)}) for value in values if value]
    except ValueError as wrong:
        fix = f"`nats kv purge {BUCKET} {name}` removes it"
        raise ValueError(f"the contract {name} in the bucket {BUCKET} can't be read ({wrong}): {fix}") from None
