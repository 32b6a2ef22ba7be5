"""Probes: compressed whole trainings, on a real task, charged and kept within what is allowed."""

import itertools
from typing import get_args

import numpy as np
import pytest

from lrtuner.candidates import typical
from lrtuner.range_test import Kind, plateau, plateaus
from tests.worker.conftest import task_of
from worker import probes as probing
from worker.probes import probes
from worker.range_test import CHECK_UPDATES, run_range_test
from worker.training import train


def test_each_is_a_whole_decaying_schedule_over_half_of_the_steps(monkeypatch):
    task = task_of()
    runs = []

    def recorded(task, rates, seed):
        runs.append((train(task, rates, seed), rates))
        return runs[-1][0]

    monkeypatch.setattr(probing, "train", recorded)
    done = list(probes(task, "decaying", 0.1, allowed=10.0))
    assert len(done) == len(runs) >= 3
    for probe, (run, rates) in zip(done, runs, strict=True):
        assert len(run.rates) == len(rates) == probe.steps == task.total_steps // 2
        assert run.rates == rates
        assert max(rates) == pytest.approx(probe.lr)
        assert 0 < rates[0] < rates[-1] + probe.lr  # rises first
        assert rates[-1] < 0.1 * probe.lr
        assert probe.loss == run.metrics["val_loss"]
        assert probe.cost == run.cost > 0.5


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ([], []),
        (["step"], ["step"]),
        (["cyclic", "decaying", "one_cycle"], ["decaying", "cyclic", "one_cycle"]),
    ],
)
def test_the_kinds_asked_for_are_probed_decay_to_zero_first(asked, made):
    task = task_of(search={"mode": "range_test"}, range_test={"probes": asked})
    found = run_range_test(task)
    assert list(dict.fromkeys(probe.kind for probe in found.probes)) == made
    peaks = found.suggestion.peaks
    assert {kind for kind, peak in peaks.items() if peak.probed} == set(made)
    assert len({peak.lr for peak in peaks.values()}) >= 3


def test_one_kind_is_enough_for_the_budget_of_a_search():
    found = run_range_test(task_of(training={"batch_size": 16, "steps": 200}))
    assert {probe.kind for probe in found.probes} == {"decaying"}
    assert found.cost <= 2.8


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_stands_for_a_kind_peaks_where_it_is_asked_to(kind):
    rates = typical(kind, 0.3, 60).values()
    assert max(rates) == pytest.approx(0.3, rel=0.05)
    assert (rates[-1] < 0.1) == (kind != "constant")
    assert np.all(np.diff(rates) <= 1e-12) == (kind in ("constant", "step"))


def test_all_share_one_seed_and_it_follows_from_the_jobs():
    first = list(probes(task_of(seed=3), "decaying", 0.1, allowed=10.0))
    again = list(probes(task_of(seed=3), "decaying", 0.1, allowed=10.0))
    other = list(probes(task_of(seed=4), "decaying", 0.1, allowed=10.0))
    assert first == again
    assert len({probe.seed for probe in first}) == 1
    assert first[0].seed != other[0].seed


def test_they_end_with_a_higher_loss_on_both_sides():
    done = sorted(probes(task_of(), "decaying", 0.001, allowed=20.0), key=lambda probe: probe.lr)
    losses = [float("inf") if probe.loss is None else probe.loss for probe in done]
    assert 0 < losses.index(min(losses)) < len(losses) - 1
    assert plateau(done, 40) is not None


@pytest.mark.parametrize(("allowed", "steps"), [(2.4, 20), (1.9, 10), (1.2, 10), (0.9, None)])
def test_they_stay_within_what_is_allowed_and_shrink_before_they_are_left_out(allowed, steps):
    done = list(probes(task_of(), "decaying", 0.1, allowed))
    assert sum(probe.cost for probe in done) <= allowed
    assert {probe.steps for probe in done} == ({steps} if steps else set())


def test_a_long_way_to_the_best_peak_ends_with_what_is_allowed():
    done = list(probes(task_of(), "decaying", 1e-6, 2.4))
    assert 2.4 - 0.6 < sum(probe.cost for probe in done) <= 2.4


def test_a_peak_that_diverges_is_a_result():
    done = list(itertools.islice(probes(task_of(), "decaying", 1e6, allowed=10.0), 2))
    assert [probe.loss for probe in done] == [None, None]
    assert done[1].lr < done[0].lr


def test_the_job_bounds_them():
    task = task_of(search={"lr_range": [0.02, 0.2], "mode": "range_test"})
    found = run_range_test(task)
    assert {probe.lr for probe in found.probes} <= {0.03, 0.1}
    assert found.suggestion.source == "job"


def test_the_range_test_ends_with_them_and_charges_them():
    told = []
    task = task_of(search={"mode": "range_test", "budget": {"full_runs": 12}})
    found = run_range_test(task, told.append)
    updates = sum(one.updates for one in found.sweeps) + 2 * CHECK_UPDATES
    assert found.cost == pytest.approx(updates / 40 + sum(probe.cost for probe in found.probes))
    assert found.suggestion.source == "probes"
    for kind, told_of in plateaus(found.probes, 40).items():
        assert found.suggestion.peaks[kind].lr == told_of.centre
        assert found.suggestion.peaks[kind].probed
    assert [text.split()[0] for text in told] == ["sweep"] * 3 + ["probe"] * len(found.probes)


@pytest.mark.parametrize("enough", range(6))
def test_a_range_test_that_is_out_of_time_keeps_what_it_has(enough):
    told = []
    task = task_of(search={"mode": "range_test", "budget": {"full_runs": 12}})
    found = run_range_test(task, told.append, lambda: len(told) < enough)
    assert (len(found.sweeps), len(found.probes)) == (min(3, enough), max(0, enough - 3))
    assert found.status == ("ok" if enough else "too_few_points")
    assert found.suggestion.source == ("range_test" if enough else "optimizer_default")


def test_a_model_that_raises_in_a_probe_leaves_the_sweeps(monkeypatch):
    def broken(_task, _rates, _seed):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(probing, "train", broken)
    found = run_range_test(task_of(search={"mode": "range_test"}))
    assert found.status == "failed"
    assert "out of memory" in found.message
    assert len(found.sweeps) == 3
    assert found.suggestion.source == "range_test"
