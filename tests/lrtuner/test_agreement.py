"""Whether short horizons rank as long ones: the correlation, and which runs are compared."""

import math

import numpy as np
import pytest
from scipy import stats

from lrtuner.agreement import agreements, spearman
from tests.searched import T, trial, trials


def test_of_a_search():
    found = agreements(trials())
    assert [(a.shorter_steps, a.longer_steps) for a in found] == [(20, 40), (20, 80), (40, 80)]
    first = found[0]
    assert [(a.shorter_number, a.longer_number) for a in first.arms] == [(2, 5), (1, 6), (3, 7)]
    assert [(a.family, a.shorter_value, a.longer_value) for a in first.arms] == [
        ("cosine", 0.75, 0.60),
        ("polynomial", 0.80, 0.62),
        ("step", 0.85, 0.66),
    ]
    assert first.spearman == pytest.approx(1.0)
    assert found[1].spearman is None  # two arms only


@pytest.mark.parametrize("seed", range(20))
def test_the_correlation_is_scipys_with_and_without_ties(seed):
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=12) if seed % 2 else rng.integers(0, 4, size=12)
    ys = xs + rng.integers(-2, 3, size=12)
    expected = stats.spearmanr(xs, ys).statistic
    assert spearman(list(xs), list(ys)) == pytest.approx(expected, abs=1e-12)


def test_the_correlation_is_never_beyond_one():
    for count in range(3, 60):
        assert spearman(range(count), [x**3 for x in range(count)]) == pytest.approx(1.0)
        assert abs(spearman(range(count), [-x for x in range(count)])) <= 1.0


@pytest.mark.parametrize("pair", [([], []), ([1, 2], [3, 4]), ([1, 2, 3], [7, 7, 7])])
def test_what_says_nothing_has_no_correlation(pair):
    assert spearman(*pair) is None


def test_peaks_correspond_when_the_drift_is_taken_off():
    short = [trial(i, peak=0.1 * 2**i, steps=20, value=0.5 + i) for i in range(3)]
    drift = 0.5
    moved = [trial(3 + i, peak=0.1 * 2**i * 0.25**drift, value=0.4 + i) for i in range(3)]
    [found] = agreements([*short, *moved], drift)
    assert [(a.shorter_number, a.longer_number) for a in found.arms] == [(0, 3), (1, 4), (2, 5)]
    [without] = agreements([*short, *moved])
    assert [(a.shorter_number, a.longer_number) for a in without.arms] == [(0, 4), (1, 5)]


def test_a_peak_farther_than_half_an_octave_is_another_arm():
    near, far = trial(1, peak=0.1 * 1.41), trial(1, peak=0.1 * 1.42)
    assert agreements([trial(0, steps=20), near])
    assert agreements([trial(0, steps=20), far]) == []


def test_a_run_stands_for_one_arm_only_the_nearest():
    short = trial(0, steps=20, peak=0.1)
    found = agreements([short, trial(1, peak=0.12), trial(2, peak=0.11)])
    assert [a.longer_number for a in found[0].arms] == [2]


def test_other_shapes_other_seeds_and_failures_are_not_compared():
    short = trial(0, steps=20)
    assert agreements([short, trial(1, body="step")]) == []
    assert agreements([short, trial(1, value=None)]) == []
    assert agreements([short, trial(1, "recommended")]) == []
    twice = [trial(1, steps=20, seed=5), trial(2, steps=20), trial(3, steps=20, body="step")]
    [found] = agreements([*twice, trial(4), trial(5, body="step")])
    assert [a.shorter_number for a in found.arms] == [2, 3]  # of the seed that most ran on


def test_peaks_and_horizons_are_told():
    [found] = agreements([trial(0, steps=20), trial(1, peak=0.09)])
    [arm] = found.arms
    assert (arm.shorter_peak, arm.longer_peak) == (0.1, 0.09)
    assert (found.shorter_steps, found.longer_steps) == (20, T)
    assert math.isclose(arm.longer_value, 0.5)
