"""Which worker each form of reaction has."""

from collections.abc import Callable, Mapping

from jetmesh import forms
from jetmesh.forms import Form
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.many import many
from jetmesh.runtime.single import single
from jetmesh.runtime.sink import sink
from jetmesh.runtime.worker import Worker

WORKERS: Mapping[Form, Callable[[Binding], Worker]] = {
    forms.ON: single,
    forms.BEGINS: single,
    forms.INTAKE: single,
    forms.AFTER: single,
    forms.MANY: many,
    forms.SINK: sink,
}


def worker_of(binding: Binding) -> Worker:
    """The worker of a reaction, at work at once."""
    return WORKERS[binding.reaction.form](binding)
