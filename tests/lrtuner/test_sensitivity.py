"""What half and twice the peak cost, as runs at a few peaks tell it."""

import math

import pytest

from lrtuner.sensitivity import sensitivity


def bowl(lr, best=0.1, curvature=0.3):
    return 0.5 * math.exp(curvature * math.log(lr / best) ** 2)


def changes(points, peak, **more):
    return [told.change for told in sensitivity(points, peak, **more)]


def test_a_parabola_in_the_logarithms_is_found_again():
    points = [(lr, bowl(lr)) for lr in (0.03, 0.1, 0.3)]
    expected = math.exp(0.3 * math.log(2) ** 2) - 1
    assert changes(points, 0.1) == pytest.approx([expected, expected])
    assert changes(points, 0.1, factors=(1.0,)) == pytest.approx([0.0])


def test_away_from_the_lowest_one_side_costs_and_the_other_gains():
    points = [(lr, bowl(lr)) for lr in (0.03, 0.1, 0.3)]
    half, double = changes(points, 0.06)
    assert half == pytest.approx(bowl(0.03) / bowl(0.06) - 1)
    assert double == pytest.approx(bowl(0.12) / bowl(0.06) - 1)
    assert double < 0 < half


def test_the_three_nearest_peaks_count():
    points = [(lr, bowl(lr)) for lr in (0.05, 0.1, 0.2)]
    odd = [*points, (0.001, 99.0), (10.0, 99.0)]
    assert changes(odd, 0.1) == pytest.approx(changes(points, 0.1))


def test_the_scale_of_the_loss_does_not_matter():
    points = [(0.03, 0.9), (0.1, 0.5), (0.3, 0.8)]
    scaled = [(lr, 1000 * loss) for lr, loss in points]
    assert changes(scaled, 0.1) == pytest.approx(changes(points, 0.1))


def test_nothing_is_told_beyond_what_trained_to_its_end():
    points = [(0.025, 0.7), (0.05, 0.6), (0.1, 0.5), (0.2, math.inf)]
    half, double = changes(points, 0.1)
    assert half == pytest.approx(0.2)
    assert double is None


@pytest.mark.parametrize("points", [[], [(0.1, 0.5)], [(0.05, 0.6), (0.2, 0.7)]])
def test_too_few_say_nothing(points):
    assert changes(points, 0.1) == [None, None]


def test_the_factors_are_told():
    assert [told.factor for told in sensitivity([], 0.1)] == [0.5, 2.0]
