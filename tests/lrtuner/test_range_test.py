"""The analysis of sweeps, on curves whose answer is known."""

import math

import numpy as np
import pytest

from lrtuner.range_test import VOTES, Sweep, analyse, suggest, sweep_rates

RATES = sweep_rates(1e-6, 10.0, 100)
X = np.log10(RATES)
ADAM = (3e-3, 1e-3)
SPACINGS = ["exponential", "linear"]


def sweep(losses, rates=RATES, held_out=None):
    return Sweep(
        seed=0,
        lrs=list(rates),
        losses=recorded(losses, len(rates)),
        updates=len(losses),
        held_out=None if held_out is None else recorded(held_out, len(rates)),
    )


def recorded(losses, length):
    told = [float(loss) if math.isfinite(loss) else None for loss in losses]
    return told + [None] * (length - len(told))


def curve(diverges_at=1.0, noise=0.0, n=100, seed=0, rates=None):
    """A descent from 2.3 to 0.8 around a hundredth of the divergence point, then a steep rise."""
    x = np.log10(np.array(sweep_rates(1e-6, 10.0, n) if rates is None else rates) / diverges_at)
    fall = 1.5 / (1 + np.exp(-3 * (x + 1.5)))
    rise = np.where(x > 0, 40 * x**2, 0.0)
    return 2.3 - fall + rise + np.random.default_rng(seed).normal(0, noise, len(x))


def nan_from(k, losses):
    changed = np.array(losses)
    changed[k:] = math.nan
    return changed


def spiked(at, losses):
    changed = np.array(losses)
    changed[at] = 9.0
    return changed


FALL = np.linspace(2.3, 0.5, 100)
RISE = 2.3 + np.where(X > -1, (X + 1) * 30, 0.0)
STATUSES = {
    "flat": (np.ones(100), "no_signal"),
    "flat at zero": (np.zeros(100), "no_signal"),
    "falling": (FALL, "did_not_diverge"),
    "falling from the first update on": (
        FALL[-1] * (1 + 4 * 0.7 ** np.arange(100)),
        "did_not_diverge",
    ),
    "rising": (FALL[::-1], "no_signal"),
    "flat, then rising": (RISE, "no_signal"),
    "falling, then rising": (curve(1.0), "ok"),
    "a spike in a flat curve, first": (spiked(0, np.ones(100)), "no_signal"),
    "a spike in a flat curve": (spiked(40, np.ones(100)), "no_signal"),
    "a spike in a flat curve, last": (spiked(99, np.ones(100)), "no_signal"),
    "a spike in a fall": (spiked(60, FALL), "did_not_diverge"),
    "a spike before the divergence": (spiked(40, curve(1.0)), "ok"),
    "divergence from the first update on": (1.3 ** np.arange(30), "no_signal"),
    "divergence to infinity": ([*(10.0 ** np.arange(30)), math.inf], "no_signal"),
    "divergence to infinity at once": ([2.3, 80.0, math.inf], "nan_at_step"),
    "divergence, and stopped at once": ([2.3, 80.0, 1e9], "too_few_points"),
    "stopped on a fall": (curve(1.0)[:70], "ok"),  # by a jump that smoothing hides
    "NaN at 0": (nan_from(0, curve(1.0)), "nan_at_step"),
    "NaN at 3": (nan_from(3, curve(1.0)), "nan_at_step"),
    "NaN at 19": (nan_from(19, curve(1.0)), "nan_at_step"),
    "NaN at 20, while flat": (nan_from(20, curve(1.0)), "nan_at_step"),
    "NaN at 40, while flat": (nan_from(40, curve(1.0)), "nan_at_step"),
    "NaN at 75, while falling": (nan_from(75, curve(1.0)), "nan_at_step"),
    "NaN at 95, while rising": (nan_from(95, curve(1.0)), "ok"),
    "NaN at 95, after a rise alone": (nan_from(95, RISE), "no_signal"),
    "8 points": (curve(1.0, n=8), "too_few_points"),
    "12 points": (curve(1.0, n=12), "too_few_points"),
    "19 points": (curve(1.0, n=19), "too_few_points"),
    "20 points": (curve(1.0, n=20), "ok"),
}


