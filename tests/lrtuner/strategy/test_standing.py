"""Who is ahead: differences within a seed and a horizon, the longer ones counting more."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.strategy.standing import CAUTION, Standing, paired_spread

REFERENCE = Standing({(25, 0): 1.0, (100, 0): 0.5, (100, 1): 0.7})


def test_only_what_both_ran_over_one_horizon_and_on_one_seed_is_compared():
    one = Standing({(25, 0): 1.25, (50, 0): 0.0, (100, 1): 0.5, (100, 2): 0.0})
    found = one.differences(REFERENCE)
    assert found == {(25, 0): 0.25, (100, 1): pytest.approx(-0.2)}


def test_differences_are_weighted_by_their_horizon_and_drawn_towards_none():
    one = Standing({(25, 0): 1.2, (100, 0): 0.6})
    weighed = 0.25 * 0.2 + 1.0 * 0.1
    assert one.behind(REFERENCE, 100) == pytest.approx(weighed / (1.25 + CAUTION))


def test_what_is_known_better_is_believed_more():
    once = Standing({(100, 0): 0.4})
    twice = Standing({(100, 0): 0.4, (100, 1): 0.6})
    short = Standing({(25, 0): 0.9})
    behind = [one.behind(REFERENCE, 100) for one in (twice, once, short)]
    assert behind == sorted(behind)
    assert -0.1 < behind[0] < behind[1] < behind[2] < 0.0


def test_without_a_pair_nobody_is_ahead():
    assert Standing({(50, 0): 0.0}).behind(REFERENCE, 100) == 0.0
    assert Standing({}).behind(REFERENCE, 100) == 0.0


def test_one_run_that_diverged_puts_it_behind_all():
    assert Standing({(100, 0): 0.1, (100, 1): math.inf}).behind(REFERENCE, 100) == math.inf
    assert Standing({(50, 3): math.inf}).behind(REFERENCE, 100) == math.inf  # no pair, and yet


def test_where_the_reference_diverged_there_is_no_pair():
    reference = Standing({(25, 0): math.inf, (100, 0): 0.5})
    one = Standing({(25, 0): 0.3, (100, 0): 0.6})
    assert one.differences(reference) == {(100, 0): pytest.approx(0.1)}
    assert one.behind(reference, 100) == pytest.approx(0.1 / (1.0 + CAUTION))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), st.floats(-3, 3), st.floats(-3, 3))
def test_what_a_seed_has_in_common_does_not_count(differences, shift, other):
    def behind(*levels):
        keys = [(100, seed) for seed in range(len(differences))]
        theirs = {key: levels[key[1] % 2] for key in keys}
        own = {key: theirs[key] + d for key, d in zip(keys, differences, strict=True)}
        return Standing(own).behind(Standing(theirs), 100)

    assert behind(shift, other) == pytest.approx(behind(0.0, 0.0))
    mean = statistics.fmean(differences)
    assert abs(behind(0.0, 0.0)) <= abs(mean) + 1e-12  # caution never exaggerates


def test_the_spread_is_pooled_over_entrants_with_two_pairs_or_more():
    reference = Standing({(100, seed): 0.0 for seed in range(4)})
    first, second = [0.1, 0.3, 0.2], [-0.4, -0.2]
    standings = [
        Standing({(100, seed): d for seed, d in enumerate(first)}),
        Standing({(100, seed): d for seed, d in enumerate(second)}),
        Standing({(100, 0): 9.0}),  # one pair says nothing of the spread
        Standing({(50, 0): 1.0, (50, 1): 5.0}),  # nor does another horizon
        reference,
    ]
    own = 2 * statistics.variance(first) + statistics.variance(second)
    pooled = paired_spread(standings[:4], reference, 100)
    assert pooled == pytest.approx(math.sqrt(own / 3))
    # the reference beside itself differs by nothing
    assert paired_spread(standings, reference, 100) == pytest.approx(math.sqrt(own / 6))


def test_without_two_pairs_there_is_no_spread():
    assert paired_spread([], REFERENCE, 100) is None
    assert paired_spread([Standing({(100, 0): 0.1, (25, 0): 0.2})], REFERENCE, 100) is None


def test_a_run_that_diverged_is_no_part_of_the_spread():
    reference = Standing({(100, seed): 0.0 for seed in range(3)})
    one = Standing({(100, 0): 0.1, (100, 1): 0.3, (100, 2): math.inf})
    assert paired_spread([one], reference, 100) == pytest.approx(statistics.stdev([0.1, 0.3]))
