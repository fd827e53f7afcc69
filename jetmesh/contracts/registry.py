"""The contracts that are deployed: a JetStream KV bucket with the contract of each type and its earlier versions."""

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence

from jetmesh.common import json_body
from jetmesh.contracts.releases import NoRelease
from jetmesh.contracts.schema import Contract, Contracts, parse
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.headers import decode_headers, encode_headers
from jetmesh.jetstream.transport import API, Transport
from jetmesh.topology import provision
from jetmesh.topology.streams import Stream, Topology

BUCKET = "jetmesh_contracts"
STREAM = f"KV_{BUCKET}"
OPERATION = "KV-Operation"
"""The header of an entry that deletes its key."""
HISTORY_MAX = 64
"""How many versions of each contract the bucket keeps: the most that JetStream's KV allows."""

Values = Mapping[str, Sequence[bytes]]
"""The values of each key."""


def stream(replicas: int = 1) -> Stream:
    """The stream behind the bucket, as every client of JetStream's KV makes it (ADR-8)."""
    return Stream(
        STREAM,
        {
            "name": STREAM,
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
    """Write new and changed contracts; with `prune`, delete those that their owner no longer records. Returns the types
    that were written or deleted.

    Contracts of other owners stay: several meshes may share a broker.
    """
    deployed = _latest(await _made(connection, replicas))
    changed = [name for name, each in contracts.items() if deployed.get(name) != each]
    for name in changed:
        await _put(connection, name, json.dumps(contracts[name].document()).encode())
    gone = [name for name in owned(deployed, contracts) if name not in contracts] if prune else []
    for name in gone:
        await _put(connection, name, b"", {OPERATION: "DEL"})
    return [*changed, *gone]


def owned(deployed: Contracts, contracts: Contracts) -> Contracts:
    """The deployed contracts of the owners that have a contract in `contracts`."""
    owners = {each.owner for each in contracts.values()}
    return {name: each for name, each in deployed.items() if each.owner in owners}


async def fetch(connection: Transport) -> Contracts:
    """The deployed contracts.

    Raises:
        NoRelease: none were ever deployed.
    """
    return _latest(await _found(connection))


async def history(connection: Transport) -> list[Contracts]:
    """The deployments that the bucket still holds, oldest first; the last is the current one.

    Raises:
        NoRelease: none were ever deployed.
    """
    past = {name: _parsed(name, values) for name, values in (await _found(connection)).items()}
    steps = max((len(versions) for versions in past.values()), default=0)
    return [
        {name: versions[max(0, len(versions) - step)] for name, versions in past.items() if versions}
        for step in range(steps, 0, -1)
    ]


async def _made(connection: Transport, replicas: int) -> Values:
    try:
        return await _found(connection)
    except NoRelease:
        await provision.apply(connection, await provision.plan(connection, Topology((stream(replicas),), ())))
        return {}


async def _put(connection: Transport, name: str, value: bytes, headers: dict[str, str] | None = None) -> None:
    """Write an entry. If the API has a prefix, the bucket's subjects have it as well: otherwise a bucket of the same
    name in the own account would get the entry."""
    subject = f"$KV.{BUCKET}.{name}"
    whole = subject if connection.api_prefix == API else connection.api(subject)
    answer = json.loads(await connection.ask(whole, value, headers=encode_headers(headers) if headers else b""))
    if refused := answer.get("error"):
        raise ApiError.of(refused, f"the bucket {BUCKET}")


async def _found(connection: Transport) -> Values:
    """The values of every key, oldest first.

    Raises:
        NoRelease: there is no bucket.
    """
    if await request(connection, f"STREAM.INFO.{STREAM}") is None:
        raise NoRelease("no contracts are deployed: `jetmesh topology apply` writes them")
    values: dict[str, list[bytes]] = {}
    gone: set[str] = set()
    wanted = {"seq": 1, "next_by_subj": f"$KV.{BUCKET}.>"}
    while answer := await request(connection, f"STREAM.MSG.GET.{STREAM}", wanted):
        entry = answer["message"]
        wanted["seq"] = entry["seq"] + 1
        name = entry["subject"].removeprefix(f"$KV.{BUCKET}.")
        if OPERATION in decode_headers(b64decode(entry.get("hdrs") or "")):
            gone.add(name)
        else:
            gone.discard(name)
            values.setdefault(name, []).append(b64decode(entry.get("data") or ""))
    return {name: values[name] for name in sorted(values.keys() - gone)}


def _latest(values: Values) -> Contracts:
    return {name: found[-1] for name, each in values.items() if (found := _parsed(name, each[-1:]))}


def _parsed(name: str, values: Iterable[bytes]) -> list[Contract]:
    """The versions of a contract.

    Raises:
        ValueError: a value is not a contract.
    """
    try:
        return [parse({name: json_body.document(value)})[name] for value in values if value]
    except ValueError as wrong:
        fix = f"`nats kv purge {BUCKET} {name}` removes it"
        raise ValueError(f"the contract {name} in the bucket {BUCKET} can't be read ({wrong}): {fix}") from None
