"""What the bound proposes: in which order, at which peaks, and what it leaves out."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtuner.bound import bound
from lrtuner.strategy.proposals import ALIKE, RESOLUTION, RUNG, Tuned
from tests.lrtuner.strategy.world import LINEAR, SHAPES, Toy

STEPS = 100
WIDE = (1e-9, 1e9)
TUNED = Tuned(LINEAR, 0.2, STEPS)
OTHERS = [shape for shape in SHAPES if shape != LINEAR]


KNOWN = bound(LINEAR.factors(STEPS))


def value(entrant, tuned=TUNED):
    """The bound of an entrant at the peak that it is tried at."""
    scale = KNOWN.best_gamma / tuned.lr
    return bound(entrant.shape.factors(STEPS)).at(scale * entrant.lr)


def carried(shape):
    """Its best peak, were the bound the truth."""
    return 0.2 * bound(shape.factors(STEPS)).best_gamma / KNOWN.best_gamma


def places(entrants):
    """The how many-th of its family each is."""
    families = [entrant.shape.family for entrant in entrants]
    return [families[: i + 1].count(family) for i, family in enumerate(families)]


def test_each_is_tried_at_the_peak_that_the_bound_carries_over_but_rounded():
    for entrant in TUNED.proposals(OTHERS, WIDE):
        assert abs(math.log(entrant.lr / carried(entrant.shape), RUNG)) <= 0.5 + 1e-9
        assert entrant.lr == 0.2 * RUNG ** round(math.log(entrant.lr / 0.2, RUNG))
        assert (entrant.steps, entrant.origin) == (STEPS, "bound")


def test_the_best_of_each_family_come_first_then_the_second_ones():
    found = TUNED.proposals(OTHERS, WIDE)
    assert places(found) == sorted(places(found))
    assert max(places(found)) > 2
    for place in set(places(found)):
        level = [value(e) for e, own in zip(found, places(found), strict=True) if own == place]
        assert level == sorted(level)
    for family in {entrant.shape.family for entrant in found}:
        own = [value(entrant) for entrant in found if entrant.shape.family == family]
        assert own == sorted(own)


def test_their_order_is_that_of_the_bound_at_the_peak_that_they_get():
    shapes = [Toy(f, tried=(1e-3,)) for f in (0.8, 0.1, 0.4)]
    # at so low a peak the one that keeps it for longest is best, whatever another could do
    assert [e.shape.cooldown for e in TUNED.proposals(shapes, WIDE)] == [0.1, 0.4, 0.8]
    free = [Toy(f) for f in (0.1, 0.4, 0.8)]
    assert [e.shape.cooldown for e in TUNED.proposals(free, WIDE)] == [0.8, 0.4, 0.1]


def test_of_two_that_are_alike_the_better_one_is_kept():
    close = [Toy(0.6), Toy(0.61), Toy(0.62)]
    [kept] = TUNED.proposals(close, WIDE)
    alone = [TUNED.proposals([shape], WIDE)[0] for shape in close]
    assert kept == min(alone, key=value)


def test_what_is_like_the_tuned_one_is_left_out():
    assert TUNED.proposals([Toy(0.99), LINEAR], WIDE) == []


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.3, 4)), max_size=12, unique=True))
def test_no_two_proposals_are_alike_and_whatever_is_left_out_is_like_one(drawn):
    shapes = [Toy(cooldown, power) for cooldown, power in drawn]
    factors = [e.shape.factors(STEPS) for e in TUNED.proposals(shapes, WIDE)]
    factors.append(LINEAR.factors(STEPS))

    def apart(one, other):
        return np.mean(np.abs(one - other)) >= ALIKE

    assert all(apart(one, other) for one, other in itertools.combinations(factors, 2))
    for shape in shapes:
        own = shape.factors(STEPS)
        assert any(np.array_equal(own, kept) or not apart(own, kept) for kept in factors)


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_shapes_are_given_does_not_matter(rng):
    mixed = random.Random(rng.random()).sample(OTHERS, len(OTHERS))
    assert TUNED.proposals(mixed, WIDE) == TUNED.proposals(OTHERS, WIDE)


@settings(max_examples=30)
@given(st.floats(1e-3, 0.2), st.floats(0.2, 10))
def test_what_has_its_peak_out_of_bounds_is_left_out(low, high):
    found = TUNED.proposals(OTHERS, (low, high))
    assert all(low <= entrant.lr <= high for entrant in found)
    alone = [e for shape in OTHERS for e in TUNED.proposals([shape], WIDE)]
    inside = {e.shape.family for e in alone if low <= e.lr <= high}
    assert {entrant.shape.family for entrant in found} == inside


def test_only_available_peaks_are_proposed():
    tried = (0.05, 0.1, 0.2)
    found = TUNED.proposals([replace(shape, tried=tried) for shape in OTHERS], (0.06, 1.0))
    assert {entrant.lr for entrant in found} == {0.1, 0.2}
    for entrant in found:
        wanted = carried(entrant.shape)
        assert entrant.lr == min(tried, key=lambda lr: abs(math.log(lr / wanted)))


def test_a_shape_without_a_peak_over_that_horizon_is_left_out():
    shapes = [Toy(0.1), Toy(0.4, tried=()), Toy(0.7)]
    assert {e.shape.cooldown for e in TUNED.proposals(shapes, WIDE)} == {0.1, 0.7}


def test_of_nothing_comes_nothing():
    assert TUNED.proposals([], WIDE) == []


def test_long_runs_are_compared_at_a_lower_resolution():
    class Long(Toy):
        def factors(self, steps):
            assert steps <= RESOLUTION
            return super().factors(steps)

    found = Tuned(Long(1.0), 0.2, 10**6).proposals([Long(0.3), Long(0.6)], WIDE)
    assert [entrant.shape.cooldown for entrant in found] == [0.6, 0.3]
    assert {entrant.steps for entrant in found} == {10**6}
