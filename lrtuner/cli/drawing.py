"""A schedule as text: the rate over the steps, its phases, and a second schedule to compare."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lrtuner.plots.schedule import phases
from lrtuner.schedules._base import Array
from lrtuner.schedules.grammar import Schedule
from lrtuner.words import number

MIN_WIDTH, ROWS = 40, 15  # an odd number has a middle

_SAMPLES = 16  # per column: a restart between two columns must show
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # braille, by row and column
OTHER, _OTHER_EVERY = "o", 3


@dataclass(frozen=True)
class Pen:
    """The characters of a drawing, and how many dots one of them holds across and down."""

    vertical: str
    horizontal: str
    tick_y: str
    tick_x: str
    corner: str
    phase: str
    across: int
    down: int

    @property
    def sample(self) -> str:
        """Every character that is no ASCII."""
        dots = "\u2801" if self.down > 1 else ""
        return self.vertical + self.horizontal + self.tick_y + self.tick_x + self.corner + dots

    @property
    def curve(self) -> str:
        """What the recommended curve looks like, for the legend."""
        return "\u2809\u2809\u2812\u2812\u28c0\u28c0" if self.down > 1 else "***"


UNICODE = Pen("│", "─", "┤", "┬", "└", "├┤", across=2, down=4)
ASCII = Pen("|", "-", "+", "+", "+", "||", across=1, down=1)


def chart(
    schedule: Schedule, other: Schedule | None = None, *, width: int = 80, pen: Pen = UNICODE
) -> list[str]:
    """Lines of at most `width` characters; `other` is drawn as single letters where it is apart."""
    top = max(_highest(s) for s in (schedule, other) if s)
    labels = {0: number(top), ROWS // 2: number(top / 2), ROWS - 1: "0"}
    margin = max(map(len, labels.values()))
    columns = max(width, MIN_WIDTH) - margin - 3
    cells = _curve(schedule, top, columns, pen)
    if other:
        _add_other(cells, _sampled(other, schedule, columns), top)
    lines = []
    for row, cell in enumerate(cells):
        edge = pen.tick_y if row in labels else pen.vertical
        lines.append(f"{labels.get(row, ''):>{margin}} {edge}{''.join(cell)}".rstrip())
    blank = " " * (margin + 1)
    axis, names = _axis(schedule, columns, pen)
    bands = "".join(_bands(schedule, columns, pen))
    return [*lines, blank + pen.corner + axis, f"{blank} {names}".rstrip(), f"{blank} {bands}"]


def _highest(schedule: Schedule) -> float:
    steps = [*schedule.boundaries(), *np.linspace(0.0, schedule.total_steps - 1.0, 1000)]
    return float(np.max(schedule(steps))) or schedule.peak_lr


def _sampled(schedule: Schedule, axis: Schedule, count: int) -> Array:
    rates: Array = schedule(np.linspace(0.0, axis.total_steps - 1.0, count))
    return rates


def _curve(schedule: Schedule, top: float, columns: int, pen: Pen) -> list[list[str]]:
    across, down = columns * pen.across, ROWS * pen.down
    rates = _sampled(schedule, schedule, across * _SAMPLES).reshape(across, _SAMPLES)
    depth = np.rint((1.0 - rates / top) * (down - 1)).clip(0, down - 1).astype(int)
    dots = np.zeros((down, across), dtype=bool)
    before = int(depth[0, 0])
    for column, levels in enumerate(depth):
        high, low = int(levels.min()), int(levels.max())
        # A steep piece is a vertical line rather than a gap.
        dots[min(high, before + 1) : max(low, before - 1) + 1, column] = True
        before = int(levels[-1])
    return _cells(dots, pen)


def _cells(dots: NDArray[np.bool_], pen: Pen) -> list[list[str]]:
    if pen.down == 1:
        return [["*" if dot else " " for dot in row] for row in dots]
    bits = np.zeros((dots.shape[0] // pen.down, dots.shape[1] // pen.across), dtype=int)
    for i, row in enumerate(_DOTS):
        for j, bit in enumerate(row):
            bits += bit * dots[i :: pen.down, j :: pen.across]
    return [[chr(0x2800 + bit) if bit else " " for bit in row] for row in bits]


def _add_other(cells: list[list[str]], rates: Array, top: float) -> None:
    for column in range(0, len(rates), _OTHER_EVERY):
        row = max(round((1.0 - float(rates[column]) / top) * (len(cells) - 1)), 0)
        if cells[row][column] == " ":
            cells[row][column] = OTHER


def _axis(schedule: Schedule, columns: int, pen: Pen) -> tuple[str, str]:
    """The axis with its ticks, and the steps (epochs, seconds) below them."""
    total_steps = schedule.total_steps
    count = min(5, max(2, columns // (len(str(total_steps)) + 8)), total_steps)
    steps = sorted({round(x) for x in np.linspace(0, total_steps - 1, count)})
    line, names = [pen.horizontal] * columns, [" "] * columns
    for step in steps:
        at = _column(step, total_steps, columns)
        line[at] = pen.tick_x
        text = f"{schedule.unit} {step}" if step == steps[-1] and step else str(step)
        start = max(0, min(at - len(text) // 2, columns - len(text)))
        names[start : start + len(text)] = text
    return "".join(line), "".join(names)


def _bands(schedule: Schedule, columns: int, pen: Pen) -> list[str]:
    """A bracket with its name under each phase, without the name where it is too narrow."""
    band = [" "] * columns
    found = phases(schedule)
    starts = [_column(first, schedule.total_steps, columns) for _, first, _ in found]
    for (name, _, _), (left, right) in zip(found, pairwise([*starts, columns]), strict=True):
        length = right - left
        if length < 2:
            band[left:right] = pen.phase[0] * length
            continue
        text = f" {name} " if length >= len(name) + 4 else ""
        band[left:right] = pen.phase[0] + text.center(length - 2, pen.horizontal) + pen.phase[1]
    return band


def _column(step: float, total_steps: int, columns: int) -> int:
    return min(round(step / max(total_steps - 1, 1) * (columns - 1)), columns - 1)
