"""The signature of one function: its annotations, and what they name."""

import inspect
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_type_hints

from jetmesh.blob import Blobs
from jetmesh.declaration.annotations import element, members, names, several
from jetmesh.event import TYPE, EventType, Recorded, entity_of
from jetmesh.event_model import is_token
from jetmesh.forms import Form
from jetmesh.middleware import Delivery
from jetmesh.reaction import DeclarationError
from jetmesh.schedule import Tick
from jetmesh.snapshot import Snapshot

Mistake = tuple[str, str]
"""What is wrong with a declaration, and the fix."""

RESERVED_ENTITIES = ("dead", "dead_log", "due", "jetmesh", "timers")
"""The first words of the subjects that the mesh itself uses (`jetmesh.topology.names`)."""


class Signature:
    """One function of a service, and what its annotations name."""

    def __init__(self, service: str, function: Callable[..., Any]) -> None:
        self.service, self.function = service, function
        self.name = getattr(function, "__name__", repr(function))
        if isinstance(function, type) or not hasattr(function, "__annotations__"):
            raise self.error(
                "is no function", f"write the decorator of {service} above a function, `def` or `async def`"
            )
        self.is_async = inspect.iscoroutinefunction(function)
        try:
            self.hints = get_type_hints(function)
        except NameError as unknown:
            raise self.error(f"has an annotation that can't be resolved ({unknown})", "import the type") from None

    def error(self, problem: str, fix: str) -> DeclarationError:
        """The error for a mistake of this function."""
        return DeclarationError(f"{self.service}.{self.name} {problem}; {fix}.")

    def require_none(self, mistakes: Iterable[Mistake]) -> None:
        """Raise the first mistake, if there is one."""
        for problem, fix in mistakes:
            raise self.error(problem, fix)

    def parameters(self) -> list[str]:
        """The names of its parameters, all of them annotated."""
        parameters = list(inspect.signature(self.function).parameters)
        if not parameters:
            raise self.error("takes no event", "let its first parameter be the event that it reacts to")
        for name in (*parameters, "return"):
            if name not in self.hints:
                what = "its return type" if name == "return" else f"parameter `{name}`"
                raise self.error(f"does not annotate {what}", f"annotate {what}: the signature is the wiring")
        return parameters

    def events(self, form: Form, parameter: str) -> tuple[EventType, ...]:
        """The events that it takes; none for a sink and for a reaction to the clock."""
        hint = self.hints[parameter]
        if form.keeps_all:
            if element(hint) is not Recorded:
                raise self.error(f"takes {hint}", "a sink takes `Sequence[Recorded]`")
            return ()
        if form.is_scheduled:
            if hint is not Tick:
                raise self.error(f"takes {hint}", "a reaction to the clock takes a `jetmesh.Tick`")
            return ()
        if hint is Tick:
            raise self.error("takes a Tick", f"declare when it is due: `@{self.service}.every(…)`")
        taken = self._held(form, hint, "takes", "takes a Sequence of events")
        events = tuple(self._event(member, f"parameter `{parameter}`") for member in members(taken))
        if form.only_outside and not all(event.owner == self.service and event.from_outside for event in events):
            raise self.error(
                f"is an intake of {names(events)}",
                f"take an event of {self.service}'s own that is declared `from_outside=True`",
            )
        return events

    def returned(self, form: Form) -> list[tuple[EventType, ...]]:
        """What it may record, a tuple for each member of its return type: one event, those that are recorded together,
        or none."""
        hint = self._held(form, self.hints["return"], "returns", "returns a list of events")
        returned = [self._together(member) for member in members(hint)]
        for outcome in (event for together in returned for event in together):
            if outcome.owner != self.service:
                raise self.error(
                    f"returns {outcome.__name__}, which {outcome.owner} owns",
                    f"return an event that {self.service} owns",
                )
        return returned

    def arguments(self, parameters: Sequence[str], dependencies: type | None) -> tuple[type | None, tuple[str, ...]]:
        """The fold of its story, and the argument for each of these parameters: the story, the dependencies, the
        snapshot, the delivery or the blobs."""
        story, arguments = None, []
        for name in parameters:
            hint = self.hints[name]
            if hint is dependencies:
                arguments.append("dependencies")
            elif hint is Snapshot:
                arguments.append("snapshot")
            elif hint is Delivery:
                arguments.append("delivery")
            elif hint is Blobs:
                arguments.append("blobs")
            elif hasattr(hint, "evolve"):
                story = hint
                arguments.append("story")
            else:
                raise self.error(
                    f"has a parameter `{name}: {hint}` that the runtime can't fill",
                    "annotate it with the service's dependencies, with a fold (a class with `evolve`), with Delivery "
                    "or Blobs, or, in a reaction to many, with Snapshot",
                )
        return story, tuple(arguments)

    def _held(self, form: Form, hint: Any, verb: str, rule: str) -> Any:
        """The hint itself or, for a reaction to many, what its sequence holds."""
        if not form.is_joint:
            return hint
        held = element(hint)
        if held is None:
            raise self.error(f"{verb} {hint}", f"a reaction to many {rule}")
        return held

    def _together(self, member: Any) -> tuple[EventType, ...]:
        named = [hint for one in several(member) or (member,) for hint in members(one)]
        return tuple(self._event(hint, "its return type") for hint in named if hint not in (types.NoneType, Ellipsis))

    def _event(self, hint: Any, where: str) -> EventType:
        if not (isinstance(hint, type) and hasattr(hint, "type") and hasattr(hint, "read")):
            raise self.error(f"names {hint!r} in {where}, which is not an event", "name an event's class")
        event: EventType = hint
        if not TYPE.fullmatch(event.type) or entity_of(event) in RESERVED_ENTITIES:
            raise self.error(
                f"names {event.__name__} in {where}, whose type is {event.type!r}",
                "write <entity>.<event>, two words of small letters, digits and underscores; the mesh itself uses the "
                f"entities {', '.join(RESERVED_ENTITIES)}",
            )
        if event.owner == self.service and not is_token(event, event.key_field):
            raise self.error(
                f"names {event.__name__} in {where}, whose key_field {event.key_field!r} is no field that is a Token",
                "let the key be a `Token`: it is a part of a subject, and one that is not could name other subjects",
            )
        return event
