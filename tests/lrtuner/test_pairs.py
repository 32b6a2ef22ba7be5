"""The pairs on fresh seeds: which runs belong together, and which side is the recommendation."""

import pytest

from lrtuner.pairs import paired_runs
from lrtuner.selection import Contest, decide
from tests.searched import FRESH, VERDICT, schedule, trial, trials


def judged(ours, theirs):
    """The trials of pairs with these values, and what selection makes of them."""
    runs = []
    for seed, values in enumerate(zip(ours, theirs, strict=True)):
        for purpose, shape, value in zip(
            ("recommended", "reference"), ("cosine", "linear"), values, strict=True
        ):
            runs.append(trial(len(runs), purpose, shape, value, seed=seed))
    contest = Contest(schedule("cosine"), schedule("linear"), tuple(ours), tuple(theirs))
    return runs, decide(contest, metric="val_loss", sign=1.0, asked_pairs=len(ours))


def test_every_pair_with_both_numbers_and_the_test_split():
    found = paired_runs(trials(), "val_loss", VERDICT, schedule("cosine"))
    assert [pair.seed for pair in found.pairs] == list(FRESH)
    first = found.pairs[0]
    assert (first.recommended_number, first.other_number) == (11, 12)
    assert (first.recommended, first.other) == (0.50, 0.53)
    assert first.difference == pytest.approx(-0.03)
    assert (first.recommended_test, first.other_test) == (0.6, 0.63)
    assert first.test_difference == pytest.approx(-0.03)
    assert found.mean == pytest.approx(VERDICT.difference)
    assert found.test_mean == pytest.approx(VERDICT.difference)
    assert (found.ci95, found.p_value) == (VERDICT.ci95, VERDICT.p_value)
    assert (found.recommended, found.other) == (schedule("cosine"), schedule("linear"))
    assert not found.baseline_kept


def test_another_metric_has_another_test_value_or_none():
    run = trial(0, "recommended", metrics={"test_accuracy": 0.9, "test_loss": 1.0})
    other = trial(1, "reference", "linear", metrics={"test_accuracy": 0.7, "steps_to_target": 9})
    found = paired_runs([run, other], "val_accuracy")
    assert found.pairs[0].test_difference == pytest.approx(0.2)
    assert paired_runs([run, other], "steps_to_target").pairs[0].other_test is None


@pytest.mark.parametrize("gain", [-0.1, 0.1])
def test_the_mean_is_the_verdicts_difference_whoever_is_recommended(gain):
    runs, decision = judged([0.5, 0.6, 0.71], [0.5 - gain, 0.6 - gain, 0.7 - gain])
    found = paired_runs(runs, "val_loss", decision.verdict, decision.schedule)
    assert found.baseline_kept == (gain > 0)
    assert found.recommended == decision.schedule
    assert found.mean == pytest.approx(decision.verdict.difference)
    assert found.ci95[0] <= found.mean <= found.ci95[1]
    assert [p.recommended < p.other for p in found.pairs] == [True] * 3


@pytest.mark.parametrize("gain", [-0.1, 0.1])
def test_over_another_horizon_the_verdicts_sign_tells(gain):
    runs, decision = judged([0.5, 0.6, 0.71], [0.5 - gain, 0.6 - gain, 0.7 - gain])
    longer = decision.schedule.rescaled(400).model_copy(update={"peak_lr": 0.07})
    found = paired_runs(runs, "val_loss", decision.verdict, longer)
    assert found.baseline_kept == (gain > 0)
    assert found.mean == pytest.approx(decision.verdict.difference)


def test_a_challenger_that_diverged_leaves_the_baseline():
    runs = [trial(0, "recommended", value=None), trial(1, "reference", "linear", 0.5)]
    contest = Contest(schedule("cosine"), schedule("linear"), challenger_lost=1)
    decision = decide(contest, metric="val_loss", sign=1.0, asked_pairs=1)
    found = paired_runs(runs, "val_loss", decision.verdict, decision.schedule)
    assert found.baseline_kept
    [pair] = found.pairs
    assert (pair.recommended, pair.other, pair.difference) == (0.5, None, None)
    assert found.mean is None


def test_before_there_is_a_verdict_the_challenger_counts():
    runs = [t for t in trials() if t.seed in FRESH[:2]]
    found = paired_runs(runs, "val_loss")
    assert found.recommended == schedule("cosine")
    assert (found.ci95, found.p_value) == (None, None)
    assert found.mean == pytest.approx(-0.0305)


def test_a_run_without_its_partner_is_no_pair():
    assert paired_runs([trial(0, "recommended")], "val_loss") is None
    assert paired_runs([trial(0, "recommended"), trial(1, "reference", seed=5)], "val_loss") is None
    assert paired_runs([], "val_loss") is None
