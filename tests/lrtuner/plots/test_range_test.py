"""The picture of a range test: what was measured, what was read off it, what follows."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from lrtuner.plots import range_test_svg
from lrtuner.range_test import (
    VOTES,
    RangeTestResult,
    Sweep,
    analyse,
    suggest,
    summary,
    sweep_rates,
)

RATES = sweep_rates(1e-6, 10.0, 100)


def curve(seed):
    x = np.log10(np.array(RATES) / 0.3)
    noise = np.random.default_rng(seed).normal(0, 0.02, 100)
    return 2.3 - 1.5 / (1 + np.exp(-3 * (x + 1.5))) + np.where(x > 0, 40 * x**2, 0) + noise


def result(*curves):
    sweeps = [
        Sweep(seed=i, lrs=RATES, losses=[x if math.isfinite(x) else None for x in c], updates=100)
        for i, c in enumerate(curves)
    ]
    analyses = [analyse(sweep) for sweep in sweeps]
    status, message = summary(analyses)
    suggestion = suggest(analyses, (1e-3, 3e-3))
    return RangeTestResult(
        status=status,
        message=message,
        sweeps=sweeps,
        analyses=analyses,
        suggestion=suggestion,
        cost=1.0,
    )


def words(svg):
    return " ".join("".join(text.itertext()) for text in ET.fromstring(svg).iter() if text.text)


def test_it_shows_every_seed_the_divergence_the_votes_and_the_suggestion():
    shown = words(range_test_svg(result(curve(0), curve(1), curve(2))))
    for seed in (1, 2, 3):
        assert f"seed {seed}, noise" in shown
    assert "diverged" in shown
    assert "searched" in shown
    assert "peak, constant" in shown
    assert "peak, decaying" in shown
    assert "training diverges between" in shown
    assert sum(name.replace("_", " ") in shown for name in VOTES) >= 3


@pytest.mark.parametrize(
    "curves", [(), (np.full(100, np.nan),), (np.ones(100),), (np.linspace(2.3, 0.5, 100),)]
)
def test_without_a_signal_it_is_a_picture_that_says_so(curves):
    found = result(*curves)
    assert found.message.split(";")[0].split(".")[0] in words(range_test_svg(found))


def test_the_same_result_gives_the_same_picture():
    assert range_test_svg(result(curve(0))) == range_test_svg(result(curve(0)))
