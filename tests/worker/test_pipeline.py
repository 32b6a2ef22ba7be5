"""A whole job in one process: deterministic, resumable at every point, honest about failures."""

import json

import pytest
import torch

import lrtuner
from lrtuner.errors import JobFailedError, NothingTrainedError
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.schedules import SEARCHED
from tests.worker.conftest import ListJournal, pipeline_of, spec_of
from worker import pipeline as pipelines
from worker.journal import History


class Killed(BaseException):
    """Stands for a process that dies: nothing may catch it."""


class DyingJournal(ListJournal):
    """Dies when the run of a given number is about to start, or a stage is about to end."""

    def __init__(self, at_trial=None, at_stage=None):
        super().__init__()
        self.at_trial, self.at_stage = at_trial, at_stage

    def trial_started(self, trial):
        super().trial_started(trial)
        if trial.number == self.at_trial:
            raise Killed

    def stage_finished(self, stage, result):
        if stage is self.at_stage:
            raise Killed
        super().stage_finished(stage, result)


def run(spec, history=None, journal=None, **changes):
    journal = journal or ListJournal()
    return pipeline_of(spec, journal, history, **changes).run(), journal


@pytest.fixture(scope="module")
def whole():
    torch.set_num_threads(1)
    return run(spec_of())


def test_the_recommendation_loads_and_the_journal_tells_the_story(whole):
    document, journal = whole
    schedule = lrtuner.load(json.loads(document.text()))
    assert schedule.total_steps == 40
    assert list(journal.stages) == [stage.value for stage in Stage]
    assert [t.number for t in journal.trials] == list(range(len(journal.trials)))
    purposes = {t.purpose for t in journal.trials}
    assert purposes == {"baseline", "search", "finalist", "recommended", "reference"}
    searched = {t.schedule.body.family for t in journal.trials if t.purpose == "search"}
    assert searched == set(SEARCHED)
    assert journal.last_progress.trials_finished == len(journal.trials)


def test_the_recommended_schedule_is_one_that_was_trained(whole):
    document, journal = whole
    assert document(0) in {t.schedule(0) for t in journal.trials}
    arm = next(
        t for t in journal.trials if t.schedule.values().tolist() == document.values().tolist()
    )
    assert arm.state is TrialState.COMPLETE


def test_baselines_are_always_among_the_trials():
    _, journal = run(spec_of(search={"families": ["step"], "budget": {"full_runs": 12}}))
    shapes = [(t.params["family"], t.params.get("polynomial.power")) for t in journal.trials]
    assert ("polynomial", 1.0) in shapes
    assert ("constant", None) in shapes
    assert "step" in {t.schedule.body.family for t in journal.trials}


def test_the_budget_is_kept_and_everything_is_charged(whole):
    document, journal = whole
    spent = document.provenance.budget.spent
    sweeps = journal.stages["range_test"]["cost"]
    assert spent == pytest.approx(sweeps + sum(t.cost for t in journal.trials))
    assert 28 - 1.2 < spent <= 28


@pytest.mark.parametrize("full_runs", [3, 5, 9])
@pytest.mark.parametrize("pairs", [0, 5])
def test_small_budgets_are_kept_too(full_runs, pairs):
    document, journal = run(
        spec_of(search={"budget": {"full_runs": full_runs}, "confirm_pairs": pairs})
    )
    assert document.provenance.budget.spent <= full_runs
    assert len(journal.trials) >= full_runs - 2
    assert document.verdict.status == "estimated"


def test_search_seeds_and_confirmation_seeds_never_meet(whole):
    _, journal = whole
    by_phase = {
        purpose: {t.seed for t in journal.trials if t.purpose == purpose}
        for purpose in ("search", "baseline", "finalist", "recommended", "reference")
    }
    assert by_phase["search"] == by_phase["baseline"]
    assert len(by_phase["search"]) == 1
    assert by_phase["recommended"] == by_phase["reference"]
    assert not by_phase["recommended"] & (by_phase["search"] | by_phase["finalist"])


def test_the_same_job_gives_the_same_recommendation_but_for_ids_and_times(whole):
    again, _ = run(spec_of(), job_id="job_other", now="2030-01-01T00:00:00Z")
    first, second = whole[0].document, again.document
    assert first["provenance"].pop("job_id") != second["provenance"].pop("job_id")
    assert first["provenance"].pop("created_at") != second["provenance"].pop("created_at")
    assert first == second
    assert run(spec_of(seed=1))[0].hashed() != again.hashed()


@pytest.mark.parametrize("at", [0, 1, 4, 11, 16, 20])
def test_killed_before_any_run_it_resumes_to_the_same_bytes(whole, at):
    assert len(whole[1].trials) > 20
    dying = DyingJournal(at_trial=at)
    with pytest.raises(Killed):
        run(spec_of(), journal=dying)
    history = History(stages=dying.stages, trials=tuple(dying.trials))
    document, resumed = run(spec_of(), history)
    assert document.text() == whole[0].text()
    assert resumed.started[0] == at  # the run in flight again, none before it


@pytest.mark.parametrize("stage", list(Stage))
def test_killed_at_the_end_of_a_stage_it_resumes_to_the_same_bytes(whole, stage):
    dying = DyingJournal(at_stage=stage)
    with pytest.raises(Killed):
        run(spec_of(), journal=dying)
    document, resumed = run(spec_of(), History(stages=dying.stages, trials=tuple(dying.trials)))
    assert document.text() == whole[0].text()
    assert set(resumed.stages) | set(dying.stages) == {s.value for s in Stage}


