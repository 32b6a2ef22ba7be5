"""Deciding by paired runs: the statistics, and the verdict with its reason.

Two schedules run on the same seeds (same initial weights, same data order) differ by far less than
two runs of one schedule do; so every decision is on the differences within seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from lrtuner.document import Verdict
from lrtuner.schedules.grammar import Schedule

CONFIRMING_PAIRS = 5
"""Fewest pairs that can confirm: the exact test cannot go below 2^-n, and 2^-4 is above 5 %."""


@dataclass(frozen=True)
class Paired:
    """Mean of the differences d over n seeds, its 95 % interval and the sign-flip p-value.

    The interval is mean +- t(.975, n - 1) sd / sqrt(n), None for a single pair. `p_value` is the
    share of the 2^n sign patterns whose mean is at most the observed one: the chance of a result
    this low if the sign of each difference were a coin toss (one-sided, lower is better).
    """

    count: int
    mean: float
    ci95: tuple[float, float] | None
    p_value: float


def paired(differences: Sequence[float]) -> Paired:
    """The paired statistics of at least one difference.

    Raises:
        ValueError: there is no difference, or one is not finite.
    """
    if not differences or not all(map(math.isfinite, differences)):
        raise ValueError("paired statistics need at least one difference, all of them finite")
    count = len(differences)
    mean = math.fsum(differences) / count
    return Paired(count, mean, _interval(differences, mean), _sign_flip(differences))


def _interval(differences: Sequence[float], mean: float) -> tuple[float, float] | None:
    count = len(differences)
    if count < 2:
        return None
    variance = math.fsum((d - mean) ** 2 for d in differences) / (count - 1)
    half = float(stdtrit(count - 1, 0.975)) * math.sqrt(variance / count)
    return mean - half, mean + half


_EXACT_UP_TO = 16


def _sign_flip(differences: Sequence[float]) -> float:
    # All 2^n patterns up to n = 16; beyond, the first 16 pairs decide: still exact for those.
    used = np.abs(differences[:_EXACT_UP_TO])
    observed = math.fsum(differences[:_EXACT_UP_TO])
    sums = np.zeros(1)
    for size in used:
        sums = np.concatenate([sums + size, sums - size])
    slack = 1e-12 * float(np.sum(used))
    return float(np.mean(sums <= observed + slack))


@dataclass(frozen=True)
class Contest:
    """The challenger and the baseline, and their metric on each fresh seed, in the same order.

    Pairs of which a run did not complete are left out; `challenger_lost` counts those in which the
    challenger was the one that did not.
    """

    challenger: Schedule
    baseline: Schedule
    challenger_values: tuple[float, ...] = ()
    baseline_values: tuple[float, ...] = ()
    challenger_lost: int = 0


@dataclass(frozen=True)
class Decision:
    """Which schedule is recommended, and how sure that is."""

    schedule: Schedule
    verdict: Verdict


def decide(contest: Contest, *, metric: str, sign: float, asked_pairs: int) -> Decision:
    """The recommendation from a challenger's pairs with the baseline.

    `sign` is +1 where a smaller metric is better, -1 where a larger is. The challenger is
    recommended unless the pairs favour the baseline or it diverged in one of them; then the
    baseline is, and the verdict compares it with the challenger. Only a challenger with at least 5
    pairs and an interval that excludes zero on the better side is `confirmed`.
    """
    values = zip(contest.challenger_values, contest.baseline_values, strict=True)
    scores = [sign * (ours - theirs) for ours, theirs in values]
    if contest.challenger_lost:
        return Decision(contest.baseline, _unsafe(contest, metric))
    if not scores:
        return Decision(contest.challenger, _unpaired(contest, metric, asked_pairs))
    stats = paired(scores)
    if stats.mean > 0:
        kept = paired([-score for score in scores])
        judged = _kept(stats, asked_pairs)
        verdict = _verdict(contest.challenger, kept, metric, sign, _means(contest)[::-1], judged)
        return Decision(contest.baseline, verdict)
    judged = _judged(stats, asked_pairs)
    verdict = _verdict(contest.baseline, stats, metric, sign, _means(contest), judged)
    return Decision(contest.challenger, verdict)


_Judged = tuple[Literal["confirmed", "estimated", "no_difference_resolved"], str]


def _judged(stats: Paired, asked_pairs: int) -> _Judged:
    if stats.count < CONFIRMING_PAIRS:
        why = _too_few(stats.count, asked_pairs)
        return "estimated", f"Better than the baseline in the mean of {_pairs(stats.count)}. {why}"
    if stats.ci95 and stats.ci95[1] < 0:
        return (
            "confirmed",
            f"Better than the baseline on {_pairs(stats.count)} of fresh seeds; the 95 % interval "
            "of the paired difference excludes zero.",
        )
    return (
        "no_difference_resolved",
        f"Slightly better than the baseline in the mean of {_pairs(stats.count)} of fresh seeds, "
        "but the 95 % interval of the paired difference includes zero.",
    )


def _kept(stats: Paired, asked_pairs: int) -> _Judged:
    resolved = stats.ci95 is not None and stats.ci95[0] > 0
    how = "was worse" if resolved else "was not better"
    told = (
        f"The baseline itself is recommended: on {_pairs(stats.count)} of fresh seeds the best "
        f"other schedule (given here as what it was compared with) {how}."
    )
    if stats.count < CONFIRMING_PAIRS:
        return "estimated", f"{told} {_too_few(stats.count, asked_pairs)}"
    return "no_difference_resolved", told


def _too_few(count: int, asked_pairs: int) -> str:
    if asked_pairs > count:
        return (
            f"The budget allowed {_pairs(count)} of {asked_pairs}; {CONFIRMING_PAIRS} can confirm."
        )
    return f"{CONFIRMING_PAIRS} pairs are needed to confirm; {asked_pairs} were asked for."


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _unpaired(contest: Contest, metric: str, asked_pairs: int) -> Verdict:
    why = "completed within the budget" if asked_pairs else "was asked for"
    best = "The tuned baseline was" if contest.challenger == contest.baseline else "It was"
    return Verdict(
        status="estimated",
        metric=metric,
        baseline=contest.baseline.document,
        pairs=0,
        reason=f"{best} the best of the search; no pair on fresh seeds {why}, so the gain is "
        "unknown.",
    )


def _unsafe(contest: Contest, metric: str) -> Verdict:
    lost = _runs(contest.challenger_lost)
    return Verdict(
        status="no_difference_resolved",
        metric=metric,
        baseline=contest.challenger.document,
        pairs=len(contest.challenger_values),
        reason="The baseline itself is recommended: the best other schedule (given here as what "
        f"it was compared with) did not complete {lost} on fresh seeds.",
    )


def _verdict(
    compared: Schedule,
    stats: Paired,
    metric: str,
    sign: float,
    means: tuple[float, float],
    judged: _Judged,
) -> Verdict:
    interval = sorted(sign * bound for bound in stats.ci95) if stats.ci95 else None
    return Verdict(
        status=judged[0],
        metric=metric,
        baseline=compared.document,
        difference=sign * stats.mean,
        ci95=interval,
        p_value=stats.p_value,
        pairs=stats.count,
        recommended_mean=means[0],
        baseline_mean=means[1],
        reason=judged[1],
    )


def _means(contest: Contest) -> tuple[float, float]:
    ours, theirs = contest.challenger_values, contest.baseline_values
    return math.fsum(ours) / len(ours), math.fsum(theirs) / len(theirs)
