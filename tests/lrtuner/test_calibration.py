"""How often the verdict is right: the real selection code on simulated jobs."""

import numpy as np
import pytest

from lrtuner.candidates import constant, linear_to_zero, to_schedule
from lrtuner.selection import CONFIRMING_PAIRS, Contest, decide

JOBS = 1000
OURS, THEIRS = to_schedule(linear_to_zero(0.1), 100), to_schedule(constant(0.1), 100)


def verdicts(effect, *, pairs=CONFIRMING_PAIRS, noise="normal", sign=1.0, jobs=JOBS):
    """Of each job: the runs of a seed share what the seed brings; `effect` is in paired sds."""
    generator = np.random.default_rng(7)
    for _ in range(jobs):
        shared = 2.0 + generator.normal(0, 3.0, pairs)  # far more than the schedules differ
        a, b = (_noise(generator, noise, pairs) / np.sqrt(2) for _ in range(2))
        ours, theirs = shared + sign * (a - effect), shared + sign * b
        contest = Contest(OURS, THEIRS, tuple(ours), tuple(theirs))
        yield decide(contest, metric="val_loss", sign=sign, asked_pairs=pairs)


def _noise(generator, kind, count):
    if kind == "normal":
        return generator.normal(0, 1, count)
    if kind == "heavy":
        return generator.standard_t(3, count) / np.sqrt(3.0)
    return generator.exponential(1, count) - 1.0  # skewed


def share(jobs, status, schedule=None):
    found = [d for d in jobs if d.verdict.status == status and schedule in (None, d.schedule)]
    return len(found) / JOBS


@pytest.mark.parametrize("noise", ["normal", "heavy", "skewed"])
@pytest.mark.parametrize("pairs", [5, 8, 12])
def test_without_an_effect_at_most_one_in_twenty_is_confirmed(pairs, noise):
    assert share(verdicts(0.0, pairs=pairs, noise=noise), "confirmed") <= 0.05


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_effect_of_two_paired_deviations_is_confirmed_in_four_of_five(sign):
    assert share(verdicts(2.0, sign=sign), "confirmed", OURS) >= 0.8


def test_a_harmful_challenger_is_never_recommended_as_confirmed():
    decisions = list(verdicts(-1.0))
    assert share(decisions, "confirmed") <= 0.001
    assert sum(d.schedule == THEIRS for d in decisions) >= 0.95 * JOBS


@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_however_large_the_effect_fewer_than_five_pairs_confirm_nothing(pairs):
    assert share(verdicts(50.0, pairs=pairs), "estimated") == 1.0


def test_the_baseline_against_itself_is_never_confirmed():
    values = tuple(np.random.default_rng(0).normal(0, 1, 5))
    decision = decide(Contest(OURS, OURS, values, values), metric="x", sign=1.0, asked_pairs=5)
    assert decision.verdict.status == "no_difference_resolved"


def test_the_interval_holds_the_effect_in_nineteen_of_twenty():
    held = 0
    for decision in verdicts(0.5):
        low, high = decision.verdict.ci95
        difference = -0.5 if decision.schedule == OURS else 0.5
        held += low <= difference <= high
    assert 0.93 <= held / JOBS <= 0.97
