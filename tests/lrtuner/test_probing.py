"""Probing: which peak comes next, and what the losses say, on curves whose answer is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.range_test import Probe, next_rate, plateau
from lrtuner.range_test.probing import MAX_PROBES
from lrtuner.sources import Adam, AdamW, Rmsprop, Sgd


def probe(lr, loss, steps=50):
    return Probe(kind="decaying", lr=lr, steps=steps, seed=1, loss=loss, cost=0.5)


def walk(loss_at, start, bounds=None):
    """All probes that are asked for when the loss at each peak is `loss_at(lr)`."""
    probes = []
    while (lr := next_rate(probes, start, bounds)) is not None:
        probes.append(probe(lr, loss_at(lr)))
    return probes


def bowl(best, cliff=math.inf):
    """A loss that grows with the distance from `best`, and training diverges above `cliff`."""
    return lambda lr: None if lr > cliff else 1.0 + math.log10(lr / best) ** 2


@pytest.mark.parametrize("optimizer", [Sgd, Adam, AdamW, Rmsprop])
def test_the_usual_rates_of_every_optimizer_are_probed_exactly(optimizer):
    assert all(next_rate([], lr) == lr for lr in optimizer.default_lrs)


@pytest.mark.parametrize(
    ("start", "first"),
    [(0.13, 0.1), (0.17, 0.1), (0.18, 0.3), (0.54, 0.3), (0.55, 1.0), (1e-7, 1e-7), (2e-6, 3e-6)],
)
def test_the_first_peak_is_the_nearest_of_1_and_3_times_powers_of_ten(start, first):
    assert next_rate([], start) == first


@given(st.floats(-5, 1), st.floats(-1, 1))
def test_it_ends_with_a_higher_loss_on_both_sides(best, off):
    probes = walk(bowl(10**best), 10 ** (best + off))
    losses = [p.loss for p in sorted(probes, key=lambda p: p.lr)]
    assert 0 < losses.index(min(losses)) < len(losses) - 1
    assert len({p.lr for p in probes}) == len(probes) <= MAX_PROBES


def test_nothing_is_probed_twice_and_nothing_needless():
    assert [p.lr for p in walk(bowl(0.01), 0.01)] == [0.01, 0.003, 0.03]
    assert [p.lr for p in walk(bowl(0.003), 0.01)] == [0.01, 0.003, 0.001]
    assert [p.lr for p in walk(bowl(0.03), 0.01)] == [0.01, 0.003, 0.03, 0.1]


@given(st.floats(-4, 0), st.floats(0.0, 0.2))
def test_a_sweep_that_says_something_slightly_different_leads_to_the_same_probes(best, off):
    one, other = walk(bowl(10**best), 0.02), walk(bowl(10**best), 0.02 * 10**off)
    assert [p.lr for p in one] == [p.lr for p in other]


def test_where_everything_diverges_it_goes_down_and_gives_up():
    probes = walk(lambda _lr: None, 1.0)
    assert len(probes) == MAX_PROBES
    assert [p.lr for p in probes[:4]] == [1.0, 0.3, 0.1, 0.03]
    assert plateau(probes, 100) is None
    assert plateau([], 100) is None


def test_two_probes_say_nothing():
    assert plateau([probe(0.01, 2.0), probe(0.1, 1.0)], 100) is None


def test_a_divergence_is_a_higher_loss():
    assert [p.lr for p in walk(bowl(0.1, cliff=0.1), 0.3)] == [0.3, 0.1, 0.03]


@pytest.mark.parametrize(
    ("bounds", "probed"),
    [((0.005, 0.02), [0.01]), ((0.01, 1.0), [0.01, 0.03]), ((0.02, 0.05), [])],
)
def test_nothing_is_probed_out_of_bounds(bounds, probed):
    assert [p.lr for p in walk(bowl(0.01), 0.01, bounds)] == probed


def test_the_centre_is_the_mean_weighted_by_the_cubed_inverse_of_the_loss():
    probes = [probe(0.01, 2.0, 100), probe(0.1, 1.0, 100), probe(1.0, None, 100)]
    found = plateau(probes, 100)
    share = 1 / (1 + 1 / 8)  # of 0.1; the rest is that of 0.01
    assert math.log10(found.centre) == pytest.approx(-1 * share - 2 * (1 - share))


def test_between_equal_losses_it_is_in_the_middle():
    found = plateau([probe(lr, 1.0, 100) for lr in (0.01, 0.03, 0.1)], 100)
    assert found.centre == pytest.approx((0.01 * 0.03 * 0.1) ** (1 / 3))
    assert (found.low, found.high) == pytest.approx((0.01, 0.1))


def test_the_bounds_are_where_the_loss_passes_the_tolerance():
    probes = [probe(0.01, 4.0, 100), probe(0.1, 1.0, 100), probe(1.0, 1.25**2, 100)]
    found = plateau(probes, 100)
    assert found.high == pytest.approx(10**-0.5)  # half the way, by the log of the loss
    assert math.log10(found.low) == pytest.approx(-1 - math.log(1.25) / math.log(4.0))


def test_a_cliff_ends_the_plateau_at_the_last_rate_that_did_not_diverge():
    found = plateau([probe(0.01, 4.0, 100), probe(0.1, 1.0, 100), probe(1.0, None, 100)], 100)
    assert found.high == pytest.approx(0.1)


def test_a_longer_run_bears_less():
    probes = [probe(0.03, 2.0), probe(0.1, 1.0), probe(0.3, 2.0)]
    half, whole = plateau(probes, 100), plateau(probes, 50)
    for name in ("centre", "low", "high"):
        assert getattr(half, name) == pytest.approx(getattr(whole, name) * 0.5**0.4)


@given(st.lists(st.floats(0.01, 10), min_size=3, max_size=6), st.floats(0.01, 100))
def test_only_ratios_of_losses_count_and_the_centre_is_within_its_bounds(losses, scale):
    rates = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    found = plateau([probe(lr, x) for lr, x in zip(rates, losses, strict=False)], 100)
    scaled = plateau([probe(lr, scale * x) for lr, x in zip(rates, losses, strict=False)], 100)
    assert found.low <= found.centre <= found.high
    assert scaled.centre == pytest.approx(found.centre)
    assert scaled.low == pytest.approx(found.low, rel=1e-6)


def test_losses_that_have_no_ratio_leave_the_lowest_alone():
    found = plateau([probe(0.01, 1.0, 100), probe(0.1, -0.5, 100), probe(1.0, 2.0, 100)], 100)
    assert found.centre == found.low == found.high == pytest.approx(0.1)
