import json
import math
import sys
from dataclasses import asdict, replace

import pytest

from benchmarks.finder import ours, truth
from benchmarks.finder.report import tables
from benchmarks.finder.scoring import SCHEDULES, Found
from benchmarks.finder.serving import Lengths, Request, Swept, serve
from benchmarks.finder.tasks import digest, load, trained
from worker.range_test import run_range_test
from worker.task import evaluate

JOB = {
    "model": {"name": "mlp", "args": {"hidden": [8]}},
    "dataset": {"name": "wine"},
    "optimizer": {"name": "sgd"},
    "training": {"batch_size": 16, "steps": 12},
}


@pytest.fixture
def job(tmp_path):
    def written(name="job.json", **changes):
        file = tmp_path / name
        file.write_text(json.dumps(JOB | changes))
        return str(file)

    return written


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_peaks_at_the_rate_it_was_asked_for(schedule):
    rates = truth.rates(schedule, 0.5, 100)
    assert len(rates) == 100
    assert max(rates) == pytest.approx(0.5)


def test_one_cycle_is_torchs():
    rates = truth.rates("one_cycle", 1.0, 100)
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.index(max(rates)) == 29  # pct_start 0.3
    assert rates[-1] == pytest.approx(1 / 25 / 1e4)


def test_cosine_rises_for_a_twentieth_and_falls_towards_zero():
    rates = truth.rates("cosine", 1.0, 100)
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert rates[5 + 95 // 2] == pytest.approx(0.5, abs=0.02)
    assert 0 < rates[-1] < 1e-3


def test_steps_fall_to_a_hundredth_and_cycles_come_back():
    assert sorted(set(truth.rates("step", 1.0, 100)), reverse=True) == [1.0, 0.1, 0.01]
    cyclic = truth.rates("cyclic", 1.0, 120)
    assert cyclic[::20] == pytest.approx([0.1, 1.0] * 3)


def test_a_job_file_is_a_task_and_the_grid_says_what_its_rates_lead_to(job):
    name = job()
    run = truth.Run(name, "constant", 0.1, seed=0)
    task = load(name)
    model = trained(task, [0.1] * 12, seed=0)
    assert truth.final_loss(run) == evaluate(model, task.data.test)["loss"]


@pytest.mark.parametrize("lr", [3.0, 1e30])  # ends worse than chance; leaves the finite numbers
def test_a_run_that_diverges_counts_as_chance(job, lr):
    assert truth.final_loss(truth.Run(job(), "constant", lr, seed=0)) == math.log(3)


def test_the_grid_is_read_from_its_file_when_it_is_complete(job, tmp_path, monkeypatch):
    name, folder = job(), tmp_path / "truth"
    folder.mkdir()
    lines = [[s, 0.1, seed, 0.25 + seed] for s in SCHEDULES for seed in range(2)]
    file = folder / f"{digest(load(name))}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(truth, "_train", lambda *_: pytest.fail("trained again"))
    curves = truth.curves([name], [0.1], 2, folder, processes=1)
    assert curves[name]["cosine"].losses == [0.75]


def test_only_what_the_file_lacks_is_trained(job, tmp_path, monkeypatch):
    name, folder = job(), tmp_path / "truth"
    folder.mkdir()
    file = folder / f"{digest(load(name))}.jsonl"
    file.write_text(json.dumps(["constant", 0.1, 0, 0.5]) + "\n")
    asked = []

    def train(runs, losses, *_):
        asked.extend(runs)
        losses.update(dict.fromkeys(runs, 1.0))

    monkeypatch.setattr(truth, "_train", train)
    truth.curves([name], [0.1], 1, folder, processes=1)
    assert [run.schedule for run in asked] == ["one_cycle", "cosine"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "mlp", "args": {"hidden": [9]}}},
        {"dataset": {"name": "breast_cancer"}},
        {"optimizer": {"name": "sgd", "args": {"momentum": 0.5}}},
        {"training": {"batch_size": 16, "steps": 13}},
        {"training": {"batch_size": 15, "steps": 12}},
        {"training": {"batch_size": 16, "steps": 12, "grad_clip_norm": 1.0}},
        {"seed": 5},  # another split
    ],
)
def test_whatever_changes_the_results_changes_the_digest(job, change):
    assert digest(load(job("changed.json", **change))) != digest(load(job()))


