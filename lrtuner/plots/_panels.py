"""Several charts as one picture, in rows."""

from collections.abc import Sequence

from lrtuner.plots._chart import Chart
from lrtuner.plots._svg import coordinate, element, picture


def panels(title: str, charts: Sequence[Chart], *, columns: int = 1) -> str:
    """The charts, equally wide, from left to right and from top to bottom, as an SVG file."""
    parts: list[str] = []
    height = 0.0
    for i in range(0, len(charts), columns):
        row = [(chart.width, *chart.drawn()) for chart in charts[i : i + columns]]
        for place, (width, drawn, _) in enumerate(row):
            moved = f"translate({coordinate(place * width)} {coordinate(height)})"
            parts.append(element("g", *drawn, transform=moved))
        height += max(below for _, _, below in row)
    return picture(
        parts,
        width=columns * charts[0].width,
        height=height,
        title=title,
        description=" ".join(f"{chart.title}: {chart.told}." for chart in charts),
    )
