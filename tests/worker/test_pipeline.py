"""A whole job in one process: deterministic, within its budget, honest about what it found.

How it goes on after it was killed is in `test_kill`.
"""

import json
from types import SimpleNamespace

import pytest
import torch

import lrtuner
from lrtuner.errors import JobFailedError, NothingTrainedError
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.search_result import SearchResult
from tests.worker.conftest import ListJournal, pipeline_of, spec_of
from worker import pipeline as module
from worker import range_test as sweeping
from worker import runs
from worker.journal import History
from worker.planner import REFERENCE

FEW = ["polynomial", "constant"]
BAD = {"total_steps": 40, "peak_lr": 1e-5, "body": {"family": "constant"}}


def run(spec, history=None, journal=None, **changes):
    journal = journal or ListJournal()
    return pipeline_of(spec, journal, history, **changes).run(), journal


def searching(full_runs, **search):
    return {"budget": {"full_runs": full_runs}, "confirm_pairs": 0, "families": FEW, **search}


def found_in(journal):
    return SearchResult.model_validate(journal.stages["search"])


def purposes(journal):
    return {trial.purpose for trial in journal.trials}


@pytest.fixture(scope="module")
def whole():
    torch.set_num_threads(1)
    return run(spec_of())


# from 3 to 30 full trainings ---------------------------------------------------------------------


def test_the_recommendation_loads_and_the_journal_tells_the_story(whole):
    document, journal = whole
    schedule = lrtuner.load(json.loads(document.text()))
    assert schedule.total_steps == 40
    assert list(journal.stages) == [stage.value for stage in Stage]
    numbers = sorted(t.number for t in journal.trials)
    assert numbers == list(range(len(journal.trials))) == sorted(journal.started)
    assert journal.last_progress.trials_finished == len(journal.trials)
    assert purposes(journal) >= {"screen", "rung", "final", "recommended", "reference"}
    origins = {t.origin for t in journal.trials}
    assert origins >= {"reference", "usual", "bound", "sampler"}
    assert len({t.schedule.body.family for t in journal.trials}) >= 6


def test_horizons_and_seeds_are_those_of_the_purposes(whole):
    by_purpose = {}
    for trial in whole[1].trials:
        by_purpose.setdefault(trial.purpose, set()).add(trial.schedule.total_steps)
    assert by_purpose["screen"] == {10}
    assert by_purpose["rung"] == {20}
    assert by_purpose["final"] == by_purpose["recommended"] == by_purpose["reference"] == {40}


def test_the_recommended_schedule_is_one_that_was_trained(whole):
    document, journal = whole
    own = [t for t in journal.trials if t.schedule.values().tolist() == document.values().tolist()]
    assert any(t.purpose == "final" and t.state is TrialState.COMPLETE for t in own)
    assert any(t.purpose in ("recommended", "reference") for t in own)


def test_the_budget_is_kept_and_everything_is_charged(whole):
    document, journal = whole
    spent = document.provenance.budget.spent
    swept = journal.stages["range_test"]["cost"]
    assert spent == pytest.approx(swept + sum(t.cost for t in journal.trials), abs=1e-6)
    assert 28 - 2.2 < spent <= 28


@pytest.mark.parametrize("full_runs", [3, 5, 10, 14])
@pytest.mark.parametrize("pairs", [0, 5])
def test_small_budgets_are_kept_too(full_runs, pairs):
    document, journal = run(spec_of(search=searching(full_runs, confirm_pairs=pairs)))
    assert 0.6 * full_runs < document.provenance.budget.spent <= full_runs
    assert document.verdict.status == "estimated"
    confirming = {"recommended", "reference"} & purposes(journal)
    assert bool(confirming) == (full_runs == 14 and pairs > 0)
    assert ("final" in purposes(journal)) == (full_runs > 3)


@pytest.mark.parametrize("full_runs", [3, 4])
def test_the_budget_is_kept_where_evaluation_is_dear(full_runs):
    dear = {
        "dataset": {"name": "breast_cancer"},
        "training": {"batch_size": 4, "steps": 40},
        "range_test": {"num_seeds": 1},
    }
    document, _ = run(spec_of(search=searching(full_runs, sampler="random"), **dear))
    assert document.provenance.budget.spent <= full_runs


