"""The forms of a reaction, as data: how deliveries reach its function, and what guards its recording.

Everything that depends on the form asks one of these flags; only `jetmesh.runtime.workers` asks which form it is.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """One form; `decorator` is the name of the method of `Service` that declares it."""

    decorator: str
    begins: bool = False
    """Its event begins the story of its key: nothing is read before, and a story that is there settles it."""
    takes_outside: bool = False
    """It may take messages from outside, published without a key in the subject."""
    only_outside: bool = False
    """It takes nothing else."""
    is_delayed: bool = False
    """Its durable reads the stream late: a deadline."""
    is_joint: bool = False
    """It takes many events at once, decides them together and records them in one atomic batch."""
    is_timed: bool = False
    """A field of its event says when it is handled."""
    is_scheduled: bool = False
    """It reacts to the clock: to the ticks of its schedule."""
    is_foreign: bool = False
    """It takes messages of a stream that is not ours, which a decoder makes events of."""
    keeps_all: bool = False
    """It takes whatever is recorded, in batches, into a store, and records nothing."""
    options: tuple[str, ...] = ()
    """What its decorator takes beside the options that all have."""


ON = Form("on")
BEGINS = Form("begins", begins=True)
INTAKE = Form("intake", begins=True, takes_outside=True, only_outside=True)
AFTER = Form("after", is_delayed=True, options=("minutes", "seconds"))
AT = Form("at", is_timed=True, options=("field",))
EVERY = Form("every", is_scheduled=True, options=("cron", "zone", "missed"))
MANY = Form("on_many", takes_outside=True, is_joint=True)
LISTEN = Form("listen", is_foreign=True, options=("subject", "stream", "decode"))
SINK = Form("sink", keeps_all=True)
