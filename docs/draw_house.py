"""Draws docs/images/house.svg from the code's own imports: ``python -m docs.draw_house``.

Floors are the layers of the import contracts in pyproject.toml, rooms the modules and packages they
name. An arrow says "imports"; one that a longer way down says already is left out.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "house.svg"
Edge = tuple[str, str]

# Pixels.
ROOM_WIDTH, ROOM_HEIGHT, FLOOR = 100, 30, 58
GAP, LANE = 12, 12
EDGE, TITLE = 18, 56
BETWEEN = 28
SWEEPS = 24
LEGEND = (
    "A box is a room: a module, or a package of them.",
    "An arrow says “imports”; all of them lead down.",
    "What a longer way down says already is left out.",
    "Floors are the layers of the import contracts.",
)
FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Storey:
    """How a building looks and what stands on its sign."""

    says: str
    wall: str
    room: str
    line: str


BUILDINGS = {
    "pipelines": Storey("from the command down to the machine", "#fdf6ec", "#f9e2c2", "#a8620f"),
    "pipelines.ingestion": Storey("from any table to a clean one", "#fdf1ef", "#f7d5cf", "#a5402f"),
    "serving": Storey("from the process down to settings", "#eef7f1", "#cfe8d8", "#2b7448"),
    "forecasting": Storey("panels in, quantiles out", "#eef4fb", "#cfe0f3", "#1f5a96"),
}


@dataclass
class Building:
    """A package: its floors from the top, the imports between its rooms."""

    name: str
    floors: list[list[str]]
    edges: list[Edge]
    places: dict[str, tuple[float, int]] = field(default_factory=dict)  # room: x, floor
    lanes: dict[Edge, list[tuple[float, int]]] = field(default_factory=dict)
    width: float = 0.0

    @property
    def height(self) -> float:
        return TITLE + FLOOR * len(self.floors) - (FLOOR - ROOM_HEIGHT) + EDGE


def floors(root: Path = ROOT) -> dict[str, list[list[str]]]:
    """Rooms of each floor, by package, from the contracts."""
    with (root / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return {
        contract["containers"][0]: [
            [room.strip() for room in layer.split("|")] for layer in contract["layers"]
        ]
        for contract in contracts
        if contract["type"] == "layers" and "containers" in contract
    }


def imports(root: Path = ROOT) -> set[Edge]:
    """Pairs of modules of which the first imports the second, wherever in its file."""
    files = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for package in ("forecasting", "pipelines", "serving")
        for file in sorted((root / package).rglob("*.py"))
    }
    pairs = set()
    for module, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                deeper = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in files else node.module for name in deeper]
            else:
                continue
            pairs |= {(module, name) for name in names if name in files and name != module}
    return pairs


def room_of(module: str, package: str) -> str | None:
    """The room of a package that a module lies in; None outside of it and for its face."""
    inside = module.removeprefix(f"{package}.")
    return None if inside == module else inside.split(".")[0]


def between_rooms(pairs: Iterable[Edge], package: str) -> list[Edge]:
    """The imports between rooms that no longer way says already."""
    rooms = {(room_of(a, package), room_of(b, package)) for a, b in pairs}
    edges = {(a, b) for a, b in rooms if a and b and a != b}
    below: dict[str, set[str]] = {}

    def reach(room: str) -> set[str]:
        if room not in below:
            below[room] = set()  # a circle, which the contracts forbid, ends here
            direct = {b for a, b in edges if a == room}
            below[room] = direct.union(*(reach(b) for b in sorted(direct)))
        return below[room]

    steps = {a: {b for c, b in edges if c == a} for a, _ in edges}
    return sorted(
        (a, b) for a, b in edges if not any(b in reach(other) for other in steps[a] - {b})
    )


def building(package: str, layers: list[list[str]], pairs: set[Edge]) -> Building:
    """A package with its rooms laid out."""
    made = Building(package, layers, between_rooms(pairs, package))
    _lay_out(made)
    return made


def _lay_out(made: Building) -> None:
    """Rooms side by side on their floors, and a lane on every floor that an arrow passes."""
    floor = {room: k for k, rooms in enumerate(made.floors) for room in rooms}
    rows: list[list[str | tuple[str, str, int]]] = [list(rooms) for rooms in made.floors]
    chains: dict[Edge, list[str | tuple[str, str, int]]] = {}
    for a, b in made.edges:
        passed = [(a, b, k) for k in range(floor[a] + 1, floor[b])]
        for lane in passed:
            rows[lane[2]].append(lane)
        chains[a, b] = [a, *passed, b]
    beside: dict[object, list[object]] = {}
    for chain in chains.values():
        for upper, lower in pairwise(chain):
            beside.setdefault(upper, []).append(lower)
            beside.setdefault(lower, []).append(upper)
    centre: dict[object, float] = {}
    for row in rows:
        centre.update(_spread(row))
    for sweep in range(SWEEPS):
        order = rows if sweep % 2 else rows[::-1]
        for row in order:
            wish = {
                item: sum(centre[n] for n in near) / len(near)
                if (near := beside.get(item))
                else centre[item]
                for item in row
            }
            row.sort(key=lambda item, wish=wish: (round(wish[item], 6), str(item)))  # type: ignore[misc]
            centre.update(_spread(row, wish))
    left = min(centre[i] - _width(i) / 2 for row in rows for i in row)
    right = max(centre[i] + _width(i) / 2 for row in rows for i in row)
    made.width = right - left + 2 * EDGE
    for row in rows:
        for item in row:
            x = centre[item] - left + EDGE
            if isinstance(item, str):
                made.places[item] = (x, floor[item])
    for edge, chain in chains.items():
        made.lanes[edge] = [
            (centre[i] - left + EDGE, i[2]) for i in chain if not isinstance(i, str)
        ]


def _width(item: object) -> float:
    return ROOM_WIDTH + GAP if isinstance(item, str) else LANE


def _spread(row: list, wish: Mapping | None = None) -> dict[object, float]:  # type: ignore[type-arg]
    """Centres of a floor's items in their order: as near to their wishes as they fit."""
    wish = wish or dict.fromkeys(row, 0.0)
    # Pool neighbours that would overlap around the mean of their wishes.
    groups: list[tuple[list[object], float]] = []
    for item in row:
        groups.append(([item], wish[item]))
        while len(groups) > 1:
            (first, a), (second, b) = groups[-2:]
            if a + sum(map(_width, first)) / 2 <= b - sum(map(_width, second)) / 2 + 1e-9:
                break
            items = first + second
            offsets, at = [], 0.0
            for one in items:
                offsets.append(at + _width(one) / 2)
                at += _width(one)
            weight = sum(wish[i] - o for i, o in zip(items, offsets, strict=True)) / len(items)
            groups[-2:] = [(items, weight + at / 2)]
    centre = {}
    for items, middle in groups:
        at = middle - sum(map(_width, items)) / 2
        for one in items:
            centre[one] = at + _width(one) / 2
            at += _width(one)
    return centre


