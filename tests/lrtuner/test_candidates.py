"""Candidates: points of the space, schedules that were given, and refined ones, at any horizon."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.candidates import (
    POINTS_PER_FAMILY,
    USUAL_WARMUP,
    GivenShape,
    PointShape,
    RefinedShape,
    constant,
    family_space,
    linear_to_zero,
    named,
    pool,
    search_space,
    to_schedule,
)
from lrtuner.refine import refined
from lrtuner.schedules import SEARCHED
from lrtuner.schedules.grammar import Schedule
from lrtuner.space import Choice
from lrtuner.strategy.proposals import ALIKE

WSD = Schedule.model_validate(
    {
        "total_steps": 200,
        "peak_lr": 0.3,
        "warmup": {"steps": 10.0},
        "body": {"family": "constant"},
        "cooldown": {"start": 160, "steps": 40},
    }
)
POINT = PointShape({"family": "cosine", "warmup_fraction": 0.1, "cosine.end_factor": 0.0})
NORMS = (4.0, 2.0, 1.0, 1.0, 1.0, 2.0)
SHAPES = [POINT, GivenShape(WSD), RefinedShape(NORMS, 1), RefinedShape(NORMS, 2)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)


# what all shapes have in common ------------------------------------------------------------------


@every_shape
@pytest.mark.parametrize("steps", [20, 200, 333])
def test_factors_are_the_schedule_with_the_peak_one(shape, steps):
    factors = shape.factors(steps)
    assert factors.shape == (steps,)
    assert factors.max() == pytest.approx(1.0, abs=0.06)
    assert factors.min() >= 0.0
    assert shape.schedule(1.0, steps).values() == pytest.approx(factors, abs=1e-12)


@every_shape
@given(lr=st.floats(1e-6, 10))
def test_a_schedule_has_the_peak_that_it_is_asked_to_have(shape, lr):
    made = shape.schedule(lr, 100)
    assert (made.peak_lr, made.total_steps, made.unit) == (lr, 100, "step")
    assert made.values() == pytest.approx(lr * shape.factors(100), rel=1e-9, abs=1e-12 * lr)


@every_shape
def test_over_any_horizon_it_is_the_same_shape_stretched(shape):
    short, long = shape.factors(100), shape.factors(400)
    middles = (np.arange(100) + 0.5) / 100
    stretched = np.interp(middles, (np.arange(400) + 0.5) / 400, long)
    assert np.mean(np.abs(short - stretched)) < ALIKE / 2


@every_shape
def test_any_peak_can_be_tried(shape):
    assert shape.peaks(100) is None


def test_keys_tell_shapes_apart_and_peaks_and_horizons_not():
    keys = [shape.key for shape in SHAPES]
    assert len(set(keys)) == len(keys)
    for shape in SHAPES:
        assert shape.key.startswith(f"{shape.family}-")
    other = GivenShape(WSD.model_copy(update={"peak_lr": 0.1}))
    assert other.key == GivenShape(WSD).key
    assert PointShape({**POINT.params, "cosine.end_factor": 0.1}).key != POINT.key
    assert PointShape(dict(reversed(POINT.params.items()))).key == POINT.key


def test_a_name_depends_on_all_of_the_content():
    assert named("cosine", {"a": 1, "b": 2}) == named("cosine", {"b": 2, "a": 1})
    assert named("cosine", {"a": 1}) != named("cosine", {"a": 2})
    family, _, code = named("cosine_restarts", {}).rpartition("-")
    assert (family, len(code)) == ("cosine_restarts", 10)


# the three kinds ---------------------------------------------------------------------------------


def test_a_point_is_the_schedule_of_its_parameters():
    made = POINT.schedule(0.2, 100)
    assert made == to_schedule({**POINT.params, "peak_lr": 0.2}, 100)
    assert (POINT.family, made.warmup.steps) == ("cosine", 10.0)
    assert "peak_lr" not in POINT.params


def test_a_given_schedule_is_itself_over_its_own_horizon():
    shape = GivenShape(WSD)
    assert shape.schedule(0.3, 200).values().tolist() == WSD.values().tolist()
    half = shape.schedule(0.3, 100)
    assert (half.warmup.steps, half.cooldown.start, half.cooldown.steps) == (5.0, 80.0, 20.0)
    assert shape.schedule(0.6, 200).values() == pytest.approx(2 * WSD.values())


@pytest.mark.parametrize("order", [1, 2])
def test_a_refined_shape_is_the_refinement_of_its_norms(order):
    norms = tuple(1.0 + 0.1 * math.sin(i) for i in range(50))
    shape = RefinedShape(norms, order)
    assert shape.factors(50).tolist() == refined(norms, exponent=order).tolist()
    assert shape.schedule(0.1, 50).values() == pytest.approx(0.1 * shape.factors(50))
    assert shape.family == shape.schedule(0.1, 50).body.family == "table"


@pytest.mark.parametrize("steps", [7, 60, 301])
def test_equal_norms_refine_to_linear_decay(steps):
    shape = RefinedShape((2.5,) * 6, 2)
    assert shape.factors(steps) == pytest.approx(1 - np.arange(steps) / (steps - 1), abs=1e-12)


def test_parts_of_a_run_stand_at_their_middles():
    # norms that fall along a line fall along the same line over any horizon
    parts = tuple(10.0 - 8.0 * (i + 0.5) / 16 for i in range(16))
    steps = np.arange(160)
    inner = slice(5, -5)
    norms = RefinedShape(parts, 1)._norms(160)
    assert norms[inner] == pytest.approx((10.0 - 8.0 * (steps + 0.5) / 160)[inner])
    assert (norms[0], norms[-1]) == (parts[0], parts[-1])


# the pool ----------------------------------------------------------------------------------------


def test_the_pool_has_points_of_every_family_and_none_twice():
    points = pool(list(SEARCHED))
    keys = [shape.key for shape in points]
    assert len(set(keys)) == len(keys)
    assert [family for family, _ in itertools.groupby(points, lambda s: s.family)] == list(SEARCHED)
    by_family = {f: sum(s.family == f for s in points) for f in SEARCHED}
    assert all(1 <= count <= POINTS_PER_FAMILY for count in by_family.values())
    for family, count in by_family.items():
        spans = family_space(family).values()
        continuous = any(not isinstance(span, Choice) for span in spans)
        assert not continuous or count == POINTS_PER_FAMILY
    assert {shape.params["warmup_fraction"] for shape in points} == {USUAL_WARMUP}


@pytest.mark.parametrize("family", SEARCHED)
def test_the_points_of_a_family_are_schedules_spread_over_its_space(family):
    points = pool([family])
    space = search_space([family], (0.1, 1.0))
    for shape in points:
        assert set(shape.params) == {"family", *space.names(family)} - {"peak_lr"}
        factors = shape.factors(50)
        assert np.all(np.isfinite(factors))
        assert factors.max() > 0.5  # a short triangle may step over its top
    for name, span in family_space(family).items():
        values = [shape.params[name] for shape in points]
        if isinstance(span, Choice):
            assert set(values) == set(span.values)
        else:  # every quarter of the range, by its own quantiles, has some
            quarters = [span.at(i / 4) for i in range(5)]
            for low, high in itertools.pairwise(sorted(quarters)):
                assert any(low <= value <= high for value in values), (name, low, high)


def test_the_pool_is_the_same_every_time():
    assert [s.key for s in pool(["step", "cosine"])] == [s.key for s in pool(["step", "cosine"])]


def test_the_usual_baseline_is_like_points_of_the_pool_but_not_one_of_them_twice():
    linear = PointShape({k: v for k, v in linear_to_zero(1.0).items() if k != "peak_lr"})
    close = [
        s
        for s in pool(["polynomial"])
        if np.mean(np.abs(s.factors(100) - linear.factors(100))) < ALIKE
    ]
    assert close
    assert linear.family == "polynomial"
    assert constant(0.1)["warmup_fraction"] == 0.0
