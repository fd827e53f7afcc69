"""Which events have which readers and writers, and which requests are asked by whom: the services, and the consumers
and producers of other teams."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from jetmesh.common.extras import brought_by
from jetmesh.contracts.compatibility import Break, Side
from jetmesh.contracts.request_contract import REQUEST
from jetmesh.contracts.schema import Contract, Contracts, fields
from jetmesh.service import Service
from jetmesh.since import FORMS, Since, is_since
from jetmesh.since import read as read_since

Model = TypeVar("Model", bound=BaseModel)


def _since(said: Any) -> Any:
    """What a file says: YAML reads a time by itself."""
    try:
        return said if is_since(said) else read_since(str(said))
    except ValueError:
        raise ValueError(f"write {FORMS}") from None


class ReaderDurable(BaseModel):
    """A durable that a team pulls: events of one owner, and where it begins when it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    events: tuple[str, ...]
    since: Annotated[Since, BeforeValidator(_since)] = "beginning"


class Reader(BaseModel):
    """The events that another team reads: `contracts/consumers/<team>.yaml`.

    `events` maps a type to the fields that the team reads (`lines[].sku`; a field includes all fields in it). With
    `durables`, `follows` or `asks` the team has an account of its own, and may do that and nothing else: pull its
    durables, read the newest event of a type about a key, ask endpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    team: str
    contact: str
    purpose: str = ""
    events: Mapping[str, tuple[str, ...]]
    durables: Mapping[str, ReaderDurable] = {}
    follows: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.team} ({self.contact})"

    def reads(self, event: str, field: str) -> bool:
        """Whether this team reads `field` (empty: the whole event)."""
        if event not in self.events or not field:
            return event in self.events
        return any(_within(field, read) or _within(read, field) for read in self.events[event])


class Producer(BaseModel):
    """The events that another team publishes from outside, and the endpoints that it asks:
    `contracts/producers/<team>.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    team: str
    contact: str
    purpose: str = ""
    events: tuple[str, ...]
    asks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.team} ({self.contact})"


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


def registered(folder: Path) -> list[Reader]:
    """The consumers registered in a folder of YAML files; none where there is no folder.

    Raises:
        ValueError: a file is invalid; the text names the file and the member.
    """
    return [parsed(file, Reader) for file in sorted(folder.glob("*.yaml"))]


def parsed(file: Path, model: type[Model]) -> Model:
    """What a YAML file says.

    Raises:
        ValueError: it is invalid; the text names the file, the member, and the members that there are.
    """
    with brought_by("contracts", str(file)):
        import yaml
    try:
        return model.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as invalid:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in invalid.errors())
        raise ValueError(f"{file}: {wrong}; it may have {', '.join(model.model_fields)}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: {error}") from None


def strangers(consumer: Reader, contracts: Contracts) -> list[str]:
    """Fields that a registered consumer reads and no contract has: misspelled, or removed since."""
    wrong = [f"no event {name}" for name in consumer.events if name not in contracts]
    for name in consumer.events.keys() & contracts.keys():
        known = {field.path for field in fields(contracts[name].consumer)}
        wrong += [f"{name} has no field {field}" for field in consumer.events[name] if field not in known]
    return wrong


@dataclass(frozen=True, slots=True)
class Readers:
    """All known writers and readers of events, and askers of requests."""

    services: Sequence[Service]
    consumers: Sequence[Reader]
    producers: Sequence[Producer] = ()

    def of(self, event: str) -> list[str]:
        """All readers of a type."""
        return [*self.services_reading(event), *(str(each) for each in self.consumers if event in each.events)]

    def services_reading(self, event: str) -> list[str]:
        """The services with a reaction to a type; a sink stores the bytes and does not depend on the schema."""
        return [s.name for s in self.services if any(e.type == event for r in s.reactions for e in r.events)]

    def reactions(self, event: str) -> list[str]:
        """The reactions to a type, and the sinks."""
        return [
            f"{reaction.service}.{reaction.name}"
            for service in self.services
            for reaction in service.reactions
            if reaction.form.keeps_all or any(read.type == event for read in reaction.events)
        ]

    def asking(self, request: str) -> list[str]:
        """All who ask an endpoint, by the type of the request."""
        services = [s.name for s in self.services if any(called.type == request for called in s.calls)]
        teams: tuple[Reader | Producer, ...] = (*self.consumers, *self.producers)
        return [*services, *(str(each) for each in teams if request in each.asks)]

    def broken(self, found: Break, contract: Contract) -> list[str]:
        """Who is affected by a break: the old consumers that read the field, or the old producers."""
        if contract.part:
            is_asked = (contract.part == REQUEST) == (found.side is Side.PRODUCER)
            return self.asking(contract.about) if is_asked else [contract.owner]
        if found.side is Side.PRODUCER:
            teams = [str(each) for each in self.producers if contract.type in each.events]
            outside = [f"any client that publishes {contract.type} from outside"] if contract.from_outside else []
            return [contract.owner, *teams, *outside]
        teams = [str(each) for each in self.consumers if each.reads(found.event, found.field)]
        return teams if found.only_if_read else [*self.services_reading(found.event), *teams]


def counted(found: Iterable[Break], readers: Readers, old: Contracts) -> list[tuple[Break, list[str]]]:
    """Each break with those it affects, without the breaks that matter only to readers and have none."""
    pairs = [(each, readers.broken(each, old[each.event])) for each in found]
    return [(each, broken) for each, broken in pairs if broken or not each.only_if_read]