def draw(root: Path = ROOT) -> str:
    """The picture as SVG; the same tree gives the same text."""
    pairs = imports(root)
    layers = floors(root)
    made = {name: building(name, layers[name], pairs) for name in BUILDINGS}
    upper = [made[name] for name in BUILDINGS if name != "forecasting"]
    ground = made["forecasting"]
    top = max(b.height for b in upper)
    width = max(sum(b.width for b in upper) + BETWEEN * (len(upper) - 1), ground.width) + 2 * EDGE
    height = 2 * EDGE + top + 2 * BETWEEN + ground.height
    parts = []
    x, feet = (width - sum(b.width for b in upper) - BETWEEN * (len(upper) - 1)) / 2, EDGE + top
    sides: dict[str, float] = {}
    for one in upper:
        # All of them stand on the same ground.
        parts += _building(one, x, feet - one.height)
        sides[one.name] = x
        x += one.width + BETWEEN
    place = (width - ground.width) / 2
    parts += _building(ground, place, feet + 2 * BETWEEN)
    for name in ("pipelines", "serving"):
        start = sides[name] + made[name].width / 2
        end = min(max(start, place + 60), place + ground.width - 60)
        parts.append(_rests(start, feet, end, feet + 2 * BETWEEN, name))
    for k, line in enumerate(LEGEND):
        parts.append(_text(2 * EDGE, feet + 2 * BETWEEN + 60 + 21 * k, line, "#55606d", 13))
    # The room and, opened, the building beside it.
    near = made["pipelines"]
    room, level = near.places["ingestion"]
    y = feet - near.height + TITLE + FLOOR * level + ROOM_HEIGHT / 2
    begin, end = sides["pipelines"] + room + ROOM_WIDTH / 2, sides["pipelines.ingestion"]
    parts.append(
        f"<path d='M{begin:.1f} {y:.1f}H{end:.1f}' fill='none' stroke='#a5402f' "
        "stroke-width='1.2' stroke-dasharray='3 4'/>"
    )
    return "\n".join([_head(width, height), *parts, "</svg>", ""])


