"""The demo's output: a few lines on a terminal, without colours and bars if the output is not a terminal."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from jetmesh.common.console import Console
from jetmesh.common.visible import lines
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.timeline import COLOURS
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.fleet import Fleet

COLOUR_OF = dict(zip((service.name for service in SERVICES), cycle(COLOURS)))
NAME_WIDTH = 10


class Voice:
    """Speaks to standard output, or to standard error where that is kept for JSON."""

    def __init__(self, *, aside: bool) -> None:
        self.console = Console(stderr=aside)

    @contextmanager
    def step(self, name: str, meanwhile: str = "") -> Iterator[list[str]]:
        """A line that appears when the step is done; what is put into the list is said beside its name."""
        said: list[str] = []
        with self.console.status(meanwhile or name):
            yield said
        words = "".join(said)
        line = Text.assemble(("✓ ", "green"), (name.ljust(NAME_WIDTH) if words else name, "bold"), words)
        self.console.print(line, soft_wrap=True)

    def tell(self, words: str) -> None:
        """An unexpected event."""
        self.console.print(Text.assemble(("! ", "yellow"), lines(words)), soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A table, between empty lines."""
        self.console.print()
        self.console.print(what)

    def opening(self, order_id: str) -> None:
        """The title of a story that is about to happen."""
        words = "  placed over HTTP; its story as it happens:"
        self.console.print(Text.assemble("\n", (order_id, "bold"), (words, "dim")))

    def event(self, event: StoryEvent, began: float) -> None:
        """One event of a story, with the time since the story began."""
        offset = f"+{(event.time.timestamp() - began) * 1_000:.1f} ms"
        who = f"{event.service:<{NAME_WIDTH + 4}}"
        self.console.print(Text.assemble((f"{offset:>12}  ", "dim"), (who, COLOUR_OF[event.service]), event.type))

    def invitation(self, fleet: Fleet, order_id: str, next_order: OrderPlaced, nats_args: Sequence[str]) -> None:
        """Where everything is, and what to try."""
        folder = fleet.mesh.state.folder
        state = "" if str(folder) == ".jetmesh" else f" --state {shlex.quote(str(folder))}"
        publish = ["nats", *nats_args, "pub", next_order.type, next_order.model_dump_json()]
        self._list("Look", {
            "API": f"{fleet.http_url}/docs",
            "broker": fleet.mesh.monitor_url or fleet.mesh.nats_url,
            "logs": f"{fleet.mesh.state.logs}/",
        })  # fmt: skip
        self._list("Try", {
            "story": f"jetmesh order {order_id}{state}",
            "figures": f"jetmesh report{state}",
            "books": f"jetmesh audit{state}",
        })  # fmt: skip
        by_hand = f"{shlex.join(publish)}\njetmesh order {next_order.order_id}{state}"
        self.console.print(Text("\nAn order by hand, with the nats CLI, and its story", "bold"))
        self.console.print(Text(by_hand), soft_wrap=True)
        words = f" stops all of it; the data stay in {folder}."
        self.console.print(Text.assemble("\n", ("Ctrl-C", "bold"), words))

    @contextmanager
    def bar(self, words: str, total: int) -> Iterator[Callable[..., None]]:
        """A bar for so many things: call `advance=1`, or `completed=` so many, for what is done."""
        columns = (TextColumn("{task.description:<9}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            yield partial(progress.update, progress.add_task(words, total=total))

    def _list(self, title: str, entries: dict[str, str]) -> None:
        self.console.print(Text(f"\n{title}", "bold"))
        for name, what in entries.items():
            self.console.print(Text.assemble((f"  {name:<{NAME_WIDTH}}", "dim"), what), soft_wrap=True)
