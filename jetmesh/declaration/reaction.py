"""The reaction that a function declares."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jetmesh.declaration import options as checks
from jetmesh.declaration.annotations import members, several
from jetmesh.declaration.kinds import kinds
from jetmesh.declaration.signature import Signature
from jetmesh.event import EventType
from jetmesh.failure import Retry
from jetmesh.foreign import Listens
from jetmesh.forms import Form
from jetmesh.reaction import DeclarationError, Pool, Reaction


def declare_reaction(signature: Signature, dependencies: type | None, form: Form, given: Mapping[str, Any]) -> Reaction:
    """The reaction of a function's signature and the options of its decorator.

    Raises:
        DeclarationError: one of them is wrong.
    """
    first, *others = signature.parameters()
    signature.require_none(checks.needs(signature.service, dependencies, given))
    signature.require_none(checks.pool(signature.is_async, given))
    signature.require_none(mistake for check in checks.BY_THEMSELVES for mistake in check(form, given))
    options = _meant(form, given)
    story, arguments = signature.arguments(others, dependencies)
    events, returned = signature.events(form, first), signature.returned(form)
    named = members(signature.hints["return"])
    reaction = Reaction(
        service=signature.service,
        name=signature.name,
        form=form,
        function=signature.function,
        events=events,
        outcomes=tuple(dict.fromkeys(event for together in returned for event in together)),
        story=story,
        arguments=arguments,
        is_optional=types.NoneType in named,
        is_several=not form.is_joint and any(several(member) for member in named),
        **options | _made_of(options, events, signature),
    )
    signature.require_none(mistake for check in checks.OF_A_REACTION for mistake in check(reaction))
    signature.require_none(kinds(reaction, returned))
    return reaction


def _meant(form: Form, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as a reaction has them; a sink tries without an end."""
    options = {**({"retry": Retry(attempts=None)} if form.keeps_all else {}), **given}
    former = options.get("formerly", ())
    options["formerly"] = (former,) if isinstance(former, str) else tuple(former)
    urgent = options.get("urgent", ())
    options["urgent"] = tuple(urgent) if isinstance(urgent, Sequence) else (urgent,)
    options["middlewares"] = tuple(options.get("middlewares", ()))
    return options


def _made_of(options: dict[str, Any], events: Sequence[EventType], signature: Signature) -> dict[str, Any]:
    """The options with what they mean: a plain function runs in threads, a class that decodes reads JSON."""
    pool: Pool | None = None if signature.is_async else options.get("pool") or "threads"
    listens: Listens | None = options.get("listens")
    if listens is not None and listens.decode is events[0]:
        listens = replace(listens, decode=None)
    return {"pool": pool, "listens": listens}


def require_own_names(reaction: Reaction, others: Sequence[Reaction]) -> None:
    """Check that no other reaction has, or had, one of its names.

    Raises:
        DeclarationError: one has.
    """
    name = f"{reaction.service}.{reaction.name}"
    if any(other.name == reaction.name for other in others):
        raise DeclarationError(
            f"{name}: a reaction of this name is declared already; its durable consumer would be shared. "
            f"Rename one of the functions."
        )
    for mine, theirs in [(reaction, other) for other in others] + [(other, reaction) for other in others]:
        if taken := {*mine.formerly} & {theirs.name, *theirs.formerly}:
            raise DeclarationError(
                f"{name}: both {mine.name} and {theirs.name} claim the name {min(taken)}; one durable can't go on as "
                f"two. Take it out of `formerly` of {mine.name}."
            )
    if reaction.name in reaction.formerly:
        raise DeclarationError(f"{name} declares formerly={reaction.name!r}, its own name; write the one before.")
