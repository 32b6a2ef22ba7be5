"""How the best peak moves with the horizon, and which of the available peaks is meant."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.strategy.peaks import (
    DRIFT_SPREAD,
    MAX_DRIFT,
    PEAK_SPREAD,
    USUAL_DRIFT,
    Drift,
    drift,
    nearest,
    neighbours,
)

PEAKS = st.floats(1e-4, 10)


@pytest.mark.parametrize("peaks", [{}, {100: 0.3}])
def test_one_horizon_says_nothing_of_the_drift(peaks):
    assert drift(peaks) == Drift(USUAL_DRIFT, None)


def test_two_horizons_are_weighed_against_what_is_usual_by_how_sure_each_is():
    found = drift({100: 0.2, 400: 0.1})
    assert found.measured == pytest.approx(0.5)
    error = PEAK_SPREAD * math.sqrt(2) / math.log(4)  # of a slope through two points
    own, usual = error**-2, DRIFT_SPREAD**-2
    assert found.alpha == pytest.approx((own * 0.5 + usual * USUAL_DRIFT) / (own + usual))


def test_horizons_further_apart_say_more():
    near, far = drift({100: 0.1, 200: 0.1}), drift({100: 0.1, 1600: 0.1})
    assert near.measured == far.measured == 0.0
    assert 0.0 < far.alpha < near.alpha < USUAL_DRIFT


def test_the_measured_exponent_is_the_slope_of_least_squares():
    exact = {steps: 0.1 * (steps / 400) ** -0.25 for steps in (100, 200, 400)}
    assert drift(exact).measured == pytest.approx(0.25)
    bent = drift({**exact, 200: 2 * exact[200]})  # the one in the middle tilts nothing
    assert bent.measured == pytest.approx(0.25)


@given(PEAKS, PEAKS, PEAKS)
def test_it_lies_between_both_and_is_clipped(a, b, c):
    found = drift({100: a, 200: b, 400: c})
    low, high = sorted((found.measured, USUAL_DRIFT))
    assert 0.0 <= found.alpha <= MAX_DRIFT
    assert min(max(low, 0.0), MAX_DRIFT) <= found.alpha + 1e-12
    assert found.alpha <= min(max(high, 0.0), MAX_DRIFT) + 1e-12
    assert drift({400: c, 100: a, 200: b}).alpha == pytest.approx(found.alpha)


def test_nonsense_is_clipped_and_told_as_it_was_measured():
    rising, falling = drift({100: 1e-3, 400: 10.0}), drift({100: 10.0, 400: 1e-3})
    assert (rising.alpha, falling.alpha) == (0.0, MAX_DRIFT)
    assert rising.measured == pytest.approx(-falling.measured)
    assert rising.measured < -6


@given(PEAKS, st.floats(0, MAX_DRIFT))
def test_a_peak_is_carried_by_the_ratio_of_the_horizons(lr, alpha):
    found = Drift(alpha)
    assert found.carried(lr, 100, 100) == lr
    assert found.carried(lr, 100, 400) == pytest.approx(lr * 4**-alpha)
    assert found.carried(found.carried(lr, 100, 400), 400, 100) == pytest.approx(lr)


def test_the_nearest_peak_is_so_by_its_ratio():
    assert nearest(0.03, [0.01, 0.08]) == 0.08  # by the difference it would be the other one
    assert nearest(0.02, [0.01, 0.08]) == 0.01
    assert nearest(0.03, None) == 0.03
    assert nearest(0.03, []) is None


@pytest.mark.parametrize(
    ("lr", "beside"),
    [
        (2.0, [1.0, 3.0]),
        (2.5, [2.0, 3.0]),
        (1.0, [2.0]),
        (3.0, [2.0]),
        (0.5, [1.0]),
        (9.0, [3.0]),
    ],
)
def test_neighbours_are_the_next_below_and_above(lr, beside):
    assert neighbours(lr, [1.0, 2.0, 3.0]) == beside
    assert neighbours(lr, []) == []
