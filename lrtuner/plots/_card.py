"""A card: what cannot be drawn, in words."""

from collections.abc import Iterator

from lrtuner.plots._svg import picture, width_of, words, wrapped
from lrtuner.words import Rows

WIDTH = 560.0

_EDGE, _GAP, _HEAD, _ROW = 20.0, 16.0, 30.0, 22.0


def card(title: str, rows: Rows) -> str:
    """The rows under their title, as the text of an SVG file."""
    parts = list(_parts(title, rows))
    description = "; ".join(f"{name}: {text}" for name, text in rows)
    height = max(bottom for _, bottom in parts) + _EDGE - 4
    texts = [text for text, _ in parts]
    return picture(texts, width=WIDTH, height=height, title=title, description=description)


def _parts(title: str, rows: Rows) -> Iterator[tuple[str, float]]:
    y = _EDGE - 8
    for line in wrapped(title, WIDTH - 2 * _EDGE, 17.0):  # bold is wider
        y += _HEAD - 4
        yield words(_EDGE, y, line, class_="title"), y
    y += 6
    left = _EDGE + max(width_of(name) for name, _ in rows) + _GAP
    for name, text in rows:
        yield words(_EDGE, y + _ROW, name, class_="quiet"), y + _ROW
        for line in wrapped(text, WIDTH - _EDGE - left):
            y += _ROW
            yield words(left, y, line), y