def test_three_full_runs_are_only_enough_for_short_ones_and_it_says_so():
    document, journal = run(spec_of(search=searching(3)))
    assert {t.schedule.total_steps for t in journal.trials} == {10}
    assert [w.code for w in found_in(journal).warnings if w.code == "only_short_runs"]
    assert any("no schedule was trained over" in w.lower() for w in document.verdict.warnings)
    assert "no pair on fresh seeds" in document.verdict.reason


def test_the_same_job_gives_the_same_recommendation_but_for_ids_and_times():
    spec = spec_of(search=searching(8))
    one, _ = run(spec)
    other, _ = run(spec, job_id="job_other", now="2030-01-01T00:00:00Z")
    first, second = one.document, other.document
    assert first["provenance"].pop("job_id") != second["provenance"].pop("job_id")
    assert first["provenance"].pop("created_at") != second["provenance"].pop("created_at")
    assert first == second
    assert run(spec.model_copy(update={"seed": 1}))[0].hashed() != other.hashed()


def test_the_families_asked_for_are_the_ones_that_are_searched():
    _, journal = run(spec_of(search=searching(9, families=["step"])))
    shapes = {(t.origin, t.schedule.body.family) for t in journal.trials}
    assert {family for origin, family in shapes if origin in ("bound", "sampler")} == {"step"}
    assert ("reference", "polynomial") in shapes  # whatever is searched, it must beat this


# seeds -------------------------------------------------------------------------------------------


def test_nothing_was_chosen_by_the_seeds_of_the_pairs(whole):
    _, journal = whole
    pairs = [t for t in journal.trials if t.purpose in ("recommended", "reference")]
    chosen_by = {t.seed for t in journal.trials if t not in pairs}
    range_test = journal.stages["range_test"]
    chosen_by |= {probe["seed"] for probe in range_test["probes"]}
    assert len({t.seed for t in pairs}) == 2 == len(pairs) / 2
    assert not {t.seed for t in pairs} & chosen_by
    assert {t.seed for t in journal.trials if t.purpose in ("screen", "rung")} == {
        probe["seed"] for probe in range_test["probes"]
    }


def test_both_sides_of_a_pair_have_one_seed_and_the_test_split(whole):
    _, journal = whole
    ours = {t.seed: t for t in journal.trials if t.purpose == "recommended"}
    theirs = {t.seed: t for t in journal.trials if t.purpose == "reference"}
    assert ours.keys() == theirs.keys()
    for trial in (*ours.values(), *theirs.values()):
        assert trial.metrics["test_loss"] > 0.0
    verdict = whole[0].verdict
    differences = [ours[seed].value - theirs[seed].value for seed in ours]
    assert abs(verdict.difference) == pytest.approx(abs(sum(differences) / 2))
    assert len({t.arm for t in ours.values()}) == len({t.arm for t in theirs.values()}) == 1


# the baseline ------------------------------------------------------------------------------------


def test_a_users_baseline_is_run_as_it_is_and_compared_with():
    document, journal = run(spec_of(baseline=BAD, search=searching(14, confirm_pairs=2)))
    own = [t for t in journal.trials if t.origin == "user"]
    assert {t.purpose for t in own} >= {"screen", "final", "reference"}
    assert {t.schedule.peak_lr for t in own if t.schedule.total_steps == 40} == {1e-5}
    assert document.verdict.pairs == 2
    assert document.verdict.baseline["body"]["family"] == "constant"
    assert document.verdict.baseline["peak_lr"] == 1e-5
    assert document.verdict.difference < 0
    assert document.peak_lr > 1e-3


def test_five_pairs_against_a_bad_baseline_confirm():
    search = searching(21, confirm_pairs=5, lr_range=[1e-3, 0.1])
    document, _ = run(spec_of(baseline=BAD, search=search))
    assert document.verdict.status == "confirmed"
    assert document.verdict.pairs == 5
    assert document.verdict.ci95[1] < 0
    assert document.verdict.p_value == 1 / 32
    assert not any("noise" in warning for warning in document.verdict.warnings)


