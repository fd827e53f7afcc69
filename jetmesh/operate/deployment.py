"""The deployment of one app on a broker that others may share: what would change, why it is refused, the change."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from jetmesh.app import name_of, version_of
from jetmesh.contracts import compatibility, deployed, outside, registry
from jetmesh.contracts.compatibility import FACT_RULES, REMOVED, Break, Side
from jetmesh.contracts.deployed import Awaited, Deployed
from jetmesh.contracts.package import owned_by, used_by
from jetmesh.contracts.releases import NoRelease
from jetmesh.contracts.request_contract import REQUEST
from jetmesh.contracts.schema import Contract, Contracts
from jetmesh.event import INTAKE, entity_of
from jetmesh.jetstream.transport import Transport
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.topology import provision, streams
from jetmesh.topology.outside import durables_of
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.provision import REFUSED, Change, Drift, Step
from jetmesh.topology.starting import ASKED, Starts
from jetmesh.topology.streams import Consumer, Topology

ADVICE = "make a new type and keep the old one; `jetmesh contracts check --against nats` says whom this breaks"


@dataclass(frozen=True, slots=True)
class AppPlan:
    """What an app needs of the broker: the steps, why it can't be deployed, and what else its operator should know."""

    steps: Sequence[Step]
    refusals: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do and nothing to refuse."""
        return not self.refusals and all(step.change is Change.KEEP for step in self.steps)

    def require(self) -> None:
        """Check that it can be carried out.

        Raises:
            Drift: it is refused; the text has every reason.
        """
        steps = (f"{step.what}: {step.reason}" for step in self.steps if step.change in REFUSED)
        if why := [*(f"refuse {words}" for words in self.refusals), *steps]:
            raise Drift("\n".join(why))


@dataclass(frozen=True, slots=True)
class Deployment:
    """An app, a connection to its broker, and what was said about its deployment: whether what it no longer declares
    goes (`prune`), whose streams and events become its own (`take_over`), and where new durables begin."""

    connection: Transport
    services: Sequence[Service]
    settings: Settings
    prune: bool = False
    take_over: str = ""
    starts: Starts = field(default=ASKED)
    teams: Sequence[str] = ()
    """The teams outside whose durables go as well, once no file declares them."""

    @property
    def name(self) -> str:
        """The app's name."""
        return name_of(self.services)

    @property
    def mine(self) -> Deployed:
        """What the app says of itself."""
        return deployed.of(self.services, self.name, version_of(self.services))

    async def plan(self) -> AppPlan:
        """Compare, and change nothing."""
        steps = await provision.plan(
            self.connection,
            self._needed(),
            prune=self.prune,
            starts=self.starts,
            take_over=self.take_over,
            teams=self.teams,
        )
        known = await deployed.fetch(self.connection)
        others = (each for name, each in known.items() if name != self.take_over)
        named = [*self._own_word(), *self._unknown(known)]
        refusals = [*named, *deployed.conflicts(self.mine, others), *await self._broken()]
        return AppPlan(steps, refusals, _downgrade(self.mine, known.get(self.name)))

    async def apply(self) -> AppPlan:
        """Plan, and carry it out while no other app is applied.

        Raises:
            Drift: it is refused, and nothing was changed; or the broker refuses a step.
            Unavailable: the broker does not answer, or another app is being applied.
        """
        (await self.plan()).require()
        async with deployed.applying(self.connection, self.name, self.settings.replicas):
            found = await self.plan()
            found.require()
            await provision.apply(self.connection, found.steps)
            made = await self._awaited_by_others()
            return replace(found, notes=(*found.notes, *made, *await self._publish(found)))

    async def keep_contracts(self, steps: Sequence[Step]) -> None:
        """Write the contracts of the app, and compare them with no earlier ones: for a mesh on one's own machine, whose
        topology is made in these steps. Make what other apps wait for.

        Raises:
            Owned: another app owns one of them.
            Unavailable: the broker does not answer, or another app is being applied.
        """
        async with deployed.applying(self.connection, self.name, self.settings.replicas):
            await self._publish(AppPlan(steps))
            await self._awaited_by_others()

    def _own_word(self) -> list[str]:
        """A sentence if the tenant is named as an entity of the app: its subjects would be among the entity's."""
        tenant = self.settings.tenant
        if tenant not in {entity_of(event) for service in self.services for event in service.records}:
            return []
        return [f"JETMESH_TENANT={tenant}: types of this app begin with this word; write another name"]

    def _unknown(self, known: Collection[str]) -> list[str]:
        """A sentence if nobody has deployed the app that is to be taken over: its name may be misspelt."""
        if not self.take_over or self.take_over in known:
            return []
        there = ", ".join(sorted(known)) or "none"
        return [
            f"--take-over {self.take_over}: no app of this name is deployed (there are {there}); leave the option "
            "out if it was taken over already"
        ]

    def _needed(self) -> Topology:
        """The topology, with the registry; of an app that has no intake any more also the intake, to leave it."""
        whole = needed(self.services, self.settings)
        more = [registry.stream(self.settings.replicas)]
        if self.prune and not any(stream.name == INTAKE for stream in whole.streams):
            more.append(streams.intake(self.services, self.settings.replicas, self.name))
        return replace(whole, streams=(*whole.streams, *more))

    async def _broken(self) -> list[str]:
        """Each contract that another app owns, each break of the app's own deployed contracts, current and earlier, and
        each event of another app that its services can't read."""
        try:
            there, history = await registry.entries(self.connection), await registry.history(self.connection)
        except NoRelease:
            return []
        own, used = owned_by(self.services), used_by(self.services)
        breaks = dict.fromkeys(map(_sentence, [*_own_breaks(own, history), *_misunderstood(used, history)]))
        second = registry.second_owners(there, own, self.name, self.take_over)
        return [*second, *breaks, *([ADVICE] if breaks else ())]

    async def _awaited_by_others(self) -> list[str]:
        """Make the durables that other apps wait for on this app's streams, as they have declared them."""
        own = {stream.name for stream in needed(self.services, self.settings).streams if not stream.is_shared}
        known = await deployed.fetch(self.connection)
        awaited = [(other, each) for other in known.values() for each in other.awaits if each.stream in own]
        return [
            f"create consumer {each.stream}/{each.config['durable_name']}, which {other} waits for"
            for other, each in awaited
            if await provision.make_if_missing(self.connection, each.stream, each.config)
        ]

    async def _publish(self, plan: AppPlan) -> list[str]:
        """Write what the app records, reads and waits for; returns what its operator should know."""
        awaits = tuple(
            Awaited(stream=step.wanted.stream, config=step.config)
            for step in plan.steps
            if step.change is Change.AWAIT and isinstance(step.wanted, Consumer)
        )
        mine, known = self.mine.model_copy(update={"awaits": awaits}), await deployed.fetch(self.connection)
        await registry.publish(
            self.connection,
            owned_by(self.services),
            self.settings.replicas,
            app=mine.app,
            version=mine.version,
            take_over=self.take_over,
        )
        await deployed.write(self.connection, mine, known.pop(mine.app, None))
        if known.pop(self.take_over, None):
            await deployed.remove(self.connection, self.take_over)
        return await self._retire([mine, *known.values()]) if self.prune else []

    async def _retire(self, known: Sequence[Deployed]) -> list[str]:
        """Retire the contracts of the app's services that none of them records or answers any more and nobody uses."""
        notes: list[str] = []
        for name, entry in (await registry.entries(self.connection)).items():
            if entry.app != self.name or name in self._kept(entry.contract.owner):
                continue
            if whom := deployed.readers(known, name):
                done, used = ("answers", "asks") if entry.contract.part else ("records", "reads")
                notes.append(f"kept contract {name}, which nobody {done} any more: {', '.join(whom)} {used} it")
            else:
                await registry.retire(self.connection, name, f"pruned by {self.mine}")
        return notes

    def _kept(self, owner: str) -> Collection[str]:
        return {*self.mine.records.get(owner, ()), *self.mine.answers.get(owner, ())}


