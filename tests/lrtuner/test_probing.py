"""Probing: which peak comes next, and what the losses say, on curves whose answer is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.optimizers import Adam, AdamW, Rmsprop, Sgd
from lrtuner.range_test import Probe, centre, next_rate, plateau
from lrtuner.range_test.probing import DRIFT, MAX_PROBES


def probe(lr, loss, steps=50):
    return Probe(kind="decaying", lr=lr, steps=steps, seed=1, loss=loss, cost=0.5)


def walk(loss_at, start, bounds=None):
    """All probes that are asked for when the loss at each peak is `loss_at(lr)`."""
    probes = []
    while (lr := next_rate(losses_of(probes), start, bounds)) is not None:
        probes.append(probe(lr, loss_at(lr)))
    return probes


def losses_of(probes):
    return {one.lr: math.inf if one.loss is None else one.loss for one in probes}


def bowl(best, cliff=math.inf):
    """A loss that grows with the distance from `best`, and training diverges above `cliff`."""
    return lambda lr: None if lr > cliff else 1.0 + math.log10(lr / best) ** 2


@pytest.mark.parametrize("optimizer", [Sgd, Adam, AdamW, Rmsprop])
def test_the_usual_rates_of_every_optimizer_are_probed_exactly(optimizer):
    assert all(next_rate({}, lr) == lr for lr in optimizer.default_lrs)


@pytest.mark.parametrize(
    ("start", "first"),
    [(0.13, 0.1), (0.17, 0.1), (0.18, 0.3), (0.54, 0.3), (0.55, 1.0), (1e-7, 1e-7), (2e-6, 3e-6)],
)
def test_the_first_peak_is_the_nearest_of_1_and_3_times_powers_of_ten(start, first):
    assert next_rate({}, start) == first


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
    [((0.005, 0.02), [0.01]), ((0.01, 1.0), [0.01, 0.03])],
)
def test_nothing_is_probed_out_of_bounds(bounds, probed):
    assert [p.lr for p in walk(bowl(0.01), 0.01, bounds)] == probed


@given(st.floats(-5, 0), st.floats(0.01, 3), st.floats(0, 1))
def test_within_any_bounds_something_is_probed(low, width, share):
    bounds = (10**low, 10 ** (low + width))
    start = min(max(10 ** (low + share * width), bounds[0]), bounds[1])
    lr = next_rate({}, start, bounds)
    assert lr is not None
    assert bounds[0] <= lr <= bounds[1]


EXACT = st.integers(-512, 512).map(lambda n: n / 256)  # sums of these have no rounding


def at(*losses):
    """Log losses at peaks a factor of ten apart, 0.01 the first."""
    return [(10.0 ** (i - 2), loss) for i, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "weights"),
    [
        ((0.2, 0.0, 0.8), (1 / 4, 1, 1 / 25)),  # s = 0.4, the geometric mean
        ((0.01, 0.0, 1.0), (1.04**-2, 1, 1 / 25)),  # s = 0.5, half of the larger
        ((0.4, 0.0, math.inf), (1 / 9, 1, 0)),  # a neighbour that diverged has no rise
        ((0.0, 0.4, 0.8), (1, 1 / 9, 1 / 25)),  # the first is the best: one neighbour
        ((0.8, 0.4, 0.0), (1 / 25, 1 / 9, 1)),
        ((0.4, 0.0, 0.4, math.inf, math.inf), (1, 9, 1, 0, 0)),
        ((math.inf, 0.0, math.inf), (0, 1, 0)),
        ((math.inf, 0.3), (0, 1)),
        ((0.3,), (1,)),
    ],
)
def test_the_centre_is_weighted_by_how_the_rises_compare(losses, weights):
    exponents = [w * (i - 2) for i, w in enumerate(weights)]
    found = centre(at(*losses))
    assert math.log10(found) == pytest.approx(math.fsum(exponents) / math.fsum(weights))


def test_where_everything_diverged_there_is_no_centre():
    assert centre([]) is None
    assert centre(at(math.inf)) is None
    assert centre(at(math.inf, math.inf, math.inf)) is None


def test_a_loss_of_zero_is_the_centre():
    assert centre(at(0.5, -math.inf, 0.5)) == pytest.approx(0.1)


@given(st.lists(EXACT, min_size=1, max_size=8), EXACT)
def test_a_floor_below_all_losses_does_not_move_the_centre(losses, floor):
    assert centre(at(*losses)) == centre(at(*(loss + floor for loss in losses)))


@given(st.lists(EXACT, min_size=1, max_size=8, unique=True), st.integers(0, 3))
def test_mirrored_losses_have_a_mirrored_centre_among_the_peaks(losses, diverged):
    points = at(*losses, *[math.inf] * diverged)
    found = centre(points)
    assert points[0][0] * (1 - 1e-12) <= found <= points[len(losses) - 1][0] * (1 + 1e-12)
    assert centre([(1 / lr, loss) for lr, loss in points]) == pytest.approx(1 / found)
    assert centre([(3 * lr, loss) for lr, loss in points[::-1]]) == pytest.approx(3 * found)


def test_symmetric_losses_have_the_lowest_as_their_centre():
    assert centre(at(3.0, 0.7, 0.1, 0.7, 3.0)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "losses", [(1, 1, 1), (math.inf, 1, 1, 1, math.inf), (2, 1, 1, 1, 2), (3, 1, 1, 1)]
)
def test_between_equal_losses_it_is_in_the_middle(losses):
    peaks = [math.log10(lr) for lr, loss in at(*losses) if loss == 1]
    assert math.log10(centre(at(*losses))) == pytest.approx(peaks[1], abs=0.3)


def test_the_plateau_has_the_centre_moved_to_the_whole_horizon():
    probes = [probe(0.01, 2.0), probe(0.1, 1.0), probe(1.0, None)]
    found = centre([(0.01, math.log(2.0)), (0.1, 0.0), (1.0, math.inf)])
    assert plateau(probes, 50).centre == pytest.approx(found)
    assert plateau(probes, 100).centre == pytest.approx(found * 0.5**DRIFT)


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
        assert getattr(half, name) == pytest.approx(getattr(whole, name) * 0.5**DRIFT)


@given(st.lists(st.integers(1, 999), min_size=3, max_size=6), st.floats(0.01, 100))
def test_only_ratios_of_losses_count_and_the_centre_is_within_its_bounds(losses, scale):
    rates = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    found = plateau([probe(lr, x) for lr, x in zip(rates, losses, strict=False)], 100)
    scaled = plateau([probe(lr, scale * x) for lr, x in zip(rates, losses, strict=False)], 100)
    assert found.low <= found.centre * (1 + 1e-12)
    assert found.centre <= found.high * (1 + 1e-12)
    assert scaled.centre == pytest.approx(found.centre)
    assert scaled.low == pytest.approx(found.low, rel=1e-6)


def test_losses_that_have_no_ratio_leave_the_lowest_alone():
    found = plateau([probe(0.01, 1.0, 100), probe(0.1, -0.5, 100), probe(1.0, 2.0, 100)], 100)
    assert found.centre == found.low == found.high == pytest.approx(0.1)