def test_without_a_users_baseline_it_is_the_tuned_linear_decay(whole):
    _, journal = whole
    found = found_in(journal)
    assert found.baseline.shape == REFERENCE.key
    assert found.baseline.origin in ("reference", "usual", "neighbour")
    tried = [c for c in found.ranking if c.shape == REFERENCE.key]
    assert found.baseline.behind == min(c.behind for c in tried)  # at the best of its peaks
    assert found.challenger.shape != found.baseline.shape


# what is optimised -------------------------------------------------------------------------------


def test_accuracy_is_maximised():
    spec = spec_of(objective={"metric": "val_accuracy"}, search=searching(14, confirm_pairs=2))
    document, journal = run(spec)
    assert document.verdict.metric == "val_accuracy"
    whole = [t.value for t in journal.trials if t.schedule.total_steps == 40 and t.value]
    assert journal.last_progress.best == max(whole) > 0.8
    assert all(t.value == t.metrics["val_accuracy"] for t in journal.trials if t.value is not None)
    found = found_in(journal)
    assert found.ranking[0].behind <= 0.0
    # the probes measured losses, so the peak is tuned anew
    assert "peak" in purposes(journal)


def test_steps_to_a_target_are_minimised():
    objective = {"metric": "steps_to_target", "target": {"metric": "val_loss", "value": 0.6}}
    document, journal = run(
        spec_of(objective=objective, search=searching(11, confirm_pairs=1), training=LONGER)
    )
    assert document.verdict.metric == "steps_to_target"
    assert {t.schedule.total_steps for t in journal.trials} == {60}  # nothing is compressed
    reached = [t for t in journal.trials if t.value is not None]
    assert reached
    for trial in journal.trials:
        if trial.value is None:
            assert trial.state is not TrialState.COMPLETE or trial.metrics["val_loss"] > 0.6
        else:
            assert trial.value == trial.updates == trial.curve.steps[-1]
            assert trial.metrics["val_loss"] <= 0.6
    assert any(t.updates < 60 for t in reached)
    assert document.provenance.budget.spent <= 11
    assert journal.last_progress.best == min(t.value for t in reached)


LONGER = {"batch_size": 16, "steps": 60}


# a part of the steps -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half():
    torch.set_num_threads(1)
    search = searching(10, horizon_fraction=0.5, confirm_pairs=5)
    return run(spec_of(training={"batch_size": 16, "steps": 80}, search=search, baseline=None))


def test_half_of_the_steps_give_the_config_for_all_of_them(half):
    document, journal = half
    assert document.total_steps == 80
    assert max(t.schedule.total_steps for t in journal.trials) == 40
    found = found_in(journal)
    assert found.share == 0.5
    for contender in found.ranking:
        assert contender.searched.total_steps == 40
        assert contender.schedule.total_steps == 80
        moved = contender.schedule.peak_lr / contender.searched.peak_lr
        assert moved == pytest.approx(0.5**found.drift.alpha)
    assert document.values().tolist() in [
        c.schedule.values().tolist() for c in (found.challenger, found.baseline)
    ]


def test_half_of_the_steps_confirm_nothing_and_it_says_why(half):
    verdict = half[0].verdict
    assert verdict.pairs == 5
    assert verdict.status != "confirmed"
    assert "All runs were over 50% of the steps" in verdict.reason
    assert "exponent" in verdict.reason
    alpha = found_in(half[1]).drift.alpha
    assert f"{0.5**alpha:.2f} times" in verdict.reason


def test_half_of_the_steps_are_charged_as_halves_of_full_trainings(half):
    document, journal = half
    assert document.provenance.budget.spent <= 10
    longest = [t for t in journal.trials if t.schedule.total_steps == 40]
    assert all(0.5 <= t.alone < 0.56 for t in longest if t.updates == 40)
    assert len(journal.trials) > 12


def test_a_users_baseline_is_stretched_and_its_peak_carried():
    baseline = {**BAD, "total_steps": 80, "peak_lr": 0.05}
    search = searching(7, horizon_fraction=0.5)
    document, journal = run(
        spec_of(baseline=baseline, training={"batch_size": 16, "steps": 80}, search=search)
    )
    own = [t for t in journal.trials if t.origin == "user"]
    assert own
    assert all(t.schedule.total_steps <= 40 for t in own)
    compared = document.verdict.baseline
    assert compared["total_steps"] == 80


