"""Places the boxes of a graph in layers, from top to bottom (Sugiyama): the same graph gets the same picture."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from statistics import fmean

SWEEPS = 12
WIDTH_MAX = 880.0
"""Boxes that together are wider stand in several layers: so the picture is readable in a window of 1024 pixels."""
GAP_X, GAP_Y = 22.0, 34.0
PASSAGE = -10.0
"""The width of the place that an edge keeps free in a layer which it passes: with its gap it is less than a gap."""

Edge = tuple[str, str]
Point = tuple[float, float]
Layers = list[list[str]]
Neighbours = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a box."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A box with its place: the left upper corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """The places of all boxes, the points of each edge, and the size of the whole."""

    boxes: Mapping[str, Placed]
    edges: Mapping[Edge, Sequence[Point]]
    width: float
    height: float


@dataclass(slots=True)
class _Graph:
    """The graph without cycles: each edge as a chain of nodes, one in each layer that it passes."""

    sizes: dict[str, Size]
    chains: dict[Edge, list[str]] = field(default_factory=dict)
    layers: Layers = field(default_factory=list)

    @property
    def above(self) -> Neighbours:
        return _neighbours((second, first) for first, second in self._steps())

    @property
    def below(self) -> Neighbours:
        return _neighbours(self._steps())

    def _steps(self) -> Iterable[Edge]:
        return ((a, b) for chain in self.chains.values() for a, b in pairwise(chain))


def drawn(sizes: Mapping[str, Size], edges: Sequence[Edge]) -> Drawing:
    """The graph of these boxes, with edges between them. Edges that close a circle point upwards."""
    edges = [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1]]
    turned = _turned(sizes, edges)
    downward = [edge[::-1] if edge in turned else edge for edge in edges]
    graph = _layered(sizes, edges, downward)
    _order(graph)
    return _placed(graph, sizes, turned)


def _turned(nodes: Iterable[str], edges: Sequence[Edge]) -> set[Edge]:
    """The edges that close a circle, as a search in depth from the first node meets them."""
    after, found = _neighbours(edges), set[Edge]()
    state: dict[str, bool] = {}  # whether the search has left the node
    for start in nodes:
        if start in state:
            continue
        state[start] = False
        path = [(start, iter(after.get(start, ())))]
        while path:
            node, rest = path[-1]
            following = next(rest, None)
            if following is None:
                state[node] = True
                path.pop()
            elif following not in state:
                state[following] = False
                path.append((following, iter(after.get(following, ()))))
            elif not state[following]:
                found.add((node, following))
    return found


def _ranks(nodes: Iterable[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The layer of each node: below all that point to it; a node to which nothing points stands near what follows."""
    before, after = _neighbours((b, a) for a, b in edges), _neighbours(edges)
    ranks: dict[str, int] = {}
    left = list(nodes)
    while left:
        ready = [node for node in left if all(each in ranks for each in before.get(node, ()))]
        ranks |= {node: 1 + max((ranks[each] for each in before.get(node, ())), default=-1) for node in ready}
        left = [node for node in left if node not in ranks]
    for node, following in after.items():
        if node not in before:
            ranks[node] = min(ranks[each] for each in following) - 1
    return ranks


def _narrowed(ranks: Mapping[str, int], sizes: Mapping[str, Size], followed: Container[str]) -> dict[str, int]:
    """The same order of layers, with each that is too wide in several: first what nothing follows, so that few edges
    pass it."""
    layers: Layers = []
    for rank in sorted(set(ranks.values())):
        layer = sorted((node for node in sizes if ranks[node] == rank), key=followed.__contains__)
        layers += _parts(layer, sizes)
    return {node: rank for rank, layer in enumerate(layers) for node in layer}


def _parts(layer: Sequence[str], sizes: Mapping[str, Size]) -> Layers:
    """A layer in as few parts as fit, of about the same width."""
    widths = [sizes[node].width + GAP_X for node in layer]
    part_width = sum(widths) / max(1, ceil(sum(widths) / WIDTH_MAX))
    parts: Layers = []
    ends = 0.0
    for node, width in zip(layer, widths, strict=True):
        if not parts or ends + width / 2 > part_width * len(parts):
            parts.append([])
        parts[-1].append(node)
        ends += width
    return parts


def _layered(sizes: Mapping[str, Size], edges: Sequence[Edge], downward: Sequence[Edge]) -> _Graph:
    ranks = _narrowed(_ranks(sizes, list(dict.fromkeys(downward))), sizes, {first for first, _ in downward})
    graph = _Graph(dict(sizes), layers=[[] for _ in range(max(ranks.values(), default=-1) + 1)])
    for node in sizes:
        graph.layers[ranks[node]].append(node)
    for number, (edge, (first, last)) in enumerate(zip(edges, downward, strict=True)):
        passed = [f"\0{number}.{rank}" for rank in range(ranks[first] + 1, ranks[last])]
        for rank, name in enumerate(passed, ranks[first] + 1):
            graph.sizes[name] = Size(PASSAGE, 0)
            graph.layers[rank].append(name)
        graph.chains[edge] = [first, *passed, last]
    for layer in graph.layers:
        height = max(graph.sizes[node].height for node in layer)
        graph.sizes |= {node: Size(PASSAGE, height) for node in layer if node not in sizes}
    return graph


def _order(graph: _Graph) -> None:
    """Order each layer so that few edges cross: nodes stand where their neighbours do on average."""
    above, below = graph.above, graph.below
    best, fewest = graph.layers, _crossings(graph.layers, below)
    layers = [list(layer) for layer in graph.layers]
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for number in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            beside = layers[number - 1] if down else layers[number + 1]
            layers[number] = _by_barycentre(layers[number], beside, above if down else below)
        if (crossings := _crossings(layers, below)) < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    graph.layers = best


