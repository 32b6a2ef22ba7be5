"""What jobs of one name found over time: the peak, and by how much each was better."""

from collections.abc import Sequence

import numpy as np

from lrtuner.headline import Headline
from lrtuner.history import Run, changes
from lrtuner.plots._axis import Axis, around
from lrtuner.plots._chart import Chart, Line, Mark, Note, Points
from lrtuner.plots._panels import panels
from lrtuner.words import number, plural

MOST_NAMES, _NAME = 8, 9
_SQUARES = 3
_ROOM = 1.3

_Found = list[tuple[int, Headline]]


def history_svg(name: str, runs: Sequence[Run]) -> str:
    """Two charts over the runs, the oldest first, as the text of an SVG file.

    Above the peak learning rates, their axis logarithmic; below, the difference to the baseline of
    each run with its 95 % interval, in the metric of the newest run. Runs without a result have a
    place and no point.
    """
    found = [(place, run.found) for place, run in enumerate(runs, start=1) if run.found]
    charts = [_peaks(name, runs, found)]
    metric = found[-1][1].metric if found else None
    compared = [(i, h) for i, h in found if h.metric == metric and h.difference is not None]
    if metric is not None and compared:
        charts.append(_differences(metric, runs, compared))
    return panels(f"{name}: {plural(len(runs), 'run')}", charts)


def _peaks(name: str, runs: Sequence[Run], found: _Found) -> Chart:
    xs, peaks = [i for i, _ in found], [h.peak_lr for _, h in found]
    low, high = (min(peaks) / _ROOM, max(peaks) * _ROOM) if peaks else (1e-3, 1.0)
    marks: list[Mark] = [Line(xs, peaks, faint=True), Points(xs, peaks, style=_SQUARES)]
    marks += [
        Note(i, h.peak_lr, h.family.replace("_", " "))
        for (i, h), change in zip(found, _families(found), strict=True)
        if change
    ]
    told = zip(runs, changes(runs), strict=True)
    return Chart(
        f"{name}: peak learning rate",
        _runs(runs),
        Axis("peak learning rate", low, high, log=True),
        marks,
        subtitle="named where the family is another than before",
        description="; ".join(
            f"{_name(run, i)}: {run.found.title if run.found else run.status} {change}".rstrip()
            for i, (run, change) in enumerate(told, start=1)
        ),
    )


def _families(found: _Found) -> list[bool]:
    """Whether each is the first of its family after another one."""
    families = [h.family for _, h in found]
    return [i == 0 or family != families[i - 1] for i, family in enumerate(families)]


def _differences(metric: str, runs: Sequence[Run], compared: _Found) -> Chart:
    values = [(i, h.difference or 0.0, h.ci95 or [0.0, 0.0]) for i, h in compared]
    bounds = [bound for _, _, interval in values for bound in interval]
    marks: list[Mark] = [Line([0.5, len(runs) + 0.5], [0.0, 0.0], faint=True)]
    marks += [Line([i, i], h.ci95) for i, h in compared if h.ci95]
    marks.append(Points([i for i, _, _ in values], [v for _, v, _ in values], style=_SQUARES))
    return Chart(
        f"{metric}, recommended minus baseline",
        _runs(runs),
        around(metric, [0.0, *bounds, *(v for _, v, _ in values)]),
        marks,
        subtitle="the mean over the pairs of each run, and its 95 % interval",
        description="; ".join(
            f"{_name(runs[i - 1], i)}: {number(h.difference or 0.0)}" for i, h in compared
        ),
    )


def _runs(runs: Sequence[Run]) -> Axis:
    places = np.unique(np.linspace(1, len(runs), min(MOST_NAMES, len(runs))).round().astype(int))
    named = [(float(place), _name(runs[place - 1], place)) for place in places.tolist()]
    return Axis("run, the newest last", 0.5, len(runs) + 0.5, named=named)


def _name(run: Run, place: int) -> str:
    return run.commit[:_NAME] if run.commit else str(place)