def failing(monkeypatch, errors):
    """Make the n-th training raise errors[n]."""
    train, count = pipelines.train, iter(range(1000))

    def maybe(*args, **kwargs):
        error = errors.get(next(count))
        if error:
            raise error
        return train(*args, **kwargs)

    monkeypatch.setattr(pipelines, "train", maybe)


def test_runs_that_fail_are_recorded_with_their_reason_and_the_job_goes_on(monkeypatch):
    oom = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    failing(monkeypatch, {0: ValueError("bad layer"), 5: oom, 6: MemoryError()})
    document, journal = run(spec_of())
    errors = {t.number: t.error.code for t in journal.trials if t.state is TrialState.FAILED}
    assert errors == {0: "raised", 5: "out_of_memory", 6: "out_of_memory"}
    assert "ValueError: bad layer" in journal.trials[0].error.message
    assert document.provenance.budget.spent <= 28


def test_a_job_in_which_nothing_trains_fails_with_the_reason_and_keeps_its_evidence(monkeypatch):
    failing(monkeypatch, dict.fromkeys(range(100), ValueError("bad layer")))
    journal = ListJournal()
    with pytest.raises(NothingTrainedError, match=r"none of 3 runs.*bad layer"):
        run(spec_of(), journal=journal)
    assert len(journal.trials) == 3
    assert "range_test" in journal.stages


def test_a_job_in_which_everything_diverges_fails_with_the_reason():
    spec = spec_of(
        search={"lr_range": [1e5, 1e6], "budget": {"full_runs": 4}},
        training={"batch_size": 16, "steps": 60},
    )
    journal = ListJournal()
    with pytest.raises(NothingTrainedError, match="diverged"):
        run(spec, journal=journal)
    assert {t.state for t in journal.trials} == {TrialState.DIVERGED}
    assert all(t.error.code == "diverged" for t in journal.trials)


def test_a_users_baseline_is_run_as_it_is_and_compared_with():
    baseline = {
        "total_steps": 40,
        "peak_lr": 1e-5,
        "body": {"family": "step", "every": 10.0, "rate": 0.1},
    }
    document, journal = run(spec_of(baseline=baseline))
    own = [t for t in journal.trials if t.purpose == "baseline" and t.params is None]
    assert len(own) == 1
    assert own[0].schedule.peak_lr == 1e-5
    assert document.verdict.baseline["peak_lr"] == 1e-5
    assert document.verdict.difference < 0
    assert document.peak_lr > 1e-3


def test_five_pairs_against_a_bad_baseline_confirm():
    baseline = {"total_steps": 40, "peak_lr": 1e-5, "body": {"family": "constant"}}
    search = {"budget": {"full_runs": 24}, "confirm_pairs": 5}
    document, _ = run(spec_of(baseline=baseline, search=search))
    assert document.verdict.status == "confirmed"
    assert document.verdict.pairs == 5
    assert document.verdict.ci95[1] < 0
    assert document.verdict.p_value == 1 / 32


def test_accuracy_is_maximised():
    document, journal = run(spec_of(objective={"metric": "val_accuracy"}))
    assert document.verdict.metric == "val_accuracy"
    values = [t.value for t in journal.trials if t.value is not None]
    assert journal.last_progress.best == max(values) > 0.9


def test_minutes_end_the_search_and_a_recommendation_still_comes():
    search = {"budget": {"full_runs": 1000, "max_minutes": 0.02}}
    document, journal = run(spec_of(search=search))
    assert document.provenance.budget.spent < 900
    assert len(journal.trials) >= 1


def test_a_job_past_its_minutes_with_nothing_trained_says_so():
    spec = spec_of(search={"budget": {"full_runs": 10, "max_minutes": 1}})
    with pytest.raises(NothingTrainedError, match="minutes"):
        run(spec, History(elapsed_seconds=3600.0))


def test_a_baseline_for_another_horizon_fails_before_anything_trains():
    text = {"name": "python_stdlib_text", "args": {"max_chars": 10_000, "context_length": 16}}
    baseline = {"total_steps": 41, "peak_lr": 0.1, "body": {"family": "constant"}}
    spec = spec_of(
        model={"name": "gpt", "args": {"width": 8, "num_layers": 1, "num_heads": 1}},
        dataset=text,
        training={"batch_size": 16, "epochs": 1},
        baseline=baseline,
    )
    journal = ListJournal()
    with pytest.raises(JobFailedError, match=r"baseline\.total_steps"):
        run(spec, journal=journal)
    assert not journal.trials


def test_in_mode_range_test_nothing_is_trained_and_the_peak_is_read_off_the_sweeps():
    document, journal = run(spec_of(search={"mode": "range_test", "budget": {"full_runs": 8}}))
    assert journal.trials == []
    assert list(journal.stages) == ["range_test", "recommend"]
    found = journal.stages["range_test"]
    assert document.peak_lr == found["suggestion"]["peaks"]["decaying"]["lr"]
    assert len(found["sweeps"]) == 3
    assert document.body.family == "polynomial"
    assert document.verdict.status == "estimated"
    assert document.verdict.pairs == 0
    assert "range test alone" in document.verdict.reason
    assert document.provenance.budget.spent == pytest.approx(found["cost"])
