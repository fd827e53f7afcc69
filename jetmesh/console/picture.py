"""The flow of an app as a picture: its boxes, their places and the paths between them, from the declarations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jetmesh.console.layout import Drawing, Edge, Placed, Point, Size, drawn
from jetmesh.reaction import Reaction
from jetmesh.service import Service

REACTION = Size(250, 96)
NOTE_HEIGHT = 17.0
"""What a line beside the figures adds to the box of a reaction."""
EVENT_HEIGHT = 26.0
CHARACTER = 6.7
"""The width of a character of the small font, in pixels."""


@dataclass(frozen=True, slots=True)
class ReactionBox:
    """A reaction in the picture."""

    id: str
    service: str
    name: str
    meaning: str
    place: Placed
    is_deadline: bool
    """Whether what it was delivered rests by design."""
    takes: str
    """What it takes beside the events that point to it: everything."""
    needs: str
    """What its circuit breaker is about; empty: it has none."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    """The titles of the boxes that point to it, and of those to which it points."""


@dataclass(frozen=True, slots=True)
class EventBox:
    """An event in the picture; `kind` is a word for its class: inside, outside, foreign, ending, clock."""

    id: str
    name: str
    kind: str
    place: Placed


@dataclass(frozen=True, slots=True)
class Arrow:
    """A path from one box to another."""

    first: str
    last: str
    path: str
    is_delayed: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole picture."""

    reactions: tuple[ReactionBox, ...]
    events: tuple[EventBox, ...]
    arrows: tuple[Arrow, ...]
    width: float
    height: float

    @property
    def in_order(self) -> Sequence[ReactionBox | EventBox]:
        """The boxes as one reads them: from top to bottom, and from left to right."""
        return sorted([*self.events, *self.reactions], key=_as_read)

    @property
    def reactions_in_order(self) -> Sequence[ReactionBox]:
        """The reactions as one reads them."""
        return sorted(self.reactions, key=_as_read)


def picture(services: Sequence[Service]) -> Picture:
    """The flow of these services."""
    reactions = {_id(each): each for service in services for each in service.reactions}
    events: dict[str, tuple[str, str]] = {}
    edges: list[Edge] = []
    for name, reaction in reactions.items():
        for node, title, kind in _taken(reaction):
            events.setdefault(node, (title, kind))
            edges.append((node, name))
        for event in reaction.outcomes:
            events[f"e:{event.type}"] = (event.type, "ending" if getattr(event, "ending", False) else "inside")
            edges.append((name, f"e:{event.type}"))
    sizes = {name: _size(reaction) for name, reaction in reactions.items()}
    sizes |= {node: Size(len(title) * CHARACTER + 26, EVENT_HEIGHT) for node, (title, _) in events.items()}
    drawing = drawn(_in_order(sizes, edges), edges)
    titles = {node: title for node, (title, _) in events.items()}
    return Picture(
        tuple(_reaction_box(name, each, drawing, titles) for name, each in reactions.items()),
        tuple(EventBox(node, title, kind, drawing.boxes[node]) for node, (title, kind) in events.items()),
        tuple(_arrow(edge, points, reactions) for edge, points in drawing.edges.items()),
        round(drawing.width),
        round(drawing.height),
    )


def _as_read(box: ReactionBox | EventBox) -> tuple[float, float]:
    return box.place.y + box.place.height / 2, box.place.x


def _in_order(sizes: dict[str, Size], edges: Sequence[Edge]) -> dict[str, Size]:
    """The nodes as the edges name them, so that what comes from outside is met first, and circles are cut behind it."""
    named = dict.fromkeys(node for edge in edges for node in edge)
    targets = {last for _, last in edges}
    begins = [node for node in named if node not in targets]
    return {node: sizes[node] for node in dict.fromkeys([*begins, *named, *sizes])}


def _id(reaction: Reaction) -> str:
    return f"{reaction.service}.{reaction.name}"


def _taken(reaction: Reaction) -> Iterable[tuple[str, str, str]]:
    """What points to a reaction: the node, its title and its kind."""
    if reaction.form.keeps_all:
        return
    if reaction.listens:
        yield (
            f"s:{reaction.listens.stream}:{reaction.listens.pattern}",
            f"{reaction.listens.pattern} in {reaction.listens.stream}",
            "foreign",
        )
        return
    if reaction.schedule:
        yield f"c:{reaction.schedule}", str(reaction.schedule), "clock"
    for event in reaction.events:
        if reaction.takes_from_outside(event):
            yield f"o:{event.type}", f"{event.type} from outside", "outside"
        else:
            yield f"e:{event.type}", event.type, "inside"


def _size(reaction: Reaction) -> Size:
    notes = bool(reaction.needed) + reaction.form.keeps_all
    return Size(REACTION.width, REACTION.height + notes * NOTE_HEIGHT)


def _reaction_box(name: str, reaction: Reaction, drawing: Drawing, titles: Mapping[str, str]) -> ReactionBox:
    takes = "takes everything" if reaction.form.keeps_all else ""
    return ReactionBox(
        name, reaction.service, reaction.name, reaction.meaning, drawing.boxes[name], reaction.form.is_delayed, takes,
        reaction.needed,
        tuple(titles[first] for first, last in drawing.edges if last == name),
        tuple(titles[last] for first, last in drawing.edges if first == name),
    )  # fmt: skip


def _arrow(edge: Edge, points: Sequence[Point], reactions: dict[str, Reaction]) -> Arrow:
    reaction = reactions.get(edge[1])
    return Arrow(*edge, _path(points), bool(reaction and (reaction.delay or reaction.at)))


def _path(points: Sequence[Point]) -> str:
    """A smooth line through the points, as SVG writes it."""
    (x, y), *rest = points
    parts = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return " ".join(parts)
