"""The contracts that are deployed: a JetStream KV bucket with the contract of each type and its earlier versions.

Beside the contract an entry names the app that deployed it, and the version with which it did.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jetmesh.common import json_body
from jetmesh.contracts.bucket import Bucket, Values
from jetmesh.contracts.releases import NoRelease
from jetmesh.contracts.schema import Contract, Contracts, parse
from jetmesh.jetstream.transport import Transport
from jetmesh.topology.names import CONTRACTS_BUCKET
from jetmesh.topology.streams import Stream

BUCKET = CONTRACTS_BUCKET
STREAM = f"KV_{BUCKET}"
CONTRACTS = Bucket(BUCKET, {"deny_delete": True})


class Owned(ValueError):
    """A contract belongs to another app; the text names both."""


@dataclass(frozen=True, slots=True)
class DeployedContract:
    """A deployed contract, the app that owns it (empty: deployed without one) and the version that changed it last."""

    contract: Contract
    app: str = ""
    version: str = ""

    @property
    def value(self) -> bytes:
        """What the bucket keeps."""
        owner = {"app": self.app, "version": self.version} if self.app else {}
        return json.dumps({**self.contract.document(), **owner}).encode()


def stream(replicas: int = 1) -> Stream:
    """The stream behind the bucket."""
    return CONTRACTS.stream(replicas)


async def publish(
    connection: Transport,
    contracts: Contracts,
    replicas: int = 1,
    *,
    app: str = "",
    version: str = "",
    take_over: str = "",
) -> list[str]:
    """Write new and changed contracts of an app; returns the types that were written. Those that another app owns stay
    as they are, and those that nobody records any more, too: `retire` deletes them.

    Raises:
        Owned: another app than this one or `take_over` owns one of them.
    """
    await CONTRACTS.make(connection, replicas)
    deployed = _latest(await CONTRACTS.values(connection), CONTRACTS.on_broker(connection))
    if second := second_owners(deployed, contracts, app, take_over):
        raise Owned("; ".join(second))
    wanted = {name: DeployedContract(each, app, version) for name, each in contracts.items()}
    changed = [name for name, entry in wanted.items() if not _is_there(deployed.get(name), entry)]
    for name in changed:
        before = deployed.get(name)
        entry = wanted[name] if app or before is None else DeployedContract(contracts[name], before.app, before.version)
        await CONTRACTS.put(connection, name, entry.value)
    return changed


def second_owners(
    deployed: Mapping[str, DeployedContract], names: Iterable[str], app: str, take_over: str = ""
) -> list[str]:
    """A sentence for each of these types that another app than this one and `take_over` owns, naming both."""
    theirs = {name: entry.app for name in names if (entry := deployed.get(name)) and app}
    return [
        f"event {name}: the app {other} owns it, and the app {app} would be a second owner: give it another type (or "
        f"`--take-over {other}`, if that app is this one now)"
        for name, other in theirs.items()
        if other not in ("", app, take_over)
    ]


async def retire(connection: Transport, name: str, reason: str) -> None:
    """Delete the contract of a type; the bucket's history keeps the reason.

    Raises:
        NoRelease: none were ever deployed.
        LookupError: there is none of this type.
    """
    if name not in (known := await entries(connection)):
        raise LookupError(f"no contract {name} is deployed; there are {', '.join(known) or 'none'}")
    await CONTRACTS.delete(connection, name, json.dumps({"retired": reason}).encode())


def owned(deployed: Contracts, contracts: Contracts) -> Contracts:
    """The deployed contracts of the owners that have a contract in `contracts`."""
    owners = {each.owner for each in contracts.values()}
    return {name: each for name, each in deployed.items() if each.owner in owners}


def only(deployed: Contracts, names: Collection[str]) -> Contracts:
    """The deployed contracts of these types."""
    return {name: each for name, each in deployed.items() if name in names}


async def fetch(connection: Transport) -> Contracts:
    """The deployed contracts.

    Raises:
        NoRelease: none were ever deployed.
    """
    return {name: entry.contract for name, entry in (await entries(connection)).items()}


async def entries(connection: Transport) -> dict[str, DeployedContract]:
    """The deployed contracts, each with its app.

    Raises:
        NoRelease: none were ever deployed.
    """
    return _latest(await _found(connection), CONTRACTS.on_broker(connection))


async def history(connection: Transport) -> list[Contracts]:
    """The deployments that the bucket still holds, oldest first; the last is the current one.

    Raises:
        NoRelease: none were ever deployed.
    """
    bucket = CONTRACTS.on_broker(connection)
    past = {name: _parsed(name, values, bucket) for name, values in (await _found(connection)).items()}
    steps = max((len(versions) for versions in past.values()), default=0)
    return [
        {name: versions[max(0, len(versions) - step)].contract for name, versions in past.items() if versions}
        for step in range(steps, 0, -1)
    ]


def _is_there(deployed: DeployedContract | None, wanted: DeployedContract) -> bool:
    """Whether the contract is deployed, by this app if it has a name."""
    return deployed is not None and deployed.contract == wanted.contract and wanted.app in ("", deployed.app)


async def _found(connection: Transport) -> Values:
    """The values of every key, oldest first.

    Raises:
        NoRelease: there is no bucket.
    """
    if not await CONTRACTS.exists(connection):
        raise NoRelease("no contracts are deployed: `jetmesh topology apply` writes them")
    return await CONTRACTS.values(connection)


def _latest(values: Values, bucket: str) -> dict[str, DeployedContract]:
    return {name: found[-1] for name, each in values.items() if (found := _parsed(name, each[-1:], bucket))}


def _parsed(name: str, values: Iterable[bytes], bucket: str) -> list[DeployedContract]:
    """The versions of a contract.

    Raises:
        ValueError: a value is not a contract.
    """
    try:
        return [_entry(name, json_body.document(value)) for value in values if value]
    except ValueError as wrong:
        fix = f"`nats kv purge {bucket} {name}` removes it"
        raise ValueError(f"the contract {name} in the bucket {bucket} can't be read ({wrong}): {fix}") from None


def _entry(name: str, document: Any) -> DeployedContract:
    contract = parse({name: document})[name]
    return DeployedContract(contract, str(document.get("app") or ""), str(document.get("version") or ""))
