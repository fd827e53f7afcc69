"""Tables and colours for the terminal. Text from outside is shown as data and controls nothing."""

from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from jetmesh.common.terminal import prepare
from jetmesh.common.visible import lines, visible


def field(text: object, style: str = "") -> Text:
    """A field for a cell of a table or a part of a line."""
    return Text(visible(text), style)


class Console(rich.console.Console):
    """Prints what rich lays out. It reads no markup, because markup may come from outside."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, **{"highlight": False, "markup": False, "emoji": False, **options})
        prepare([self.file])

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments; only rich's own may hold control sequences."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(lines(segment.text), segment.style)