def _by_barycentre(layer: Sequence[str], beside: Sequence[str], neighbours: Neighbours) -> list[str]:
    places = {node: place for place, node in enumerate(beside)}

    def wanted(place: int, node: str) -> float:
        mine = [places[each] for each in neighbours.get(node, ()) if each in places]
        return fmean(mine) if mine else float(place)

    keys = {node: (wanted(place, node), place) for place, node in enumerate(layer)}
    return sorted(layer, key=keys.__getitem__)


def _crossings(layers: Layers, below: Neighbours) -> int:
    """How many pairs of edges cross between neighbouring layers."""
    count = 0
    for upper, lower in pairwise(layers):
        places = {node: place for place, node in enumerate(lower)}
        ends = [places[each] for node in upper for each in sorted(below.get(node, ()), key=places.__getitem__)]
        count += sum(later < earlier for place, earlier in enumerate(ends) for later in ends[place + 1 :])
    return count


def _placed(graph: _Graph, sizes: Mapping[str, Size], turned: set[Edge]) -> Drawing:
    middles = _columns(graph)
    tops, height = _rows(graph)
    boxes = {
        node: Placed(middles[node] - size.width / 2, tops[node], size.width, size.height)
        for node, size in sizes.items()
    }
    edges = {}
    for edge, chain in graph.chains.items():
        ends = [(middles[node], y) for node in chain for y in (tops[node], tops[node] + graph.sizes[node].height)]
        points = ends[1:-1]
        edges[edge] = points[::-1] if edge in turned else points
    width = max((box.x + box.width for box in boxes.values()), default=0)
    return Drawing(boxes, edges, max([width, *(x for points in edges.values() for x, _ in points)]) + GAP_X, height)


def _rows(graph: _Graph) -> tuple[dict[str, float], float]:
    """The upper edge of each node, and the height of the whole."""
    tops, y = {}, GAP_Y / 2
    for layer in graph.layers:
        height = max(graph.sizes[node].height for node in layer)
        for node in layer:
            tops[node] = y + (height - graph.sizes[node].height) / 2
        y += height + GAP_Y
    return tops, y - GAP_Y / 2


def _columns(graph: _Graph) -> dict[str, float]:
    """The middle of each node: near those of its neighbours, and beside those of its layer."""
    above, below = graph.above, graph.below
    middles: dict[str, float] = {}
    for layer in graph.layers:
        middles |= _beside(layer, dict.fromkeys(layer, 0.0), graph.sizes)
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for layer in graph.layers if sweep % 2 == 0 else graph.layers[::-1]:
            wanted = {node: _mean(middles, neighbours.get(node, ()), middles[node]) for node in layer}
            middles |= _beside(layer, wanted, graph.sizes)
    middles = _together(graph, middles)
    left = min((middles[node] - graph.sizes[node].width / 2 for node in middles), default=0)
    return {node: middle - left + GAP_X for node, middle in middles.items()}


def _together(graph: _Graph, middles: dict[str, float]) -> dict[str, float]:
    """The same middles, moved together until the picture is as wide as its widest layer."""
    width = max((sum(graph.sizes[node].width + GAP_X for node in layer) - GAP_X for layer in graph.layers), default=0)
    first, last = min(middles.values(), default=0), max(middles.values(), default=0)
    share = min(1.0, width / (last - first)) if last > first else 1.0
    found: dict[str, float] = {}
    for layer in graph.layers:
        wanted = {node: (middles[node] - (first + last) / 2) * share + width / 2 for node in layer}
        found |= _within(layer, _beside(layer, wanted, graph.sizes), graph.sizes, width)
    return found


def _within(
    layer: Sequence[str], middles: Mapping[str, float], sizes: Mapping[str, Size], width: float
) -> dict[str, float]:
    """The same middles, none of them beyond the width."""
    room = {node: (sizes[node].width + GAP_X) / 2 for node in layer}
    found: dict[str, float] = {}
    edge = width + GAP_X / 2
    for node in reversed(layer):
        found[node] = min(middles[node], edge - room[node])
        edge = found[node] - room[node]
    edge = -GAP_X / 2
    for node in layer:
        found[node] = max(found[node], edge + room[node])
        edge = found[node] + room[node]
    return found


def _mean(middles: Mapping[str, float], nodes: Sequence[str], otherwise: float) -> float:
    return fmean(middles[node] for node in nodes) if nodes else otherwise


def _beside(layer: Sequence[str], wanted: Mapping[str, float], sizes: Mapping[str, Size]) -> dict[str, float]:
    """Middles near the wanted ones, in the order of the layer and without overlap: what is pushed to the right and what
    is pushed to the left, in the middle."""
    right, left = _pushed(layer, wanted, sizes), _pushed(layer[::-1], {n: -x for n, x in wanted.items()}, sizes)
    return {node: (right[node] - left[node]) / 2 for node in layer}


def _pushed(layer: Sequence[str], wanted: Mapping[str, float], sizes: Mapping[str, Size]) -> dict[str, float]:
    found: dict[str, float] = {}
    edge = float("-inf")
    for node in layer:
        half = sizes[node].width / 2
        found[node] = max(wanted[node], edge + GAP_X + half)
        edge = found[node] + half
    return found


def _neighbours(edges: Iterable[Edge]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for first, second in edges:
        found[first].append(second)
    return dict(found)
