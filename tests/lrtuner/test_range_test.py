"""The analysis of sweeps, on curves whose answer is known."""

import math

import numpy as np
import pytest

from lrtuner.range_test import VOTES, Sweep, analyse, suggest, summary, sweep_rates

RATES = sweep_rates(1e-6, 10.0, 100)
ADAM = (3e-3, 1e-3)


def sweep(losses, rates=RATES, updates=None):
    told = [loss if loss is not None and math.isfinite(loss) else None for loss in losses]
    return Sweep(
        seed=0,
        lrs=list(rates),
        losses=told + [None] * (len(rates) - len(told)),
        updates=len(losses) if updates is None else updates,
    )


def curve(diverges_at=1.0, noise=0.0, n=100, seed=0):
    """A descent from 2.3 to 0.8 around a hundredth of the divergence point, then a steep rise."""
    lrs = np.array(sweep_rates(1e-6, 10.0, n))
    x = np.log10(lrs / diverges_at)
    fall = 1.5 / (1 + np.exp(-3 * (x + 1.5)))
    rise = np.where(x > 0, 40 * x**2, 0.0)
    return 2.3 - fall + rise + np.random.default_rng(seed).normal(0, noise, n)


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


@pytest.mark.parametrize("seed", range(10))
def test_noise_alone_is_no_signal(seed):
    flat = np.random.default_rng(seed).normal(1.0, 0.1, 100)
    found = analyse(sweep(flat))
    assert found.status == "no_signal"
    assert found.lr_diverged is None


def test_a_flat_curve_is_no_signal():
    assert analyse(sweep(np.ones(100))).status == "no_signal"


def test_a_rise_without_a_descent_is_no_signal():
    x = np.log10(RATES)
    assert analyse(sweep(1.0 + np.where(x > -1, (x + 1) * 30, 0.0))).status == "no_signal"


def test_descent_to_the_end_did_not_diverge():
    found = analyse(sweep(np.linspace(2.3, 0.5, 100)))
    assert found.status == "did_not_diverge"
    assert found.lr_diverged == RATES[-1]


def test_a_sweep_that_blew_up_to_nan_uses_what_came_before():
    losses = curve(0.1)
    losses[80:] = math.nan
    found = analyse(sweep(losses))
    assert found.status == "ok"
    assert found.lr_diverged <= RATES[79]


@pytest.mark.parametrize("at", [0, 3, 19])
def test_nan_too_early_says_so(at):
    losses = curve()
    losses[at:] = math.nan
    assert analyse(sweep(losses)).status == "nan_at_step"


@pytest.mark.parametrize("n", [8, 12, 19])
def test_too_few_points_say_so(n):
    assert analyse(sweep(curve(n=n), sweep_rates(1e-6, 10.0, n))).status == "too_few_points"


def test_one_spike_is_no_divergence():
    losses = curve(1.0, 0.02)
    losses[40] = 9.0
    assert abs(math.log10(analyse(sweep(losses)).lr_diverged)) < 0.3


def test_the_suggestion_is_the_geometric_mean_over_seeds():
    analyses = [analyse(sweep(curve(at))) for at in (0.1, 0.4)]
    mean = math.sqrt(analyses[0].lr_diverged * analyses[1].lr_diverged)
    found = suggest(analyses, ADAM)
    assert found.source == "range_test"
    assert found.peaks["decaying"].lr == pytest.approx(mean / 3)
    assert found.peaks["constant"].lr == pytest.approx(mean / 10)
    for kind, peak in found.peaks.items():
        assert found.low < peak.low < peak.lr < peak.high < found.high
        assert (peak.base is not None) == (kind == "cyclic")
    cyclic = found.peaks["cyclic"]
    assert min(a.lr_start for a in analyses) <= cyclic.base < cyclic.lr
    assert summary(analyses)[0] == "ok"


def test_without_a_signal_the_usual_rates_stand_in():
    analyses = [analyse(sweep(np.ones(100)))]
    found = suggest(analyses, ADAM)
    assert found.source == "optimizer_default"
    assert found.low < 1e-3 < 3e-3 < found.high
    assert summary(analyses)[0] == "no_signal"
    assert summary([])[0] == "too_few_points"


def test_a_range_given_by_the_job_bounds_everything():
    found = suggest([analyse(sweep(curve(1.0)))], ADAM, (1e-4, 1e-2))
    assert (found.low, found.high, found.source) == (1e-4, 1e-2, "job")
    assert {peak.lr for peak in found.peaks.values()} == {1e-2}
