import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.schedules.grammar import Schedule
from lrtuner.selection import Contest, decide, paired

A, B = (
    Schedule.model_validate({"total_steps": 9, "peak_lr": lr, "body": {"family": "constant"}})
    for lr in (0.1, 0.2)
)


def decided(ours, theirs, *, sign=1.0, asked=5, lost=0):
    contest = Contest(A, B, tuple(ours), tuple(theirs), lost)
    return decide(contest, metric="val_loss", sign=sign, asked_pairs=asked)


def test_interval_and_p_value_of_a_known_case():
    stats = paired([-1.0, -2.0, -3.0, -4.0, -5.0])
    assert stats.mean == -3.0
    half = 2.7764451051977987 * math.sqrt(2.5) / math.sqrt(5)  # t(.975, 4), sd of the five
    assert stats.ci95 == pytest.approx((-3.0 - half, -3.0 + half))
    assert stats.p_value == 1 / 32


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=7))
def test_the_p_value_is_the_share_of_sign_patterns(differences):
    sums = [
        math.fsum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    slack = 1e-12 * math.fsum(map(abs, differences))
    share = sum(total <= math.fsum(differences) + slack for total in sums) / len(sums)
    assert paired(differences).p_value == pytest.approx(share)


@pytest.mark.parametrize("differences", [[], [math.nan], [1.0, math.inf]])
def test_nothing_and_no_numbers_are_refused(differences):
    with pytest.raises(ValueError, match="finite"):
        paired(differences)


def test_five_clear_pairs_confirm():
    decision = decided([1.0, 1.1, 1.2, 1.0, 1.1], [1.5, 1.6, 1.65, 1.55, 1.6])
    verdict = decision.verdict
    assert decision.schedule is A
    assert verdict.status == "confirmed"
    assert verdict.difference == pytest.approx(-0.5)
    assert verdict.ci95[0] < verdict.difference < verdict.ci95[1] < 0
    assert verdict.p_value == 1 / 32
    assert verdict.baseline == B.document
    assert (verdict.recommended_mean, verdict.baseline_mean) == pytest.approx((1.08, 1.58))


def test_four_clear_pairs_only_estimate():
    verdict = decided([1.0] * 4, [1.5, 1.6, 1.7, 1.5]).verdict
    assert verdict.status == "estimated"
    assert "4 pairs of 5" in verdict.reason


def test_an_interval_over_zero_resolves_nothing():
    verdict = decided([1.0, 1.3, 0.9, 1.2, 1.0], [1.1, 1.2, 1.1, 1.1, 1.05]).verdict
    assert verdict.status == "no_difference_resolved"
    assert verdict.ci95[0] < 0 < verdict.ci95[1]


def test_where_the_baseline_is_better_it_is_recommended():
    decision = decided([1.5, 1.6, 1.7, 1.5, 1.6], [1.0, 1.1, 1.2, 1.0, 1.05])
    assert decision.schedule is B
    assert decision.verdict.status == "no_difference_resolved"
    assert decision.verdict.baseline == A.document
    assert decision.verdict.difference < 0
    assert "baseline itself" in decision.verdict.reason


def test_a_larger_metric_can_be_the_better_one():
    decision = decided([0.9, 0.91, 0.92, 0.9, 0.91], [0.8, 0.81, 0.83, 0.8, 0.8], sign=-1.0)
    assert decision.schedule is A
    assert decision.verdict.status == "confirmed"
    assert decision.verdict.difference > 0
    assert decision.verdict.ci95[0] > 0


def test_one_pair_has_no_interval():
    verdict = decided([1.0], [1.1], asked=1).verdict
    assert verdict.status == "estimated"
    assert verdict.ci95 is None
    assert verdict.p_value == 0.5


def test_without_pairs_the_gain_is_unknown():
    decision = decided([], [])
    assert decision.schedule is A
    assert decision.verdict.status == "estimated"
    assert decision.verdict.difference is None
    assert "within the budget" in decision.verdict.reason
    assert "was asked for" in decided([], [], asked=0).verdict.reason


def test_a_challenger_that_diverged_on_a_fresh_seed_is_not_recommended():
    decision = decided([1.0] * 4, [1.5, 1.6, 1.7, 1.5], lost=1)
    assert decision.schedule is B
    assert "1 run" in decision.verdict.reason


@given(st.lists(st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)), min_size=5, max_size=8))
def test_confirmed_is_said_only_as_defined(pairs):
    ours, theirs = zip(*pairs, strict=True)
    decision = decided(ours, theirs)
    if decision.verdict.status == "confirmed":
        assert decision.schedule is A
        assert decision.verdict.pairs >= 5
        assert decision.verdict.ci95[1] < 0