def _head(width: float, height: float) -> str:
    title = "The house of Gatecast: its packages, their rooms by floor, and who imports whom"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' "
        f"width='{width:.0f}' height='{height:.0f}' role='img'>\n<title>{title}</title>\n"
        f"<rect width='{width:.0f}' height='{height:.0f}' fill='#ffffff'/>"
    )


def _building(made: Building, left: float, top: float) -> list[str]:
    look = BUILDINGS[made.name]
    mark = made.name.replace(".", "-")
    parts = [
        f"<g transform='translate({left:.1f} {top:.1f})'>",
        f"<marker id='{mark}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='6' "
        f"markerHeight='6' orient='auto'><path d='M0 0.5L8 4L0 7.5z' fill='{look.line}'/></marker>",
        f"<rect width='{made.width:.1f}' height='{made.height:.1f}' rx='10' "
        f"fill='{look.wall}' stroke='{look.line}' stroke-opacity='0.35'/>",
        _text(EDGE - 4, 24, f"{made.name.replace('.', '/')}/", look.line, 19, bold=True),
        _text(EDGE - 4, 42, look.says, look.line, 12.5),
    ]
    for edge in made.edges:
        parts.append(_arrow(made, edge, look.line, mark))
    for room, (x, level) in made.places.items():
        y = TITLE + FLOOR * level
        parts += [
            f"<rect x='{x - ROOM_WIDTH / 2:.1f}' y='{y}' width='{ROOM_WIDTH}' "
            f"height='{ROOM_HEIGHT}' rx='5' fill='{look.room}' stroke='{look.line}'/>",
            _text(x, y + 20, room, "#1d2733", 14, bold=True, anchor="middle"),
        ]  # fmt: skip
    return [*parts, "</g>"]


def _arrow(made: Building, edge: Edge, colour: str, mark: str) -> str:
    """From the foot of the one room, down its lanes, to the head of the other."""
    a, b = edge
    (x, start), (goal, _) = made.places[a], made.places[b]
    lanes = made.lanes[edge]
    x += _share(made, a, edge, leaving=True)
    goal += _share(made, b, edge, leaving=False)
    at = TITLE + FLOOR * start + ROOM_HEIGHT
    path = [f"M{x:.1f} {at:.1f}"]
    half = (FLOOR - ROOM_HEIGHT) / 2
    for lane, level in lanes:
        y = TITLE + FLOOR * level
        path.append(f"C{x:.1f} {at + half:.1f} {lane:.1f} {y - half:.1f} {lane:.1f} {y:.1f}")
        path.append(f"V{y + ROOM_HEIGHT:.1f}")
        x, at = lane, y + ROOM_HEIGHT
    y = TITLE + FLOOR * made.places[b][1]
    path.append(f"C{x:.1f} {at + half:.1f} {goal:.1f} {y - half:.1f} {goal:.1f} {y:.1f}")
    return (
        f"<path d='{''.join(path)}' fill='none' stroke='{colour}' stroke-opacity='0.7' "
        f"stroke-width='1.3' marker-end='url(#{mark})'/>"
    )


def _share(made: Building, room: str, edge: Edge, leaving: bool) -> float:
    """Where on a room's foot or head an arrow touches it, from its middle."""
    end = 0 if leaving else 1

    def side(other: Edge) -> float:
        lanes = made.lanes[other]
        if lanes:
            return lanes[0 if leaving else -1][0]
        return made.places[other[1 - end]][0]

    touching = sorted((e for e in made.edges if e[end] == room), key=lambda e: (side(e), e))
    spread = min(ROOM_WIDTH - 30, 18 * (len(touching) - 1))
    if len(touching) == 1:
        return 0.0
    return spread * (touching.index(edge) / (len(touching) - 1) - 0.5)


def _rests(x: float, y: float, goal: float, foot: float, name: str) -> str:
    look, middle = BUILDINGS[name], (y + foot) / 2
    return (
        f"<path d='M{x:.1f} {y:.1f}C{x:.1f} {middle:.1f} {goal:.1f} {middle:.1f} {goal:.1f} "
        f"{foot - 2:.1f}' fill='none' stroke='{look.line}' stroke-width='3' "
        f"marker-end='url(#{name})'/>"
    )


def _text(
    x: float, y: float, text: str, colour: str, size: float, *, bold: bool = False, anchor: str = ""
) -> str:
    weight = " font-weight='600'" if bold else ""
    place = f" text-anchor='{anchor}'" if anchor else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size}'{weight}{place} "
        f"fill='{colour}'>{text}</text>"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
