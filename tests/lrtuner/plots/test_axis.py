"""Ticks: round, in the range, told apart, and what their labels say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.plots._axis import Axis, around, from_zero
from tests.lrtuner.plots.reading import number

positive = st.floats(1e-9, 1e9)


def labels(axis, most=6):
    return [label for _, label in axis.ticks(most)]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis("", 0, 380), ["0", "100", "200", "300"]),
        (Axis("", 0, 0.131), ["0", "0.025", "0.050", "0.075", "0.100", "0.125"]),
        (Axis("", 0, 3e-4), ["0", "0.5e-4", "1.0e-4", "1.5e-4", "2.0e-4", "2.5e-4", "3.0e-4"]),
        (Axis("", 0, 1.2e-8), ["0", "0.2e-8", "0.4e-8", "0.6e-8", "0.8e-8", "1.0e-8", "1.2e-8"]),
        (Axis("", 0, 1e9), ["0", "0.2G", "0.4G", "0.6G", "0.8G", "1.0G"]),
        (Axis("", 0, 60_000), ["0", "10k", "20k", "30k", "40k", "50k", "60k"]),
        (Axis("", -0.02, 0.01), ["-0.020", "-0.015", "-0.010", "-0.005", "0", "0.005", "0.010"]),
        (Axis("", 0, 1, whole=True), ["0", "1"]),
        (Axis("", 0, 2, whole=True), ["0", "1", "2"]),
        (Axis("", 1e-6, 10, log=True), ["1e-6", "1e-4", "0.01", "1"]),
        (Axis("", 1e-3, 0.1, log=True), ["0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1"]),
        (Axis("", 0.004, 1.0, log=True), ["0.01", "0.03", "0.1", "0.3", "1"]),
        (Axis("", 0, 3, named=[(1.0, "one"), (2.5, "b")]), ["one", "b"]),
        (Axis("", 0.03, 0.04, log=True), ["0.030", "0.032", "0.034", "0.036", "0.038", "0.040"]),
    ],
)
def test_ticks(axis, expected):
    assert labels(axis) == expected


@given(st.floats(-1e9, 1e9), positive, st.integers(2, 12))
def test_linear_ticks(low, span, most):
    high = low + span
    if high - low < 1e-6 * max(abs(low), abs(high)):
        return  # too narrow for its distance from zero
    values = [value for value, _ in Axis("", low, high).ticks(most)]
    assert max(most // 3, 1) <= len(values) <= most + 1
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value in values)
    assert np.allclose(np.diff(values, 2), 0.0, atol=1e-6 * span)


@given(st.integers(1, 10**9), st.integers(2, 12))
def test_ticks_of_what_is_counted_are_whole(count, most):
    values = [value for value, _ in Axis("", 0, count, whole=True).ticks(most)]
    assert 2 <= len(values) <= most + 1 or count < 5
    assert values == [round(value) for value in values]
    assert values[0] == 0
    assert values[-1] <= count


@given(positive, st.floats(1.5, 1e9), st.integers(3, 12))
def test_log_ticks(low, ratio, most):
    ticks = Axis("", low, low * ratio, log=True).ticks(most)
    values = [value for value, _ in ticks]
    assert values == sorted(set(values))
    assert 1 <= len(values) <= most + 2
    assert all(low * (1 - 1e-6) <= value <= low * ratio * (1 + 1e-6) for value in values)


@given(st.floats(0, 1e6), st.floats(1e-8, 1e9), st.booleans())
def test_a_label_says_its_value(low, span, log):
    low = max(low, 1e-9) if log else low
    if span < 1e-3 * low:
        return  # so far from zero, labels would need more digits than fit
    axis = Axis("", low, low + span, log=log)
    ticks = axis.ticks(6)
    assert len({label for _, label in ticks}) == len(ticks)
    for value, label in ticks:
        assert number(label) == pytest.approx(value, rel=1e-6, abs=1e-6 * span)
        assert len(label) <= 9


@given(positive)
def test_an_axis_from_zero_has_room_above(highest):
    axis = from_zero("", highest)
    assert axis.low == 0
    assert 1.1 * highest <= axis.high * (1 + 1e-9)
    assert axis.high <= 2 * highest
    assert axis.ticks(6)[-1][0] == pytest.approx(axis.high)


def test_places_along_an_axis():
    assert Axis("", 10, 20).share([10, 15, 20, 30]).tolist() == [0, 0.5, 1, 2]
    log = Axis("", 1e-4, 1, log=True).share([1e-4, 1e-2, 1, 0.0, -1.0])
    assert log[:3] == pytest.approx([0, 0.5, 1])
    assert np.isnan(log[3:]).all()


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [-3.0], [0.1, 0.1001], [-1e9, 1e9]])
def test_an_axis_around_values_has_room_on_both_sides(values):
    axis = around("", values)
    assert all(axis.low < value < axis.high for value in values)
    assert len(axis.ticks(6)) >= 2


def test_the_room_is_a_share_of_the_values_span():
    axis = around("", [1.0, 3.0], room=0.1)
    assert (axis.low, axis.high) == pytest.approx((0.8, 3.2))
