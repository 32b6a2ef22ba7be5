"""What follows from sweeps and probes: a peak for each kind of schedule, and bounds."""

import math

import numpy as np
import pytest

from lrtuner.range_test import Plateau, Probe, analyse, suggest, summary
from tests.lrtuner.test_range_test import ADAM, curve, sweep

KINDS = {"constant", "step", "decaying", "one_cycle", "cyclic"}


def swept(*points):
    return [analyse(sweep(curve(at))) for at in points]


def test_without_probes_it_is_the_geometric_mean_over_seeds():
    analyses = swept(0.1, 0.4)
    mean = math.sqrt(analyses[0].lr_diverged * analyses[1].lr_diverged)
    found = suggest(analyses, ADAM)
    assert found.source == "range_test"
    assert found.peaks["decaying"].lr == pytest.approx(mean / 4.5)
    assert found.peaks.keys() == KINDS
    for kind, peak in found.peaks.items():
        assert found.low < peak.low < peak.lr < peak.high < found.high
        assert (peak.base is not None) == (kind == "cyclic")
    cyclic = found.peaks["cyclic"]
    assert min(a.lr_start for a in analyses) <= cyclic.base < cyclic.lr
    assert summary(analyses)[0] == "ok"


def test_a_rate_that_stays_is_lower_than_one_that_is_passed_through():
    peaks = suggest(swept(0.4), ADAM).peaks
    assert peaks["constant"].lr < peaks["step"].lr < peaks["decaying"].lr
    assert peaks["decaying"].lr == peaks["one_cycle"].lr == peaks["cyclic"].lr


def test_probes_outvote_the_sweeps():
    analyses = swept(0.4)
    found = suggest(analyses, ADAM, probed={"decaying": Plateau(centre=0.02, low=0.01, high=0.03)})
    assert found.source == "probes"
    assert (found.low, found.high) == pytest.approx((0.002, 0.2))  # a decade to both sides
    decaying, flat = found.peaks["decaying"], found.peaks["constant"]
    assert (decaying.lr, decaying.low, decaying.high) == (0.02, 0.01, 0.03)
    assert flat.lr / decaying.lr == flat.low / decaying.low == flat.high / decaying.high < 1
    assert found.peaks["cyclic"].base == pytest.approx(analyses[0].lr_start)


def test_a_kind_that_was_probed_itself_is_not_carried_over():
    own = Plateau(centre=0.003, low=0.002, high=0.004)
    other = Plateau(centre=0.02, low=0.01, high=0.03)
    found = suggest(swept(0.4), ADAM, probed={"constant": own, "decaying": other})
    assert found.peaks["constant"].lr == 0.003
    assert found.peaks["step"].lr == pytest.approx(0.75 * 0.02)  # like decay to zero
    assert {kind for kind, peak in found.peaks.items() if peak.probed} == {"constant", "decaying"}
    alone = suggest(swept(0.4), ADAM, probed={"constant": own}).peaks
    assert alone["constant"].lr == 0.003 < alone["step"].lr < alone["decaying"].lr
    assert alone["decaying"].low < alone["decaying"].lr < alone["decaying"].high


def test_probes_need_no_sweep():
    found = suggest([], ADAM, probed={"decaying": Plateau(centre=0.02, low=0.01, high=0.03)})
    assert found.source == "probes"
    assert found.peaks["cyclic"].base is None


def test_without_a_signal_the_usual_rates_stand_in():
    analyses = [analyse(sweep(np.ones(100)))]
    found = suggest(analyses, ADAM)
    assert found.source == "optimizer_default"
    assert found.low < 1e-3 < 3e-3 < found.high
    assert all(peak.low is peak.high is None for peak in found.peaks.values())
    assert summary(analyses)[0] == "no_signal"
    assert summary([])[0] == "too_few_points"


def test_a_range_given_by_the_job_bounds_everything():
    found = suggest(swept(1.0), ADAM, (1e-4, 1e-2))
    assert (found.low, found.high, found.source) == (1e-4, 1e-2, "job")
    assert {peak.lr for peak in found.peaks.values()} == {1e-2}
    probed = {"decaying": Plateau(centre=0.02, low=0.001, high=0.03)}
    bounded = suggest(swept(1.0), ADAM, (1e-4, 1e-2), probed).peaks["decaying"]
    assert (bounded.low, bounded.lr, bounded.high, bounded.probed) == (0.001, 0.01, 0.01, True)


def test_the_summary_tells_of_the_probes():
    def probe(lr, loss, kind="decaying"):
        return Probe(kind=kind, lr=lr, steps=90, seed=0, loss=loss, cost=0.25)

    probes = [probe(0.1, 2.0), probe(0.03, 0.75), probe(0.3, None)]
    told = summary(swept(0.4), [*probes, probe(0.1, None, "constant")])[1]
    assert "1 of 1 sweeps agree" in told
    assert "3 probes of kind decaying, 90 updates each: the held-out loss is lowest (0.75)" in told
    assert told.endswith("1 probes of kind constant, 90 updates each, all diverged.")
    assert "usual rates stand in" in summary([])[1]
    assert "usual rates" not in summary([], [probe(0.1, 1.0)])[1]
