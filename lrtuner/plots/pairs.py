"""The paired differences as a picture: one dot per fresh seed, their mean, and zero."""

from lrtuner.pairs import Pairs
from lrtuner.plots._axis import Axis, around
from lrtuner.plots._chart import Band, Chart, Interval, Mark, Points, Vertical
from lrtuner.words import number, plural, title

_ROW, _SQUARES = 20.0, 3


def pairs_svg(pairs: Pairs, metric: str, sign: float) -> str:
    """Recommended minus other for each seed, with the mean and its 95 % interval.

    `sign` is +1 where a smaller metric is better, -1 where a larger is; the side on which the
    recommendation is better is shaded.
    """
    rows = list(enumerate(pairs.pairs, start=1))
    dots = [(p.difference, -float(i)) for i, p in rows if p.difference is not None]
    differences = [difference for difference, _ in dots]
    x = around(f"{metric}, recommended minus other", [0.0, *differences, *(pairs.ci95 or [])])
    better = (x.low, 0.0) if sign > 0 else (0.0, x.high)
    marks: list[Mark] = [Band(*better, "recommended is better"), Vertical(0.0, "equal")]
    if pairs.mean is not None:
        low, high = pairs.ci95 or (pairs.mean, pairs.mean)
        marks.append(Interval(low, high, "mean", at=pairs.mean))
    return Chart(
        "Paired differences on fresh seeds",
        x,
        Axis("pair", -len(rows) - 0.5, -0.5, named=[(-float(i), str(i)) for i, _ in rows]),
        [*marks, Points(differences, [y for _, y in dots], style=_SQUARES)],
        subtitle=_subtitle(pairs),
        description=_description(pairs),
        height=max(_ROW * len(rows), 100.0),
    ).svg()


def _subtitle(pairs: Pairs) -> str:
    told = []
    if pairs.mean is not None:
        told.append(f"mean {pairs.mean:+.4g}")
    if pairs.ci95 is not None:
        told.append("95 % interval [{:+.4g}, {:+.4g}]".format(*pairs.ci95))
    if pairs.p_value is not None:
        told.append(f"p = {number(pairs.p_value)}")
    return ", ".join([*told, plural(len(pairs.pairs), "pair")])


def _description(pairs: Pairs) -> str:
    known = ", ".join(f"{p.difference:+.4g}" for p in pairs.pairs if p.difference is not None)
    sides = f"{title(pairs.recommended)}, against {title(pairs.other)}"
    return f"{sides}; {_subtitle(pairs)}; differences {known}"
