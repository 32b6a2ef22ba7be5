"""Whether short horizons rank schedules as long ones do, measured on the job itself."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lrtuner.evidence import TrialRecord
from lrtuner.strict import Record

FEWEST = 3
"""A rank correlation of fewer schedules says nothing: two are always +1 or -1."""

APART = math.log(2.0) / 2.0
"""Peaks of one shape within half an octave, the drift with the horizon allowed for, are one arm."""

FRESH = ("recommended", "reference", "comparison")
"""Purposes of runs on seeds of their own, which nothing was chosen by."""


class Arm(Record):
    """One schedule over two horizons: the numbers of its runs, their peaks and their values."""

    family: str
    shorter_number: int
    longer_number: int
    shorter_peak: float
    longer_peak: float
    shorter_value: float
    longer_value: float


class Agreement(Record):
    """The arms that were run over both horizons, and the rank correlation of their values.

    `spearman` is None where there are fewer than 3 arms, or all of one horizon are tied.
    """

    shorter_steps: int
    longer_steps: int
    spearman: float | None
    arms: list[Arm]


def agreements(trials: Sequence[TrialRecord], drift: float = 0.0) -> list[Agreement]:
    """The agreement of every two horizons that have an arm in common, the shortest first.

    Of each horizon only the seed that most runs have is used. A peak `lr` over T steps stands for
    the peak lr (T / T')^drift over T'.
    """
    chosen = [t for t in trials if t.value is not None and t.purpose not in FRESH]
    horizons = sorted({t.schedule.total_steps for t in chosen})
    of_horizon = {steps: _on_one_seed(chosen, steps) for steps in horizons}
    pairs = [
        (shorter, longer, _matched(of_horizon[shorter], of_horizon[longer], drift))
        for shorter, longer in combinations(horizons, 2)
    ]
    return [_agreement(*pair) for pair in pairs if pair[2]]


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, tied values sharing their mean rank.

    None where there are fewer than 3 pairs, or all x or all y are equal.
    """
    if len(xs) < FEWEST:
        return None
    x, y = _centred_ranks(xs), _centred_ranks(ys)
    norm = math.sqrt(float(x @ x) * float(y @ y))
    # rounding must not make it 1.0000000000000002
    return min(max(float(x @ y) / norm, -1.0), 1.0) if norm else None


def common_seed(trials: Sequence[TrialRecord]) -> int:
    """The seed that most runs have: values on different seeds do not compare."""
    [(seed, _)] = Counter(trial.seed for trial in trials).most_common(1)
    return seed


def _centred_ranks(values: Sequence[float]) -> NDArray[np.float64]:
    _, group, sizes = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2.0)[group]
    centred: NDArray[np.float64] = ranks - ranks.mean()
    return centred


def _on_one_seed(trials: Sequence[TrialRecord], steps: int) -> list[TrialRecord]:
    own = [t for t in trials if t.schedule.total_steps == steps]
    seed = common_seed(own)
    return [t for t in own if t.seed == seed]


def _matched(
    shorter: Sequence[TrialRecord], longer: Sequence[TrialRecord], drift: float
) -> list[tuple[TrialRecord, TrialRecord]]:
    """Runs of one shape whose peaks correspond, each at most once, the nearest first."""
    near = sorted(
        (distance, a.number, b.number)
        for a in shorter
        for b in longer
        if a.shape == b.shape and (distance := _distance(a, b, drift)) <= APART
    )
    partner: dict[int, int] = {}
    for _, a, b in near:
        if b not in partner and a not in partner.values():
            partner[b] = a
    runs = {t.number: t for t in shorter}
    return [(runs[partner[t.number]], t) for t in longer if t.number in partner]


def _distance(a: TrialRecord, b: TrialRecord, drift: float) -> float:
    horizons = math.log(a.schedule.total_steps / b.schedule.total_steps)
    peaks = math.log(b.schedule.peak_lr / a.schedule.peak_lr)
    return abs(peaks - drift * horizons)


def _agreement(
    shorter: int, longer: int, runs: Sequence[tuple[TrialRecord, TrialRecord]]
) -> Agreement:
    arms = [
        Arm(
            family=b.schedule.body.family,
            shorter_number=a.number,
            longer_number=b.number,
            shorter_peak=a.schedule.peak_lr,
            longer_peak=b.schedule.peak_lr,
            shorter_value=a.value,
            longer_value=b.value,
        )
        for a, b in runs
        if a.value is not None and b.value is not None
    ]
    values = [arm.shorter_value for arm in arms], [arm.longer_value for arm in arms]
    return Agreement(
        shorter_steps=shorter, longer_steps=longer, spearman=spearman(*values), arms=arms
    )
