"""Which worker each form of reaction has."""

from collections.abc import Callable, Mapping

from jetmesh import forms
from jetmesh.forms import Form
from jetmesh.reaction import Reaction
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.broker_crash import Doubt
from jetmesh.runtime.handle import Chain
from jetmesh.runtime.many import many
from jetmesh.runtime.meeting import Meeting, may_meet
from jetmesh.runtime.one_by_one import OneByOne
from jetmesh.runtime.scheduled import Scheduled
from jetmesh.runtime.several import Several
from jetmesh.runtime.single import Single
from jetmesh.runtime.sink import sink
from jetmesh.runtime.worker import Worker


def single(binding: Binding) -> OneByOne:
    """The worker of a reaction to one event."""
    doubt = Doubt(binding.context.connection) if may_act_outside(binding.reaction) else None
    made = Several if not binding.reaction.is_plain else Meeting if may_meet(binding.reaction) else Single
    return OneByOne(binding, Chain(binding, made(binding, is_careful=doubt is not None).react).gates, doubt)


def scheduled(binding: Binding) -> Scheduled:
    """The worker of a reaction to the clock."""
    return Scheduled(binding, single(binding))


def may_act_outside(reaction: Reaction) -> bool:
    """Whether a second run may repeat an effect outside. A reaction that reads its story sees what it did."""
    is_pure = reaction.form.only_outside and not reaction.needs
    return reaction.story is None and bool(reaction.outcomes) and not is_pure


WORKERS: Mapping[Form, Callable[[Binding], Worker]] = {
    forms.ON: single,
    forms.BEGINS: single,
    forms.INTAKE: single,
    forms.AFTER: single,
    forms.AT: single,
    forms.EVERY: scheduled,
    forms.MANY: many,
    forms.LISTEN: single,
    forms.SINK: sink,
}


def worker_of(binding: Binding) -> Worker:
    """The worker of a reaction, at work at once."""
    return WORKERS[binding.reaction.form](binding)