def test_the_peak_of_a_users_baseline_is_that_of_all_steps():
    baseline = {**BAD, "total_steps": 80, "peak_lr": 0.05}
    search = searching(7, horizon_fraction=0.5)
    spec = spec_of(baseline=baseline, training={"batch_size": 16, "steps": 80}, search=search)
    found = found_in(run(spec)[1])
    assert found.baseline.origin == "user"
    assert found.baseline.schedule.peak_lr == pytest.approx(0.05)


def test_a_tenth_of_the_steps_is_warned_of():
    search = searching(2, horizon_fraction=0.1, families=["constant"])
    document, journal = run(spec_of(training={"batch_size": 16, "steps": 200}, search=search))
    assert max(t.schedule.total_steps for t in journal.trials) == 20
    assert "short_horizon" in [w.code for w in found_in(journal).warnings]
    assert any("horizon_fraction" in warning for warning in document.verdict.warnings)


# warnings and what a wrong peak costs ------------------------------------------------------------


def test_the_verdict_tells_what_a_wrong_peak_costs(whole):
    document, journal = whole
    told = document.verdict.lr_sensitivity
    found = {s.factor: s.change for s in found_in(journal).sensitivity}
    assert (told.half_peak, told.double_peak) == (found[0.5], found[2.0])
    assert any(change is not None for change in found.values())


@pytest.mark.parametrize(
    "lr_range",
    [[0.99, 9.0], [1e-4, 0.0101]],
    ids=["low", "high"],
)
def test_a_peak_at_the_edge_of_the_range_is_warned_of(lr_range):
    document, journal = run(spec_of(search=searching(8, lr_range=lr_range)))
    assert "peak_at_edge" in [w.code for w in found_in(journal).warnings]
    assert any("widen search.lr_range" in warning for warning in document.verdict.warnings)
    low, high = lr_range
    assert all(low <= t.schedule.peak_lr <= high for t in journal.trials)
    warned = {message for kind, message in journal.events if kind == "warning"}
    assert set(document.verdict.warnings) <= warned


@pytest.mark.parametrize("lr_range", [[1e-4, 0.02], [0.05, 0.09], [0.17, 3.0]], ids=str)
def test_any_range_of_peaks_is_searched(lr_range):
    low, high = lr_range
    document, journal = run(spec_of(search=searching(6, lr_range=lr_range)))
    assert all(low <= t.schedule.peak_lr <= high for t in journal.trials)
    assert low <= document.peak_lr <= high


def test_noise_above_the_effect_is_warned_of():
    own = {"total_steps": 40, "peak_lr": 0.3, "body": {"family": "cosine", "decay_steps": 40}}
    search = searching(14, confirm_pairs=2, families=["cosine"])
    document, _ = run(spec_of(baseline=own, search=search))
    verdict = document.verdict
    assert verdict.pairs == 2
    half_width = (verdict.ci95[1] - verdict.ci95[0]) / 2
    noisy = abs(verdict.difference) < half_width
    assert any("noise" in warning for warning in verdict.warnings) == noisy
    assert noisy


def test_training_that_cannot_be_repeated_is_warned_of(monkeypatch):
    real, count = sweeping.one_sweep, iter(range(1000))

    def drifting(task, rates, seed):
        found = real(task, rates, seed)
        return found.model_copy(update={"losses": [x + 1e-9 * next(count) for x in found.losses]})

    monkeypatch.setattr(sweeping, "one_sweep", drifting)
    document, journal = run(spec_of(search=searching(5)))
    assert journal.stages["range_test"]["repeatable"] is False
    assert any("two results" in warning for warning in document.verdict.warnings)


# runs that fail ----------------------------------------------------------------------------------


def failing(monkeypatch, errors):
    """Make the n-th training of the search raise errors[n], before anything comes of it."""
    real, count = runs.train_together, iter(range(1000))

    def maybe(task, sequences, seed, **how):
        error = errors.get(next(count))
        if error:
            raise error
        return real(task, sequences, seed, **how)

    monkeypatch.setattr(runs, "train_together", maybe)


