"""Paired runs on fresh seeds: the recommendation beside what it was compared with."""

import math
from collections.abc import Iterable, Sequence

from lrtuner.document import Verdict
from lrtuner.evidence import TrialRecord
from lrtuner.schedules.grammar import Schedule
from lrtuner.strict import Record


class Pair(Record):
    """Both runs of one seed: numbers of the trials, metrics, and recommended minus other.

    `test` values are the same metric on the test split, where there is one. Null where a run did
    not train to its end (yet).
    """

    seed: int
    recommended_number: int
    other_number: int
    recommended: float | None
    other: float | None
    difference: float | None
    recommended_test: float | None
    other_test: float | None
    test_difference: float | None


class Pairs(Record):
    """Every pair, the mean difference, and what the verdict makes of it.

    `recommended` and `other` are the schedules of the two sides. `baseline_kept` says that the
    baseline itself is recommended, and `other` is the challenger that did not beat it.
    """

    recommended: Schedule
    other: Schedule
    baseline_kept: bool
    pairs: list[Pair]
    mean: float | None
    ci95: list[float] | None
    p_value: float | None
    test_mean: float | None


def paired_runs(
    trials: Sequence[TrialRecord],
    metric: str,
    verdict: Verdict | None = None,
    recommended: Schedule | None = None,
) -> Pairs | None:
    """The pairs among the trials, in the order they were begun; None if there is none.

    Until a schedule is recommended, the challenger counts as such.
    """
    ours = {t.seed: t for t in trials if t.purpose == "recommended"}
    theirs = {t.seed: t for t in trials if t.purpose == "reference"}
    runs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    if not runs:
        return None
    pairs = [_pair(a, b, metric) for a, b in runs]
    kept = _baseline_kept(runs[0], _mean(p.difference for p in pairs), verdict, recommended)
    if kept:
        runs = [(b, a) for a, b in runs]
        pairs = [_pair(a, b, metric) for a, b in runs]
    return Pairs(
        recommended=runs[0][0].schedule,
        other=runs[0][1].schedule,
        baseline_kept=kept,
        pairs=pairs,
        mean=_mean(p.difference for p in pairs),
        ci95=verdict.ci95 if verdict else None,
        p_value=verdict.p_value if verdict else None,
        test_mean=_mean(p.test_difference for p in pairs),
    )


def _baseline_kept(
    runs: tuple[TrialRecord, TrialRecord],
    mean: float | None,
    verdict: Verdict | None,
    recommended: Schedule | None,
) -> bool:
    """Whether the verdict counts the reference's side as the recommendation."""
    challenger, baseline = (run.schedule for run in runs)
    if recommended is not None:
        told = recommended.bare()
        if told in (challenger, baseline):
            return told == baseline and told != challenger
    # over another horizon than the runs': the verdict's sign tells
    if verdict is None or verdict.difference is None or mean is None:
        return False
    return verdict.difference * mean < 0


def _pair(ours: TrialRecord, theirs: TrialRecord, metric: str) -> Pair:
    on_test = f"test_{metric.removeprefix('val_')}"
    tests = ours.metrics.get(on_test), theirs.metrics.get(on_test)
    return Pair(
        seed=ours.seed,
        recommended_number=ours.number,
        other_number=theirs.number,
        recommended=ours.value,
        other=theirs.value,
        difference=difference(ours.value, theirs.value),
        recommended_test=tests[0],
        other_test=tests[1],
        test_difference=difference(*tests),
    )


def difference(ours: float | None, theirs: float | None) -> float | None:
    """Ours minus theirs, where both are known."""
    return None if ours is None or theirs is None else ours - theirs


def _mean(differences: Iterable[float | None]) -> float | None:
    known = [one for one in differences if one is not None]
    return math.fsum(known) / len(known) if known else None
