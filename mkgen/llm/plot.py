"""An archive to look at: a table for terminals, and an SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from mkgen.llm.archive import Archive, Entry
from mkgen.llm.describe import WORDS, Cell, Decomposition, Memory, Unit

COLUMNS = ("unit", "memory", *(d.value for d in Decomposition))
"""Of the table."""
_UNREACHABLE = "-"
_EMPTY = "empty"


def table_rows(archive: Archive) -> list[list[str]]:
    """Rows under COLUMNS: fitness of the elite and how many texts passed there.

    `empty`: reachable, and nothing passed yet; `-`: out of reach for this task here. Units and
    tiers that are out of reach everywhere are left out.
    """
    elites = archive.elites()
    return [
        [unit.value, memory.value, *(_told(archive, elites, cell) for cell in cells)]
        for unit, memory, cells in _lines(archive)
    ]


def svg(archive: Archive, title: str) -> str:
    """A heat map per arithmetic unit: tiers of memory by decompositions.

    A cell's colour is its elite's place among all elites, dark for the best. Empty cells are
    dashed, cells out of reach hatched, so that neither looks like the other without colours.
    """
    elites = archive.elites()
    shades = _shades(elites)
    units = [u for u in Unit if any(unit is u for unit, _, _ in _lines(archive))]
    width = _MARGIN + len(Decomposition) * _WIDE + _GAP
    height = _TOP + len(units) * _PANEL + _LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        _HATCHING,
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_GAP, 22, title, size=15, bold=True),
        *(
            _text(_GAP, 40 + 16 * number, line, colour="#555555")
            for number, line in enumerate(summary(archive))
        ),
    ]
    for number, unit in enumerate(units):
        top = _TOP + number * _PANEL
        parts += _panel(archive, elites, shades, unit, top)
    parts += _legend(_TOP + len(units) * _PANEL + 8)
    return "\n".join([*parts, "</svg>"]) + "\n"


_MARGIN, _TOP, _GAP = 110, 72, 12
_WIDE, _HIGH = 130, 44
_HEADS = 40
_PANEL = _HEADS + len(Memory) * _HIGH + 16
_LEGEND = 44
_HATCHING = (
    '<defs><pattern id="hatching" width="7" height="7" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="7" height="7" fill="#f3f3f3"/>'
    '<line x1="0" y1="0" x2="0" y2="7" stroke="#c4c4c4" stroke-width="2"/></pattern></defs>'
)
#: From the worst to the best; their lightness alone puts them in order.
_COLOURS = ((222, 235, 247), (8, 69, 148))


def _lines(archive: Archive) -> list[tuple[Unit, Memory, tuple[Cell, ...]]]:
    """Units and tiers that some reachable or filled cell has, with their cells."""
    known = {*archive.reachable, *archive.elites()}
    units = [u for u in Unit if any(c.unit is u for c in known)]
    tiers = [m for m in Memory if any(c.memory is m for c in known)]
    return [(u, m, tuple(Cell(m, d, u) for d in Decomposition)) for u in units for m in tiers]


def _told(archive: Archive, elites: Mapping[Cell, Entry], cell: Cell) -> str:
    if cell in elites:
        return f"{elites[cell].fitness} ({archive.counts[cell]})"
    return _EMPTY if cell in archive.reachable else _UNREACHABLE


def _shades(elites: Mapping[Cell, Entry]) -> dict[Cell, float]:
    """0 for the worst elite, 1 for the best; equal ones alike."""
    found = {cell: entry.fitness.rank for cell, entry in elites.items() if entry.fitness}
    order = sorted(set(found.values()), reverse=True)
    last = len(order) - 1
    return {cell: order.index(value) / last if last else 1.0 for cell, value in found.items()}


def summary(archive: Archive) -> list[str]:
    """How far it is filled, and what is best: a line each."""
    filled = sum(cell in archive.elites() for cell in archive.reachable)
    lines = [
        f"{filled} of {len(archive.reachable)} reachable cells after {len(archive.entries)} "
        "evaluations"
    ]
    best = archive.best()
    return [*lines, f"best: {best.fitness}; {best.cell.words}"] if best and best.cell else lines


def _panel(
    archive: Archive,
    elites: Mapping[Cell, Entry],
    shades: Mapping[Cell, float],
    unit: Unit,
    top: int,
) -> list[str]:
    parts = [_text(_GAP, top + 14, WORDS[unit], bold=True)]
    for column, decomposition in enumerate(Decomposition):
        x = _MARGIN + column * _WIDE
        parts.append(_text(x + _WIDE // 2, top + 32, decomposition.value, middle=True))
    for row, (_, memory, cells) in enumerate(li for li in _lines(archive) if li[0] is unit):
        y = top + _HEADS + row * _HIGH
        parts.append(_text(_GAP, y + _HIGH // 2 + 4, memory.value))
        for column, cell in enumerate(cells):
            parts += _box(archive, elites, shades, cell, (_MARGIN + column * _WIDE, y))
    return parts


def _box(
    archive: Archive,
    elites: Mapping[Cell, Entry],
    shades: Mapping[Cell, float],
    cell: Cell,
    place: tuple[int, int],
) -> list[str]:
    x, y = place
    middle, centre = x + _WIDE // 2, y + _HIGH // 2
    if cell not in elites:
        if cell not in archive.reachable:
            return [_rectangle(x, y, "url(#hatching)")]
        return [
            _rectangle(x, y, "#ffffff", dashed=True),
            _text(middle, centre + 4, _EMPTY, colour="#888888", middle=True),
        ]
    ink = "#ffffff" if shades[cell] > 0.5 else "#111111"
    count = archive.counts[cell]
    return [
        _rectangle(x, y, _colour(shades[cell])),
        _text(middle, centre - 3, str(elites[cell].fitness), colour=ink, middle=True),
        _text(middle, centre + 13, f"{count} passed", colour=ink, middle=True, size=10),
    ]


def _colour(shade: float) -> str:
    low, high = _COLOURS
    mixed = (round(a + (b - a) * shade) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _rectangle(
    x: int, y: int, fill: str, *, dashed: bool = False, wide: int = _WIDE - 4, high: int = _HIGH - 4
) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<rect x="{x + 2}" y="{y + 2}" width="{wide}" height="{high}" fill="{fill}" '
        f'stroke="#9a9a9a"{dashes}/>'
    )


def _text(
    x: int,
    y: int,
    text: str,
    *,
    size: int = 12,
    bold: bool = False,
    middle: bool = False,
    colour: str = "#111111",
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    anchor = ' text-anchor="middle"' if middle else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}"{weight}{anchor}>'
        f"{escape(text)}</text>"
    )


def _legend(y: int) -> list[str]:
    kinds: Sequence[tuple[str, bool, str]] = (
        (_colour(1.0), False, "best"),
        (_colour(0.0), False, "last"),
        ("#ffffff", True, "empty"),
        ("url(#hatching)", False, "out of reach"),
    )
    parts = []
    for number, (fill, dashed, told) in enumerate(kinds):
        x = _GAP + number * _WIDE
        parts.append(_rectangle(x, y, fill, dashed=dashed, wide=18, high=18))
        parts.append(_text(x + 26, y + 16, told))
    return parts
