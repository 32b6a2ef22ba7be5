"""A schedule derived from the gradient norms of a run: by hand, by definition, and as a body."""

import math
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lrtuner.bound import bound
from lrtuner.errors import InvalidInputError, UnsupportedError
from lrtuner.refine import refined, smoothed, table
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.table import MAX_VALUES

NORMS = st.lists(st.floats(0.01, 100), min_size=2, max_size=40)
SMOOTHINGS = st.floats(0, 1)
EXPONENTS = st.sampled_from([1, 2])


def refined_by_definition(norms, exponent):
    weights = [norm**-exponent for norm in norms]
    rates = [w * sum(weights[t + 1 :]) for t, w in enumerate(weights)]
    return [rate / max(rates) for rate in rates]


def smoothed_by_definition(norms, smoothing):
    """Each window on its own; the run is looked up where it is mirrored, for far longer."""
    half, last = math.floor(smoothing * len(norms) / 2), len(norms) - 1

    def at(t):
        return norms[max(last - abs(last - t), 0)]

    return [median(at(t + k) for k in range(-half, half + 1)) for t in range(len(norms))]


@pytest.mark.parametrize(
    ("exponent", "factors"),
    [(2, [1, 0.21, 0.05, 0.16, 0]), (1, [1, 7 / 18, 1 / 6, 2 / 9, 0])],
)
def test_five_norms_by_hand(exponent, factors):
    found = refined([1, 2, 4, 2, 1], exponent=exponent, smoothing=0)
    assert found.tolist() == pytest.approx(factors)


@pytest.mark.parametrize("norm", [1e-50, 0.3, 1e50])
@pytest.mark.parametrize("exponent", [1, 2])
@pytest.mark.parametrize("steps", [2, 3, 100])
def test_equal_norms_give_linear_decay(norm, exponent, steps):
    found = refined([norm] * steps, exponent=exponent)
    assert found == pytest.approx(np.linspace(1, 0, steps))
    assert np.all(np.diff(found) < 0)


@given(NORMS, EXPONENTS, SMOOTHINGS)
def test_the_running_sums_give_what_the_definition_says(norms, exponent, smoothing):
    expected = refined_by_definition(smoothed_by_definition(norms, smoothing), exponent)
    assert refined(norms, exponent=exponent, smoothing=smoothing).tolist() == pytest.approx(
        expected, rel=1e-9, abs=1e-12
    )


@given(NORMS, EXPONENTS, SMOOTHINGS)
def test_the_factors_reach_one_and_end_in_zero(norms, exponent, smoothing):
    found = refined(norms, exponent=exponent, smoothing=smoothing)
    assert found.shape == (len(norms),)
    assert found.max() == 1.0
    assert found[-1] == 0.0
    assert found.min() >= 0.0


@given(NORMS, EXPONENTS, SMOOTHINGS, st.floats(1e-6, 1e6))
def test_only_ratios_of_norms_count(norms, exponent, smoothing, by):
    one = refined(norms, exponent=exponent, smoothing=smoothing)
    other = refined(np.array(norms) * by, exponent=exponent, smoothing=smoothing)
    assert other == pytest.approx(one, rel=1e-9, abs=1e-12)


@given(NORMS, EXPONENTS, SMOOTHINGS)
def test_norms_that_never_fall_give_factors_that_never_rise(norms, exponent, smoothing):
    found = refined(sorted(norms), exponent=exponent, smoothing=smoothing)
    assert np.all(np.diff(found) <= 1e-12)


def test_norms_that_fall_at_first_give_a_warmup():
    found = refined([10.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], exponent=2, smoothing=0)
    assert found[0] < found[1] < found[2] == 1.0
    assert np.all(np.diff(found[2:]) < 0)


@given(NORMS, SMOOTHINGS)
def test_the_median_is_that_of_every_window(norms, smoothing):
    found = smoothed(norms, smoothing)
    assert found.tolist() == smoothed_by_definition(norms, smoothing)


