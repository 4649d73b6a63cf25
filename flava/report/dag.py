"""The plan's stages as a picture: a box a stage, left to right, its jobs by rule."""

from __future__ import annotations

from dataclasses import dataclass

from flava.jobs import PlanGraph, PlanStage
from flava.report.html import paragraph, quantity, text

GAP, ROOM, LANE = 38, 10, 9  # pixels: between layers, between boxes, of an arrow between boxes
HEAD, LINE, PAD = 26, 15, 8  # of a box's first line, of each other, around text
LETTER, NUMBER = 7.2, 24  # of a letter of a stage's name, of a number
NOTE = (
    "A box is a stage, with the number of jobs that this study plans for it and for each of its "
    "rules; an arrow leads to a stage that reads files of the one before. Arrows that follow from "
    "others are left out."
)

Item = tuple[str, str]  # (stage, "") of a box, (stage, stage) of an arrow that passes a layer


@dataclass(frozen=True)
class Place:
    """A box, or where an arrow passes between boxes, in pixels."""

    x: float
    y: float
    height: float

    @property
    def middle(self) -> float:
        """Where arrows begin and end."""
        return self.y + self.height / 2


Places = dict[tuple[int, Item], Place]  # by layer, from left to right


def dag(graph: PlanGraph) -> str:
    """The picture as inline SVG in a frame that scrolls, with what it shows in words."""
    jobs = sum(stage.total for stage in graph.stages)
    count = f"{quantity(jobs, 'job')} in {quantity(len(graph.stages), 'stage')}."
    wide = 2 * PAD + NUMBER + LETTER * max(len(stage.name) for stage in graph.stages)
    found = layers(graph)
    places = place(graph, found, wide)
    width = len(found) * (wide + GAP) - GAP + 1
    height = max(spot.y + spot.height for spot in places.values()) + ROOM
    boxes = {item[0]: spot for (_, item), spot in places.items() if not item[1]}
    arrows = "".join(
        _arrow([boxes[before], *_between(before, name, places), boxes[name]], wide)
        for name, needed in arrows_of(graph).items()
        for before in needed
    )
    shown = "".join(_box(boxes[stage.name], wide, stage) for stage in graph.stages)
    return (
        f"{paragraph(f'{count} {NOTE}', 'small')}"
        '<div class="scroll dag" tabindex="0"><svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="Graph of the plan: {text(count)}" width="{width:g}" height="{height:g}" '
        f'viewBox="-0.5 -0.5 {width:g} {height:g}">'
        '<defs><marker id="arrow" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L6 3L0 6z"/></marker></defs>'
        f"{arrows}{shown}</svg></div>"
    )


def arrows_of(graph: PlanGraph) -> dict[str, list[str]]:
    """Stage -> those before it from which no longer way leads to it."""
    before: dict[str, set[str]] = {}
    found = {}
    for stage in graph.stages:
        earlier = [before[other] for other in stage.after]
        before[stage.name] = set(stage.after).union(*earlier)
        found[stage.name] = [other for other in stage.after if not any(other in e for e in earlier)]
    return found


def layers(graph: PlanGraph) -> list[list[Item]]:
    """Boxes by how many stages come after them at most, with the arrows that pass them.

    The last layer has the stages that end the plan. In the others, what leads higher stands higher.
    """
    needed, left = arrows_of(graph), dict[str, int]()
    for name in reversed(needed):
        users = [other for other, before in needed.items() if name in before]
        left[name] = max((left[user] + 1 for user in users), default=0)
    pairs = [(before, name) for name, found in needed.items() for before in found]
    found: list[list[Item]] = []
    for rank in range(max(left.values()) + 1):
        items: list[Item] = [(name, "") for name in needed if left[name] == rank]
        items += [pair for pair in pairs if left[pair[1]] < rank < left[pair[0]]]
        found.append(_sorted(items, found[-1], pairs) if found else items)
    return found[::-1]


def _sorted(items: list[Item], after: list[Item], pairs: list[Item]) -> list[Item]:
    """By the mean place, in the layer after it, of what an item leads to."""

    def key(item: Item) -> float:
        ways = [item] if item[1] else [pair for pair in pairs if pair[0] == item[0]]
        spots = [after.index(pair if pair in after else (pair[1], "")) for pair in ways]
        return sum(spots) / len(spots)

    return sorted(items, key=key)


def place(graph: PlanGraph, found: list[list[Item]], wide: float) -> Places:
    """Where everything of each layer is; each layer stands in the middle of the highest."""
    stages = graph.named()
    heights = {
        item: LANE if item[1] else _height(stages[item[0]]) + ROOM
        for items in found
        for item in items
    }
    totals = [sum(heights[item] for item in items) for items in found]
    places: Places = {}
    for rank, (items, total) in enumerate(zip(found, totals, strict=True)):
        y = (max(totals) - total) / 2
        for item in items:
            room = 0 if item[1] else ROOM
            places[rank, item] = Place(rank * (wide + GAP), y + room / 2, heights[item] - room)
            y += heights[item]
    return places


def _height(stage: PlanStage) -> float:
    return HEAD + (len(stage.jobs) * LINE + PAD / 2 if len(stage.jobs) > 1 else 0)


def _between(before: str, name: str, places: Places) -> list[Place]:
    return [spot for (_, item), spot in places.items() if item == (before, name)]


def _arrow(way: list[Place], wide: float) -> str:
    """From the first box to the last, straight through the layers between."""
    x, y = way[0].x + wide, way[0].middle
    path = f"M{x:g} {y:g}"
    for spot in way[1:]:
        half = (x + spot.x) / 2
        path += f"C{half:g} {y:g} {half:g} {spot.middle:g} {spot.x:g} {spot.middle:g}"
        x, y = spot.x + wide, spot.middle
        path += "" if spot is way[-1] else f"H{x:g}"
    return f'<path class="arrow" marker-end="url(#arrow)" d="{path}"/>'


def _box(box: Place, wide: float, stage: PlanStage) -> str:
    left, right = box.x + PAD, box.x + wide - PAD
    shown = (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{wide:g}" height="{box.height:g}" rx="5"/>'
        f'<text x="{left:g}" y="{box.y + 17:g}" class="stage">{text(stage.name)}</text>'
        f'<text x="{right:g}" y="{box.y + 17:g}" class="count">{stage.total}</text>'
    )
    for line, (rule, jobs) in enumerate(stage.jobs if len(stage.jobs) > 1 else ()):
        y = box.y + HEAD + LINE * line + 8
        shown += f'<text x="{left:g}" y="{y:g}">{text(rule)}</text>'
        shown += f'<text x="{right:g}" y="{y:g}" class="count">{jobs}</text>'
    return shown
