"""The outlines of lines and points, as what an SVG path is told."""

from collections.abc import Callable, Sequence

from lrtuner.plots._svg import coordinate


def path(places: Sequence[Sequence[float]]) -> str:
    """A line from place to place."""
    return "M" + "L".join(f"{coordinate(x)},{coordinate(y)}" for x, y in places)


def _circle(x: float, y: float) -> str:
    arc = "a2.5,2.5 0 1,0"
    return f"M{coordinate(x - 2.5)},{coordinate(y)}{arc} 5,0{arc} -5,0"


def _polygon(*corners: tuple[float, float]) -> Callable[[float, float], str]:
    return lambda x, y: path([(x + dx, y + dy) for dx, dy in corners]) + "z"


def _strokes(*ends: tuple[float, float, float, float]) -> Callable[[float, float], str]:
    return lambda x, y: "".join(
        path([(x + x1, y + y1), (x + x2, y + y2)]) for x1, y1, x2, y2 in ends
    )


POINTS: tuple[Callable[[float, float], str], ...] = (
    _circle,
    _strokes((-2.5, -2.5, 2.5, 2.5), (-2.5, 2.5, 2.5, -2.5)),
    _polygon((-2.5, 2), (2.5, 2), (0, -3)),
    _polygon((-2.3, -2.3), (2.3, -2.3), (2.3, 2.3), (-2.3, 2.3)),
    _strokes((-3, 0, 3, 0), (0, -3, 0, 3)),
    _polygon((-3, 0), (0, -3), (3, 0), (0, 3)),
)
"""The shape of a point around a place, by style."""
