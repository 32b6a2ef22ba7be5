"""The loss curves of all runs as a picture: a chart for each horizon, and one for fresh seeds."""

from collections.abc import Sequence

from lrtuner.agreement import FRESH, common_seed
from lrtuner.evidence import TrialRecord
from lrtuner.lifecycle import TrialState
from lrtuner.plots._axis import Axis, around
from lrtuner.plots._chart import WIDTH, Chart, Line, Mark, Points
from lrtuner.plots._panels import panels
from lrtuner.words import family_name, plural

_CROSS, _OTHERS = 1, 5
_WIDE = 8.0
"""Losses whose ratio is above this are drawn over a log axis."""


def trials_svg(trials: Sequence[TrialRecord], sign: float) -> str:
    """The validation loss of every run over its updates, the longest horizon first.

    Of each horizon the best run is marked, and the best of the baseline's shape. `sign` is +1 where
    a smaller value is better, -1 where a larger is.
    """
    fresh = [t for t in trials if t.purpose in FRESH]
    by_horizon: dict[int, list[TrialRecord]] = {}
    for trial in trials:
        if trial.purpose not in FRESH:
            by_horizon.setdefault(trial.schedule.total_steps, []).append(trial)
    columns = min(len(by_horizon) + bool(fresh), 2)
    charts = [
        _chart(f"Runs over {plural(steps, 'step')}", runs, _marks(runs, sign), WIDTH / columns)
        for steps, runs in sorted(by_horizon.items(), reverse=True)
    ]
    if fresh:
        charts.append(_chart("Runs on fresh seeds", fresh, _sides(fresh), WIDTH / columns))
    return panels("Loss curves", charts, columns=columns)


def _chart(title: str, trials: Sequence[TrialRecord], marks: Sequence[Mark], width: float) -> Chart:
    lost = [t for t in trials if t.state is TrialState.DIVERGED]
    ends = [_points(t)[-1] for t in lost if _points(t)]
    losses = _losses(trials)
    xs, ys = [x for x, _ in ends], [min(y, losses.high) for _, y in ends]
    told = plural(len(trials), "run") + (f", {len(lost)} diverged" if lost else "")
    return Chart(
        title,
        Axis("updates", 0.0, max(t.schedule.total_steps for t in trials), whole=True),
        losses,
        [*marks, Points(xs, ys, "diverged" if ends else "", _CROSS)],
        subtitle=told,
        width=width,
        height=200.0,
    )


def _marks(trials: Sequence[TrialRecord], sign: float) -> list[Mark]:
    """The best run and the best of the baseline's shape on one seed, over all others."""
    seed = common_seed(trials)
    done = [(sign * t.value, t.number, t) for t in trials if t.value is not None and t.seed == seed]
    ranked = [t for _, _, t in sorted(done, key=lambda entry: entry[:2])]
    best, shaped = ranked[:1], [t for t in ranked if t.origin == "reference"][:1]
    shaped = [t for t in shaped if t not in best]
    others = [t for t in trials if t not in (*best, *shaped)]
    return [
        *(_curve(t, "" if i else "other runs", _OTHERS, faint=True) for i, t in enumerate(others)),
        *(_curve(t, f"baseline: {_name(t)}", 1) for t in shaped),
        *(_curve(t, f"best: {_name(t)}", 0) for t in best),
    ]


def _sides(trials: Sequence[TrialRecord]) -> list[Mark]:
    """The two sides of the pairs and the comparisons, each by a style."""
    first = {t.purpose: t.number for t in reversed(trials)}
    return [
        _curve(t, t.purpose if first[t.purpose] == t.number else "", FRESH.index(t.purpose))
        for t in trials
    ]


def _curve(trial: TrialRecord, label: str, style: int, *, faint: bool = False) -> Mark:
    points = _points(trial)
    kind = Line if len(points) > 1 else Points
    return kind([x for x, _ in points], [y for _, y in points], label, style, faint)


def _points(trial: TrialRecord) -> list[tuple[int, float]]:
    """Updates, and the validation loss after them."""
    if trial.curve is None:
        return []
    pairs = zip(trial.curve.steps, trial.curve.val_loss, strict=True)
    return [(step, loss) for step, loss in pairs if loss is not None]


def _name(trial: TrialRecord) -> str:
    return f"#{trial.number} {family_name(trial.schedule)}"


def _losses(trials: Sequence[TrialRecord]) -> Axis:
    """Over the losses of runs that trained to their end; the others' may be cut off."""
    chosen = [t for t in trials if t.state is TrialState.COMPLETE] or trials
    losses = [loss for t in chosen for _, loss in _points(t)]
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    if 0.0 < low < high / _WIDE:
        return Axis("validation loss", low / 1.1, high * 1.1, log=True)
    return around("validation loss", losses)
