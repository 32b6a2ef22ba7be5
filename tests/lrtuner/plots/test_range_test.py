"""The picture of a range test: what was measured, what was read off it, what follows."""

import math
import xml.etree.ElementTree as ET
from typing import get_args

import numpy as np
import pytest

from lrtuner.plots import range_test_svg
from lrtuner.range_test import (
    VOTES,
    Kind,
    Probe,
    RangeTestResult,
    Sweep,
    analyse,
    plateaus,
    suggest,
    summary,
    sweep_rates,
)
from tests.lrtuner.plots.reading import Picture, points

RATES = sweep_rates(1e-6, 10.0, 100)


def curve(seed):
    x = np.log10(np.array(RATES) / 0.3)
    noise = np.random.default_rng(seed).normal(0, 0.02, 100)
    return 2.3 - 1.5 / (1 + np.exp(-3 * (x + 1.5))) + np.where(x > 0, 40 * x**2, 0) + noise


def result(*curves, held_out=False):
    sweeps = []
    for i, losses in enumerate(curves):
        told = [x if math.isfinite(x) else None for x in losses]
        sweeps.append(Sweep(seed=i, lrs=RATES, losses=told, updates=100))
    if held_out:
        flat = [1.0] * 100
        sweeps = [s.model_copy(update={"losses": flat, "held_out": s.losses}) for s in sweeps]
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
    assert all(kind.replace("_", " ") in shown for kind in get_args(Kind))
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


def paths(svg, kind):
    """The places of each path of a kind, in pixels, as far as it is in the plot."""
    inner = list(Picture(svg).each("svg"))[1]
    found = [e for e in inner.iter() if e.get("class", "").startswith(kind)]
    return [points(path) for path in found]


def test_around_each_smoothed_curve_is_a_band_of_two_standard_errors():
    found = result(curve(0), curve(1))
    svg = range_test_svg(found)
    areas, lines, y = paths(svg, "area"), paths(svg, "line"), Picture(svg).y_axis
    assert len(areas) == len(lines) == 2
    for area, line, analysis in zip(areas, lines, found.analyses, strict=True):
        high, low = area[:100], area[:99:-1]
        assert high[:, 0] == pytest.approx(line[:, 0])
        told = np.array(analysis.standard_errors)
        flat = slice(0, 60)  # pixels are rounded, and the divergence is above the plot
        half = (y(high[:, 1]) - y(low[:, 1]))[flat] / 2
        assert half == pytest.approx(2 * told[flat], rel=0.05)
        assert (high[flat, 1] + low[flat, 1]) / 2 == pytest.approx(line[flat, 1], abs=0.02)
    assert Picture(svg).texts.count("smoothed ± 2 noise") == 1


def test_a_result_without_standard_errors_has_no_band():
    found = result(curve(0), curve(1))
    analyses = [a.model_copy(update={"standard_errors": []}) for a in found.analyses]
    svg = range_test_svg(found.model_copy(update={"analyses": analyses}))
    assert paths(svg, "area") == []
    assert "smoothed ± 2 noise" not in words(svg)


def test_the_curve_that_was_analysed_is_shown_and_named():
    training, held_out = result(curve(0), curve(1)), result(curve(0), curve(1), held_out=True)
    shown = [range_test_svg(one) for one in (training, held_out)]
    assert shown[0].replace("training loss", "held-out loss") == shown[1]
    assert "training loss" in words(shown[0])
    assert "held-out loss" in words(shown[1])
    nothing = range_test_svg(result(np.full(100, np.nan), held_out=True))
    assert "held-out loss" in words(nothing)


def probe(kind, lr, loss):
    return Probe(kind=kind, lr=lr, steps=50, seed=0, loss=loss, cost=0.5)


def test_probes_are_drawn_where_they_ended_and_what_they_verified_is_marked():
    probes = [probe("decaying", lr, loss) for lr, loss in ((0.1, 0.5), (0.03, 0.7), (0.3, None))]
    probes += [probe("constant", lr, loss) for lr, loss in ((0.03, 0.6), (0.01, 0.9), (0.1, 1.4))]
    found = result(curve(0))
    told = suggest(found.analyses, (1e-3, 3e-3), probed=plateaus(probes, 100))
    svg = range_test_svg(found.model_copy(update={"probes": probes, "suggestion": told}))
    shown, y = Picture(svg), Picture(svg).y_axis
    assert "decaying, probed" in shown.texts
    assert "constant, probed" in shown.texts
    assert "one cycle" in shown.texts
    _, decaying, constant = paths(svg, "line")
    assert y(decaying[:, 1]) == pytest.approx([0.7, 0.5], abs=0.02)  # by rate, none diverged
    assert y(constant[:, 1]) == pytest.approx([0.9, 0.6, 1.4], abs=0.02)


def test_probes_that_all_diverged_are_no_error():
    probes = [probe("decaying", lr, None) for lr in (0.1, 0.03, 0.01)]
    assert range_test_svg(result(curve(0)).model_copy(update={"probes": probes}))