@pytest.mark.parametrize(("losses", "status"), STATUSES.values(), ids=STATUSES)
def test_the_status_is_explicit_and_no_number_is_made_of_noise(losses, status):
    n = len(losses) if len(losses) in (8, 12, 19, 20) else 100
    found = analyse(sweep(losses, sweep_rates(1e-6, 10.0, n)))
    assert found.status == status
    points = (found.lr_start, found.lr_half, found.lr_min, found.lr_diverged)
    if status in ("no_signal", "too_few_points"):
        assert points == (None,) * 4
        assert found.votes == {}
        assert suggest([found], ADAM).source == "optimizer_default"
    elif status in ("ok", "did_not_diverge"):
        assert all(point in RATES or n == 20 for point in points)
    finite = np.isfinite(losses)
    assert found.stopped_at == (None if finite.all() else int(np.argmin(finite)))


@pytest.mark.parametrize("at", [0, 3, 19, 20, 40])
def test_without_a_descent_before_the_nan_there_are_no_points(at):
    found = analyse(sweep(nan_from(at, curve(1.0))))
    assert (found.status, found.stopped_at) == ("nan_at_step", at)
    assert found.lr_diverged is None


@pytest.mark.parametrize("at", [70, 75, 80])
def test_a_descent_before_the_nan_is_used_up_to_it(at):
    found = analyse(sweep(nan_from(at, curve(1.0))))
    assert (found.status, found.stopped_at) == ("nan_at_step", at)
    assert found.lr_start < found.lr_half < found.lr_min <= found.lr_diverged == RATES[at - 1]
    assert all(peak.lr < RATES[at] / 3 for peak in suggest([found], ADAM).peaks.values())


def test_a_climb_before_the_nan_is_a_divergence():
    whole, cut = analyse(sweep(curve(0.1))), analyse(sweep(nan_from(80, curve(0.1))))
    assert (cut.status, cut.stopped_at) == ("ok", 80)
    assert cut.lr_diverged == whole.lr_diverged


@pytest.mark.parametrize("n", [20, 40, 100, 300])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", ["normal", "lognormal", "heavy tails", "first one high"])
def test_noise_alone_is_no_signal(n, spacing, kind):
    rates = sweep_rates(1e-6, 10.0, n, spacing)
    draw = {
        "normal": lambda rng: rng.normal(1.0, 0.1, n),
        "lognormal": lambda rng: np.exp(rng.normal(0.0, 0.3, n)),
        "heavy tails": lambda rng: 1.0 + 0.05 * rng.standard_t(3, n),
        "first one high": lambda rng: np.r_[5.0, rng.normal(1.0, 0.1, n - 1)],
    }[kind]
    curves = [draw(np.random.default_rng(seed)) for seed in range(100)]
    found = [analyse(sweep(losses, rates)).status for losses in curves]
    assert found.count("no_signal") >= 96


@pytest.mark.parametrize(
    ("spacing", "middle", "noise"), [("exponential", 3e-3, 0.4), ("linear", 2.0, 0.25)]
)
def test_a_fall_in_noise_is_no_divergence(spacing, middle, noise):
    rates = sweep_rates(1e-6, 10.0, 100, spacing)
    fall = 2.3 - 1.5 / (1 + (middle / np.array(rates)) ** 1.3)
    curves = [fall + np.random.default_rng(seed).normal(0, noise, 100) for seed in range(100)]
    found = [analyse(sweep(losses, rates)).status for losses in curves]
    assert found.count("ok") <= 4
    assert found.count("did_not_diverge") >= 30


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_standard_errors_are_how_much_the_smoothed_losses_scatter(spacing):
    rates = sweep_rates(1e-3, 10.0, 100, spacing)
    drawn = [np.random.default_rng(seed).normal(1.0, 0.1, 100) for seed in range(300)]
    found = [analyse(sweep(losses, rates)) for losses in drawn]
    scatter = np.std([a.smoothed for a in found], axis=0)
    told = np.mean([a.standard_errors for a in found], axis=0)
    ratio = scatter / told
    assert np.all((ratio > 0.6) & (ratio < 1.2))  # a lone point is the median of three
    assert [a.noise for a in found] == [a.standard_errors[33] for a in found]


