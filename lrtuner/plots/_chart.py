"""A chart: marks over two axes, laid out so that no two labels lie on each other.

    Chart(
        "what it shows",
        x=Axis("learning rate", 1e-6, 10.0, log=True),
        y=from_zero("loss", 2.5),
        marks=[
            Band(1e-3, 1e-1, "range"),                  shaded from top to bottom, named above
            Vertical(0.3, "diverged"),                  a dotted line, named above
            Interval(0.01, 0.05, "suggested", at=0.02), a bar with a dot, in a lane of its own
            Area(rates, lows, highs, "noise", style=0), what lies between two curves
            Points(rates, losses, style=0),             raw points
            Line(rates, smooth, "seed 1", style=0),     a style is a colour, a dash and a shape;
            Line(rates, other, "seed 2", style=1),      what has a label is in the legend
            Note(0.02, 1.3, "steepest"),                a dot, and words beside it
        ],
    ).svg()

A line or points that are `faint` are thin and grey: one of many, told apart from none of them.

Areas, lines and points are drawn in their order, under the notes and over everything else; the
legend has them in the order of styles, once there are two labels, areas last. Values beyond the
axes are cut off at the edge of the plot. Where a value is not finite, or not above 0 on a log axis,
a line or an area has a gap and a point is left out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrtuner.plots._axis import Axis
from lrtuner.plots._labels import Box, beside, dense, in_rows
from lrtuner.plots._shapes import POINTS, path
from lrtuner.plots._svg import STYLES, coordinate, element, picture, width_of, words, wrapped

WIDTH = 760.0
PLOT_HEIGHT = 280.0

_EDGE, _GAP = 16.0, 8.0
_HEAD, _ROW = 22.0, 18.0
_BLEED = 5.0  # strokes and dots on the edge of the plot are not cut in half
_FAR = 1e4
_SAMPLE = 32.0  # the piece of line in the legend
_ACROSS, _DOWN = 95.0, 46.0  # so much room for each label of the x and of the y axis

Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A curve through points, in their order."""

    xs: ArrayLike
    ys: ArrayLike
    label: str = ""
    style: int = 0
    faint: bool = False


@dataclass(frozen=True)
class Points:
    """Values as they were measured."""

    xs: ArrayLike
    ys: ArrayLike
    label: str = ""
    style: int = 0
    faint: bool = False


@dataclass(frozen=True)
class Area:
    """What lies between the curves `lows` and `highs`, lightly shaded."""

    xs: ArrayLike
    lows: ArrayLike
    highs: ArrayLike
    label: str = ""
    style: int = 0


@dataclass(frozen=True)
class Band:
    """A stretch of the x axis, its name over a bracket above."""

    left: float
    right: float
    label: str
    shaded: bool = True


@dataclass(frozen=True)
class Vertical:
    """A value of the x axis, its name above."""

    x: float
    label: str


@dataclass(frozen=True)
class Interval:
    """From `low` to `high` on the x axis, with a dot `at` a value in it."""

    low: float
    high: float
    label: str
    at: float | None = None


@dataclass(frozen=True)
class Note:
    """A point, and what there is to say of it."""

    x: float
    y: float
    text: str


Series = Line | Points | Area
Mark = Series | Band | Vertical | Interval | Note
_Kind = TypeVar("_Kind", bound=Mark)


@dataclass(frozen=True)
class Chart:
    """What a chart shows; `description` tells it to whoever cannot see the picture.

    `width` is that of the picture, `height` that of the plot in it.
    """

    title: str
    x: Axis
    y: Axis
    marks: Sequence[Mark]
    subtitle: str = ""
    description: str = ""
    width: float = WIDTH
    height: float = PLOT_HEIGHT

    @property
    def told(self) -> str:
        """What the chart shows, in words."""
        return self.description or self.subtitle or self.title

    def svg(self) -> str:
        """The chart as the text of an SVG file."""
        parts, height = self.drawn()
        return picture(
            parts, width=self.width, height=height, title=self.title, description=self.told
        )

    def drawn(self) -> tuple[list[str], float]:
        """What the chart is made of, and how high it is."""
        return _Layout(self).drawn()