def test_the_window_is_centred_repeats_the_first_step_and_mirrors_at_the_last():
    norms = [8.0, 1.0, 5.0, 2.0, 9.0, 4.0]
    # 2 floor(0.4 x 6 / 2) + 1 is 3: 8 8 1, 8 1 5, 1 5 2, 5 2 9, 2 9 4, 9 4 9
    assert smoothed(norms, 0.4).tolist() == [8.0, 5.0, 2.0, 5.0, 4.0, 9.0]
    # 2 floor(0.7 x 6 / 2) + 1 is 5: 8 8 8 1 5, 8 8 1 5 2, ..., 5 2 9 4 9, 2 9 4 9 2
    assert smoothed(norms, 0.7).tolist() == [8.0, 5.0, 5.0, 4.0, 5.0, 4.0]


def test_a_tenth_of_the_run_is_the_usual_width():
    norms = np.ones(100)
    norms[30:35] = 50.0
    assert smoothed(norms).tolist() == [1.0] * 100  # 5 of 11 steps are no majority
    norms[35] = 50.0
    assert set(smoothed(norms)) == {1.0, 50.0}


def test_a_spike_of_a_single_batch_changes_nothing():
    norms = np.linspace(2.0, 1.0, 200)
    spiked = norms.copy()
    spiked[70] = 1e6
    calm = refined(norms, exponent=2)
    assert np.abs(refined(spiked, exponent=2) - calm).max() < 0.01
    assert np.abs(refined(spiked, exponent=2, smoothing=0) - calm).max() > 0.5


def test_without_smoothing_the_norms_stay_as_they_are():
    assert smoothed([3.0, 1.0, 2.0], 0.0).tolist() == [3.0, 1.0, 2.0]
    assert smoothed([3.0], 1.0).tolist() == [3.0]


def test_at_its_norms_the_refined_schedule_has_a_lower_bound_than_linear_decay():
    norms = 1.0 + 9.0 * np.exp(-np.arange(200) / 20)
    decay = 1.0 - np.arange(200) / 200
    derived = refined(norms, exponent=2)
    assert bound(derived, norms).best_value < 0.95 * bound(decay, norms).best_value


def test_extremes_stay_within_the_range_of_floats():
    for norms in ([1e-50, 1e50, 1e50], [1e50, 1e50, 1e-50], [1e50, 1e-50, 1e50]):
        assert refined(norms, exponent=2, smoothing=0).max() == 1.0


def test_the_table_is_the_body_of_a_schedule():
    factors = refined([1, 2, 4, 2, 1], exponent=2, smoothing=0)
    schedule = Schedule(total_steps=5, peak_lr=0.1, body=table(factors))
    assert schedule.values().tolist() == (0.1 * factors).tolist()
    assert schedule.rescaled(10).values()[::2].tolist() == (0.1 * factors).tolist()


@pytest.mark.parametrize(
    ("norms", "options", "message"),
    [
        ([], {}, "one per step, got shape"),
        (1.0, {}, "one per step, got shape"),
        ([[1.0, 2.0]], {}, "one per step, got shape"),
        ([1.0], {}, "at least 2"),
        ([1.0, 0.0], {}, "got 0.0"),
        ([1.0, -1.0], {}, "got -1.0"),
        ([1.0, math.nan, 1.0], {}, "got nan"),
        ([1.0, math.inf, 1.0], {}, "got inf"),
        ([1.0, 2.0], {"exponent": 3}, "exponent must be 1 or 2, got 3"),
        ([1.0, 2.0], {"smoothing": -0.1}, "smoothing must be 0 to 1, got -0.1"),
        ([1.0, 2.0], {"smoothing": 1.1}, "smoothing must be 0 to 1, got 1.1"),
        ([1.0, 2.0], {"smoothing": math.nan}, "smoothing must be 0 to 1, got nan"),
    ],
)
def test_what_cannot_be_refined_is_refused(norms, options, message):
    with pytest.raises(InvalidInputError, match=message):
        refined(norms, **{"exponent": 2} | options)


def test_a_table_has_a_longest_length_and_factors_only():
    with pytest.raises(UnsupportedError, match="1000001 values; at most 1000000"):
        table(np.zeros(MAX_VALUES + 1))
    for factors in ([], [1.5], [math.nan]):
        with pytest.raises(ValidationError):
            table(factors)