def needed(services: Sequence[Service], settings: Settings) -> Topology:
    """The topology of an app under these settings, with the durables of users outside.

    Raises:
        ValueError: a declaration of a consumer or producer outside is wrong.
    """
    chosen = settings.replicas, settings.ack_wait_seconds, settings.split
    return with_outside(streams.topology(services, *chosen, name_of(services)), services, settings.split)


def with_outside(whole: Topology, services: Sequence[Service], split: Partitions) -> Topology:
    """The topology of an app with the durables of users outside; raises what `needed` raises."""
    users, app = outside.users(services), name_of(services)
    return replace(whole, outside=tuple(each for user in users for each in durables_of(user, split, app)))


def _own_breaks(own: Contracts, history: Iterable[Contracts]) -> list[Break]:
    """The contract of what the services do not record or answer (any more, or not yet) stays: that is no break."""
    found = compatibility.check(own, [registry.owned(release, own) for release in history])
    return [each for each in found if not each.only_if_read and each.rule not in REMOVED]


def _misunderstood(used: Contracts, history: Iterable[Contracts]) -> list[Break]:
    """What others recorded or answer, and the classes that read it here refuse; what is asked here, and they refuse."""
    found = compatibility.check(used, [registry.only(release, used) for release in history])
    return [each for each in found if each.side is _other_side(used[each.event]) or each.rule in FACT_RULES.values()]


def _other_side(contract: Contract) -> Side:
    """Who was there before: the endpoint, which reads a request, or else who records or answers."""
    return Side.CONSUMER if contract.part == REQUEST else Side.PRODUCER


def _sentence(each: Break) -> str:
    return f"{each.event} {each.field}: {each.rule}: {each.detail}"


def _downgrade(mine: Deployed, before: Deployed | None) -> list[str]:
    """A sentence if a newer version of the app is deployed."""
    if before is None or not deployed.is_older(mine.version, before.version):
        return []
    return [
        f"downgrade: {mine} takes the place of {before.version}; what that one added stays, and its types wait for it"
    ]