class _Layout:
    """From top to bottom: the head, names of bands and verticals, intervals, the plot, a legend."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.bands, self.verticals = self._all(Band), self._all(Vertical)
        self.intervals, self.notes = self._all(Interval), self._all(Note)
        self.series = [mark for mark in chart.marks if isinstance(mark, Series)]
        across = chart.width - 2 * _EDGE
        self.title = wrapped(chart.title, across, 17.0)  # bold is wider
        self.subtitle = wrapped(chart.subtitle, across) if chart.subtitle else []
        self.y_ticks = chart.y.ticks(int(chart.height / _DOWN))
        self.left = _EDGE + _ROW + self._tick_width() + _GAP
        self.right = chart.width - _EDGE - _GAP
        self.names = in_rows(self._named(), self.left, self.right)
        rows = 1 + max((name.row for name in self.names), default=-1)
        self.names_end = _EDGE + _HEAD * len(self.title) + _ROW * (len(self.subtitle) + rows)
        self.lanes = self.names_end + _GAP
        self.top = self.lanes + _ROW * len(self.intervals)
        self.bottom = self.top + chart.height

    def drawn(self) -> tuple[list[str], float]:
        """Its elements, and its height."""
        x_label = self.bottom + 2 * _ROW + _GAP
        legend, last = self._legend(x_label + _ROW + _GAP)
        parts = [
            *self._heading(),
            *self._backgrounds(),
            *self._axes(x_label),
            *self._foregrounds(),
            *self._lanes(),
            self._plot(),
            *self._note_parts(),
            *legend,
        ]
        return parts, (last if legend else x_label) + _EDGE

    def _tick_width(self) -> float:
        return max((width_of(label) for _, label in self.y_ticks), default=0.0)

    def _all(self, kind: type[_Kind]) -> list[_Kind]:
        return [mark for mark in self.chart.marks if isinstance(mark, kind)]

    def _xs(self, values: ArrayLike) -> Pixels:
        return self.left + (self.right - self.left) * self.chart.x.share(values)

    def _ys(self, values: ArrayLike) -> Pixels:
        return self.bottom - self.chart.height * self.chart.y.share(values)

    def _places(self, xs: ArrayLike, *ys: ArrayLike) -> tuple[Pixels, ...]:
        """Where the values are; those far beyond the plot nearer, as no renderer likes 1e300."""
        return tuple(
            np.where(np.isfinite(places), np.clip(places, -_FAR, _FAR), np.nan)
            for places in (self._xs(xs), *map(self._ys, ys))
        )

    def _x(self, value: float) -> float:
        """The place of the value, or the edge of the plot if it is beyond."""
        place = np.nan_to_num(self._xs(value), nan=self.left)
        return float(np.clip(place, self.left, self.right))

    def _named(self) -> Iterator[tuple[float, str]]:
        for band in self.bands:
            yield (self._x(band.left) + self._x(band.right)) / 2, band.label
        for vertical in self.verticals:
            yield self._x(vertical.x), vertical.label

    def _heading(self) -> Iterator[str]:
        y = _EDGE
        for line in self.title:
            y += _HEAD
            yield words(_EDGE, y - 8, line, class_="title")
        for line in self.subtitle:
            y += _ROW
            yield words(_EDGE, y - 6, line, class_="quiet")

    def _backgrounds(self) -> Iterator[str]:
        for band in self.bands:
            left, right = self._x(band.left), self._x(band.right)
            if band.shaded:
                size = {"width": right - left, "height": self.bottom - self.lanes}
                yield element("rect", class_="band", x=left, y=self.lanes, **size)

    def _axes(self, x_label: float) -> Iterator[str]:
        left, right, bottom = self.left, self.right, self.bottom
        for value, label in self.y_ticks:
            y = float(self._ys(value))
            yield element("line", class_="grid", x1=left, y1=y, x2=right, y2=y)
            yield words(left - _GAP, y + 4.5, label, text_anchor="end")
        for value, label in self.chart.x.ticks(int(self.chart.width / _ACROSS)):
            x = float(self._xs(value))
            yield element("line", class_="axis", x1=x, y1=bottom, x2=x, y2=bottom + 5)
            yield words(x, bottom + _ROW + 2, label, text_anchor="middle")
        yield element("line", class_="axis", x1=left, y1=bottom, x2=right, y2=bottom)
        yield words(
            (left + right) / 2, x_label, self.chart.x.label, class_="quiet", text_anchor="middle"
        )
        x, y = _EDGE + 11, (self.top + bottom) / 2
        turned = f"rotate(-90 {coordinate(x)} {coordinate(y)})"
        yield words(
            x, y, self.chart.y.label, class_="quiet", text_anchor="middle", transform=turned
        )

    def _foregrounds(self) -> Iterator[str]:
        for band in self.bands:
            left, right, y = self._x(band.left) + 1, self._x(band.right) - 1, self.lanes
            left, right = min(left, right), max(left, right)
            ends = [(left, y), (left, y - 4), (right, y - 4), (right, y)]
            yield element("path", class_="axis", d=path(ends))
        for vertical in self.verticals:
            x = self._x(vertical.x)
            yield element("line", class_="mark", x1=x, y1=self.lanes, x2=x, y2=self.bottom)
        for name in self.names:
            y = self.names_end - _ROW * name.row
            if name.row:  # over another one: a line leads to its place
                end = self.lanes - 4
                yield element("line", class_="axis", x1=name.x, y1=y - 1, x2=name.x, y2=end)
        for name in self.names:
            y = self.names_end - _ROW * name.row
            yield words(name.start, y - 3, name.text, class_="halo")

    def _lanes(self) -> Iterator[str]:
        for i, interval in enumerate(self.intervals):
            low, high = self._x(interval.low), self._x(interval.high)
            y = self.lanes + _ROW * (i + 0.5)
            yield element("path", class_="bar", d=path([(low, y), (high, y)]))
            for x in (low, high):
                yield element("path", class_="bar", d=path([(x, y - 4), (x, y + 4)]))
            if interval.at is not None:
                yield element("circle", class_="dot", cx=self._x(interval.at), cy=y, r=4.5)
            width = width_of(interval.label)
            fits = high + _GAP + width <= self.right
            x = high + _GAP if fits else max(low - _GAP - width, self.left)
            yield words(x, y + 4.5, interval.label, class_="halo")

    def _plot(self) -> str:
        left, top = self.left - _BLEED, self.top - _BLEED
        width, height = self.right + _BLEED - left, self.bottom + _BLEED - top
        box = " ".join(map(coordinate, (left, top, width, height)))
        parts = map(self._drawn, self.series)
        place = {"x": left, "y": top, "width": width, "height": height}
        # a picture in the picture: it cuts off what is beyond its edges
        return element("svg", *parts, viewBox=box, overflow="hidden", **place)

    def _drawn(self, mark: Series) -> str:
        if isinstance(mark, Points):
            runs = _runs(*self._places(mark.xs, mark.ys))
            shape = POINTS[mark.style % STYLES]
            d = "".join(shape(x, y) for run in runs for x, y in run)
        elif isinstance(mark, Line):
            d = "".join(map(path, _runs(*self._places(mark.xs, mark.ys))))
        else:
            d = "".join(map(_outline, _runs(*self._places(mark.xs, mark.lows, mark.highs))))
        return element("path", class_=_class(mark), d=d or "M0,0")

    def _note_parts(self) -> Iterator[str]:
        lines = [mark for mark in self.series if isinstance(mark, Line)]
        dots = [mark for mark in self.series if isinstance(mark, Points)]
        curves = [dense(*self._places(line.xs, line.ys)) for line in lines]
        curves += [np.column_stack(self._places(each.xs, each.ys)) for each in dots]
        curve = np.concatenate([np.empty((0, 2)), *curves])
        frame = (self.left, self.top, self.right, self.bottom)
        taken: list[Box] = []
        for note in self.notes:
            x, y = self._x(note.x), float(np.clip(self._ys(note.y), self.top, self.bottom))
            place = beside(x, y, note.text, frame=frame, taken=taken, curve=curve)
            taken.append(place)
            yield element("circle", class_="dot", cx=x, cy=y, r=4)
            yield words(place[0], place[3] - 4, note.text, class_="halo")

    def _legend(self, y: float) -> tuple[list[str], float]:
        """The entries of what has a label, if there are several, and the last one's baseline."""
        labelled = (mark for mark in self.series if mark.label)
        told = sorted(labelled, key=lambda mark: (isinstance(mark, Area), mark.style))
        parts: list[str] = []
        x = self.left
        for mark in told if len(told) > 1 else []:
            width = _SAMPLE + _GAP + width_of(mark.label)
            if x > self.left and x + width > self.right:
                x, y = self.left, y + _ROW
            parts += [_sample(mark, x, y - 4.5), words(x + _SAMPLE + _GAP, y, mark.label)]
            x += width + 3 * _GAP
        return parts, y