def test_runs_that_fail_are_recorded_with_their_reason_and_the_job_goes_on(monkeypatch):
    oom = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    # in the first generation no run begins as another: each is trained by itself
    failing(monkeypatch, {0: ValueError("bad layer"), 2: oom})
    document, journal = run(spec_of(search=searching(14)))
    errors = {t.number: t.error.code for t in journal.trials if t.state is TrialState.FAILED}
    assert errors == {0: "raised", 2: "out_of_memory"}
    [first] = [t for t in journal.trials if t.number == 0]
    assert "ValueError: bad layer" in first.error.message
    assert document.provenance.budget.spent <= 14


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
    with pytest.raises(NothingTrainedError, match=r"before a run could start|diverged"):
        run(spec)


def test_a_job_whose_probes_all_diverge_says_so():
    spec = spec_of(
        search={"lr_range": [1e5, 1e6], "budget": {"full_runs": 4}},
        training={"batch_size": 16, "steps": 60},
    )
    with pytest.raises(NothingTrainedError, match="diverged"):
        run(spec)


def test_a_probe_that_ends_with_a_loss_of_zero_ends_no_job():
    spec = spec_of(search=searching(6))
    first, journal = run(spec)
    stage = journal.stages["range_test"]
    stage["probes"][1]["loss"] = 0.0
    assert run(spec, History(stages={"range_test": stage}))[0].total_steps == first.total_steps


# time --------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that a minute goes by on with every look at it."""
    told = SimpleNamespace(minutes=0.0, step=1.0)

    def monotonic():
        told.minutes += told.step
        return 60.0 * told.minutes

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic))
    return told


@pytest.mark.parametrize("minutes", [9, 12, 16])
def test_minutes_end_the_search_and_a_recommendation_still_comes(clock, minutes):
    search = searching(30, confirm_pairs=2)
    search["budget"]["max_minutes"] = minutes
    document, journal = run(spec_of(search=search))
    assert document.provenance.budget.spent < 25
    assert document.verdict.status == "estimated"
    assert journal.trials
    assert clock.minutes <= minutes + 5  # a look may fall between any two runs, and a few follow


def test_the_search_leaves_time_for_the_pairs(clock):
    clock.step = 0.0
    search = searching(16, confirm_pairs=3)
    search["budget"]["max_minutes"] = 16
    journal = ListJournal()
    finished = journal.trial_finished

    def trial_finished(trial, progress):
        finished(trial, progress)
        clock.minutes += 4 * trial.cost  # four times as slow as the budget would have it

    journal.trial_finished = trial_finished
    document, _ = run(spec_of(search=search), journal=journal)
    searched = sum(t.cost for t in journal.trials if t.purpose not in ("recommended", "reference"))
    assert searched < 8
    assert document.verdict.pairs >= 1


def test_minutes_that_were_used_before_count(clock):
    clock.step = 0.0
    spec = spec_of(search={"budget": {"full_runs": 10, "max_minutes": 1}})
    with pytest.raises(NothingTrainedError, match="minutes"):
        run(spec, History(elapsed_seconds=3600.0))


# other ends --------------------------------------------------------------------------------------


def test_a_baseline_for_another_horizon_fails_before_anything_trains():
    text = {"name": "python_stdlib_text", "args": {"max_chars": 10_000, "context_length": 16}}
    spec = spec_of(
        model={"name": "gpt", "args": {"width": 8, "num_layers": 1, "num_heads": 1}},
        dataset=text,
        training={"batch_size": 16, "epochs": 1},
        baseline={**BAD, "total_steps": 41},
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
    assert document.verdict.lr_sensitivity is None
    assert document.provenance.budget.spent == pytest.approx(found["cost"])


def test_other_optimizers_are_run_beside_it_on_the_seed_of_the_first_pair():
    search = searching(14, confirm_pairs=1, compare=["prodigy", "schedule_free"])
    document, journal = run(spec_of(search=search))
    beside = [t for t in journal.trials if t.purpose == "comparison"]
    assert [t.shape for t in beside] == ["prodigy", "schedule_free"]
    [seed] = {t.seed for t in journal.trials if t.purpose == "recommended"}
    assert {t.seed for t in beside} == {seed}
    assert all(t.metrics["test_loss"] > 0 for t in beside)
    assert document.provenance.budget.spent <= 14
    assert document.verdict.pairs == 1
