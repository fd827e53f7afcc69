"""What a mesh on one machine says on the terminal; without colours and bars if the output is none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from jetmesh.service import Service

NAME_WIDTH = 10


class View:
    """Lines on standard output, or on standard error where that is kept for JSON."""

    def __init__(self, services: Sequence[Service], *, stderr: bool = False) -> None:
        self.console = Console(stderr=stderr)
        self._colours = dict(zip((service.name for service in services), cycle(COLOURS), strict=False))

    @contextmanager
    def step(self, name: str, meanwhile: str = "") -> Iterator[list[str]]:
        """A line that appears when the step is done, with the words that were put into the list."""
        words: list[str] = []
        with self.console.status(meanwhile or name):
            yield words
        line = Text.assemble(("✓ ", "green"), (name.ljust(NAME_WIDTH) if words else name, "bold"), "".join(words))
        self.console.print(line, soft_wrap=True)

    def done(self, name: str, words: str) -> None:
        """The line of a step that took no time."""
        with self.step(name) as said:
            said.append(words)

    def warn(self, words: str) -> None:
        """An unexpected event."""
        self.console.print(Text.assemble(("! ", "yellow"), lines(words)), soft_wrap=True)

    def show(self, *parts: RenderableType) -> None:
        """Tables, each after an empty line."""
        for part in parts:
            self.console.print()
            self.console.print(part)

    def entries(self, title: str, entries: Mapping[str, str]) -> None:
        """A title, and a line for each entry."""
        self.console.print(Text(f"\n{title}", "bold"))
        for name, what in entries.items():
            self.console.print(Text.assemble((f"  {name:<{NAME_WIDTH}}", "dim"), what), soft_wrap=True)

    def event(self, event: StoryEvent, began: float) -> None:
        """One event of a story, with the time since it `began`."""
        offset = f"+{(event.time.timestamp() - began) * 1_000:.1f} ms"
        who = f"{event.service:<{NAME_WIDTH + 4}}"
        self.console.print(Text.assemble((f"{offset:>12}  ", "dim"), (who, self._colours[event.service]), event.type))

    @contextmanager
    def bar(self, words: str, total: int) -> Iterator[Callable[..., None]]:
        """A bar for so many things: call `advance=1`, or `completed=` so many, for what is done."""
        columns = (TextColumn("{task.description:<9}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            yield partial(progress.update, progress.add_task(words, total=total))