def test_other_test_data_is_another_task(job):
    task = load(job())
    swapped = replace(task.data, test=task.data.validation)
    assert digest(replace(task, data=swapped)) != digest(task)


def test_the_digest_does_not_depend_on_the_name(job):
    assert digest(load(job("one.json"))) == digest(load(job("two.json")))


def answers(finder, rules, request, tmp_path, monkeypatch):
    question, answer = tmp_path / "request.json", tmp_path / "reply.json"
    question.write_text(json.dumps(asdict(request)))
    monkeypatch.setattr(sys, "argv", ["finder", str(question), str(answer)])
    serve(finder, rules)
    return json.loads(answer.read_text())


def request(*tasks, seeds=1):
    lengths = Lengths(30, 1e-6, 10.0)
    return Request(tasks, [lengths], seeds=seeds, rounds=1, timed=lengths)


def test_rules_that_fail_and_rates_that_are_none_are_no_suggestion(job, tmp_path, monkeypatch):
    def finder(sweep):
        rates = {"good": 0.1, "nan": math.nan, "zero": 0.0}
        rules = {name: lambda lr=lr: lr for name, lr in rates.items()} | {"bad": lambda: [][0]}
        return Swept([0.1], [math.inf], 1, rules)

    reply = answers(finder, ["good", "nan", "zero", "bad"], request(job()), tmp_path, monkeypatch)
    (one,) = reply["found"]
    assert one["rates"]["good"] == dict.fromkeys(SCHEDULES, 0.1)
    for rule in ("nan", "zero", "bad"):
        assert one["rates"][rule] == dict.fromkeys(SCHEDULES)
    assert one["errors"] == {"bad": "IndexError: list index out of range"}
    assert one["losses"] == [None]
    assert one["costs"]["good"] == pytest.approx(1 / 12)


def test_ours_is_what_a_job_gets_and_is_timed(job, tmp_path, monkeypatch):
    training = {"training": {"batch_size": 16, "steps": 24}}
    name = job(**training)
    rules = ["probed", "3 sweeps", "1 sweep"]
    reply = answers(ours.find, rules, request(name, seeds=2), tmp_path, monkeypatch)
    first, second = reply["found"]
    search = {"search": {"mode": "range_test"}, "range_test": {"num_steps": 30}}
    found = run_range_test(load(job("the-same.json", **search, **training)))
    peaks = found.suggestion.peaks
    assert found.suggestion.source == "probes"
    assert first["rates"]["probed"]["cosine"] == peaks["decaying"].lr
    assert first["rates"]["probed"]["constant"] == peaks["constant"].lr
    assert peaks["constant"].probed
    assert not peaks["step"].probed
    assert first["costs"]["probed"] == pytest.approx(found.cost)
    assert first["costs"]["1 sweep"] < first["costs"]["3 sweeps"] < first["costs"]["probed"]
    assert first["losses"] != second["losses"]
    assert 0 < reply["time"][name]["lowest"] <= reply["time"][name]["highest"]


def test_the_tables_name_every_finder_and_task(job):
    curve = truth.Curve([0.01, 0.1], [0.2, 0.1])
    rows = {"a finder": [Found("mlp-sgd", 60, 0, dict.fromkeys(SCHEDULES, 0.01))]}
    shown = tables(
        rows,
        {"mlp-sgd": dict.fromkeys(SCHEDULES, curve)},
        {"mlp-sgd": 0.01},
        {"a finder": {"mlp-sgd": {"ratio": 1.25}}},
    )
    assert "| a finder " in shown
    assert "2.00 / 2.0" in shown
    assert "1.25" in shown