def test_the_rates_are_geometric_and_both_ends_are_exact():
    assert RATES[0] == 1e-6
    assert RATES[-1] == 10.0
    ratios = np.diff(np.log(RATES))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)


@pytest.mark.parametrize("diverges_at", [0.003, 0.1, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_divergence_is_found_within_a_quarter_decade(diverges_at, noise):
    found = analyse(sweep(curve(diverges_at, noise)))
    assert found.status == "ok"
    assert abs(math.log10(found.lr_diverged / diverges_at)) < 0.25
    assert found.lr_start < found.lr_half < found.lr_min < found.lr_diverged
    assert found.votes["steepest"] <= found.lr_min
    assert found.votes["minimum_over_10"] == pytest.approx(found.lr_min / 10)
    assert set(found.votes) == set(VOTES)
    cast = [vote for vote in found.votes.values() if vote is not None]
    assert len(cast) >= 3
    assert all(found.lr_start / 10 < vote <= found.lr_diverged for vote in cast)


def test_the_number_of_steps_hardly_moves_the_answer():
    found = [
        analyse(sweep(curve(0.3, 0.05, n), sweep_rates(1e-6, 10.0, n))) for n in (60, 100, 300)
    ]
    points = [math.log10(a.lr_diverged) for a in found]
    assert max(points) - min(points) < 0.25


def test_the_scale_of_the_loss_does_not_matter():
    losses = curve(0.3, 0.05)
    assert analyse(sweep(losses)).lr_diverged == analyse(sweep(losses * 1000)).lr_diverged


def test_one_spike_is_no_divergence():
    losses = curve(1.0, 0.02)
    losses[40] = 9.0
    assert abs(math.log10(analyse(sweep(losses)).lr_diverged)) < 0.3


@pytest.mark.parametrize("diverges_at", [0.1, 0.3])
@pytest.mark.parametrize(("low", "noise"), [(1e-6, 0.0), (1e-3, 0.0), (1e-3, 0.05)])
def test_linear_spacing_gives_the_same_answer(diverges_at, low, noise):
    rates = sweep_rates(low, 1.0, 300, "linear")
    found = analyse(sweep(curve(diverges_at, noise, rates=rates), rates))
    assert found.status == "ok"
    assert abs(math.log10(found.lr_diverged / diverges_at)) < 0.25
    assert found.lr_start <= found.lr_half < found.lr_min < found.lr_diverged


def test_few_points_at_the_low_end_are_believed_less():
    rates = sweep_rates(1e-6, 1.0, 100, "linear")
    errors = analyse(sweep(curve(0.3, 0.1, rates=rates), rates)).standard_errors
    assert errors[0] == pytest.approx(max(errors))
    assert errors[0] > 5 * errors[60]
    even = analyse(sweep(curve(0.3, 0.1))).standard_errors
    assert even[33] == pytest.approx(even[50])


def test_what_falls_between_the_first_points_of_a_linear_sweep_is_a_descent():
    rates = sweep_rates(1e-6, 1.0, 100, "linear")
    losses = 0.3 + 2.0 * np.exp(-np.arange(100) / 4) + np.where(np.arange(100) > 60, 3.0, 0.0)
    found = analyse(sweep(losses, rates))
    assert found.status == "ok"
    assert abs(math.log10(found.lr_diverged / rates[60])) < 0.25


def test_the_held_out_losses_are_read_where_there_are_any():
    flat, falling = np.ones(100), curve(0.3)
    assert analyse(sweep(flat, held_out=falling)) == analyse(sweep(falling))
    assert analyse(sweep(falling, held_out=flat)).status == "no_signal"
    assert analyse(sweep(falling)).status == "ok"


def test_a_loss_of_either_kind_that_is_not_finite_ends_the_curve():
    falling, ended = curve(1.0), nan_from(75, curve(1.0))
    for one in (sweep(ended, held_out=falling), sweep(falling, held_out=ended)):
        found = analyse(one)
        assert (found.status, found.stopped_at) == ("nan_at_step", 75)
        assert found.lr_diverged == RATES[74]