def _runs(*places: Pixels) -> Iterator[list[tuple[float, ...]]]:
    """The stretches in which every coordinate is finite."""
    whole = zip(*(each.tolist() for each in places), strict=True)
    for finite, run in groupby(whole, key=lambda place: all(map(math.isfinite, place))):
        if finite:
            yield list(run)


def _outline(run: Sequence[Sequence[float]]) -> str:
    """Along the upper curve, and back along the lower one."""
    highs, lows = [(x, high) for x, _, high in run], [(x, low) for x, low, _ in run]
    return path(highs + lows[::-1]) + "z"


def _class(mark: Series) -> str:
    kind = type(mark).__name__.lower().removesuffix("s")
    faint = isinstance(mark, Line | Points) and mark.faint
    return f"{kind} faint" if faint else f"{kind} s{mark.style % STYLES}"


def _sample(mark: Series, x: float, y: float) -> str:
    """The piece of the mark that the legend shows."""
    if isinstance(mark, Line):
        d = path([(x, y), (x + _SAMPLE, y)])
    elif isinstance(mark, Area):
        d = _outline([(x, y + 5, y - 5), (x + _SAMPLE, y + 5, y - 5)])
    else:
        shape = POINTS[mark.style % STYLES]
        d = "".join(shape(x + _SAMPLE * share, y) for share in (0.2, 0.5, 0.8))
    return element("path", class_=_class(mark), d=d)
