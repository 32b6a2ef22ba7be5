"""The agreement of horizons as a picture: what schedules gave over the shorter and the longer."""

from collections.abc import Sequence

from lrtuner.agreement import Agreement, Arm
from lrtuner.plots._axis import around
from lrtuner.plots._chart import WIDTH, Chart, Mark, Note, Points
from lrtuner.plots._panels import panels
from lrtuner.words import number, plural

_NAMED = 3


def rungs_svg(agreements: Sequence[Agreement], metric: str, sign: float) -> str:
    """One scatter plot for each two horizons; the best three over the longer one have their name.

    `sign` is +1 where a smaller metric is better, -1 where a larger is.
    """
    columns = min(len(agreements), 2)
    charts = [_chart(one, metric, sign, WIDTH / columns) for one in agreements]
    return panels("Do short horizons rank schedules as long ones do?", charts, columns=columns)


def _chart(agreement: Agreement, metric: str, sign: float, width: float) -> Chart:
    arms, shorter, longer = agreement.arms, agreement.shorter_steps, agreement.longer_steps
    xs, ys = [arm.shorter_value for arm in arms], [arm.longer_value for arm in arms]
    best = sorted(arms, key=lambda arm: (sign * arm.longer_value, arm.longer_number))[:_NAMED]
    marks: list[Mark] = [Points(xs, ys)]
    marks += [Note(arm.shorter_value, arm.longer_value, _name(arm)) for arm in best]
    return Chart(
        f"{number(shorter)} against {plural(longer, 'step')}",
        around(f"{metric} after {plural(shorter, 'step')}", xs),
        around(f"{metric} after {plural(longer, 'step')}", ys),
        marks,
        subtitle=_subtitle(agreement),
        width=width,
        height=240.0,
    )


def _name(arm: Arm) -> str:
    return f"#{arm.longer_number} {arm.family.replace('_', ' ')}"


def _subtitle(agreement: Agreement) -> str:
    count = plural(len(agreement.arms), "schedule")
    if agreement.spearman is None:
        return f"{count}: no rank correlation"
    return f"{count}, Spearman's rank correlation {agreement.spearman:.2f}"
