"""The runs of a job: recorded by number, trained together by seed, made once."""

import itertools

import pytest

from lrtuner.errors import NothingTrainedError
from lrtuner.evidence import TrialRecord
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.schedules.grammar import Schedule
from lrtuner.trunks import prefix_tree
from tests.worker.conftest import ListJournal, spec_of, task_of
from worker import runs as module
from worker.planner import Request
from worker.runners.runner import InTurn
from worker.runs import HOPELESS, Runs
from worker.training import train

TASK = task_of()
SPEC = TASK.spec


def schedule(cooldown=20, peak=0.1, steps=40):
    parts = {"start": steps - cooldown, "steps": cooldown}
    body = {"family": "constant"}
    return Schedule.model_validate(
        {"total_steps": steps, "peak_lr": peak, "body": body, "cooldown": parts}
    )


def request(cooldown=20, seed=1, **changes):
    parts = {
        "purpose": "screen",
        "phase": Stage.SEARCH,
        "shape": f"shape-{cooldown}",
        "schedule": schedule(cooldown),
        "seed": seed,
        "origin": "bound",
        "params": {"family": "constant"},
    }
    return Request(**(parts | changes))


def runs_of(journal=None, records=(), charged=0.5, spec=SPEC):
    journal = journal or ListJournal()
    by_number = {record.number: record for record in records}
    runs = Runs(spec, InTurn(TASK), journal, charged=charged, records=by_number)
    return runs, journal


def always():
    return True


def never():
    raise AssertionError("nothing is to be made")


def timeless(records):
    """The records without what a clock says."""
    return [record.model_copy(update={"seconds": None}) for record in records]


GROUP = [request(30), request(20), request(10), request(20, seed=2), request(10, seed=2)]


@pytest.fixture(scope="module")
def whole():
    runs, journal = runs_of()
    return runs.make(GROUP, always), runs, journal


def test_what_was_asked_for_comes_back_in_its_order_under_its_numbers(whole):
    records, runs, journal = whole
    assert [record.number for record in records] == [0, 1, 2, 3, 4]
    assert runs.all == records == sorted(journal.trials, key=lambda t: t.number)
    for record, asked in zip(records, GROUP, strict=True):
        assert (record.schedule, record.seed) == (asked.schedule, asked.seed)
        assert (record.purpose, record.origin, record.shape) == ("screen", "bound", asked.shape)
        assert (record.arm, record.params, record.phase) == (asked.arm, asked.params, Stage.SEARCH)
        assert record.state is TrialState.COMPLETE
        assert record.value == record.metrics["val_loss"]
        assert record.updates == record.curve.steps[-1] == 40
        assert record.error is None
    assert len({record.arm for record in records}) == 3  # a seed does not make another arm


def test_each_is_the_run_alone_bit_for_bit(whole):
    for record in whole[0]:
        alone = train(TASK, record.schedule.values().tolist(), record.seed)
        assert (record.value, record.curve) == (alone.metrics["val_loss"], alone.curve)
        assert record.alone == alone.cost


def test_what_runs_of_a_seed_have_in_common_is_paid_once(whole):
    records, runs, _ = whole
    groups = [[asked.schedule.values() for asked in GROUP if asked.seed == n] for n in (1, 2)]
    updates = sum(prefix_tree(group).updates for group in groups)
    evaluations = sum(r.alone - 1.0 for r in records)
    costs = sum(record.cost for record in records)
    assert updates / 40 < costs <= updates / 40 + evaluations
    assert runs.spent == pytest.approx(0.5 + costs)


def test_the_reader_is_told_of_the_beginning_and_the_end_of_each(whole):
    _, _, journal = whole
    assert journal.started == [0, 1, 2, 3, 4]
    assert len(journal.trials) == 5
    progress = journal.last_progress
    assert (progress.phase, progress.trials_finished, progress.budget) == (Stage.SEARCH, 5, 28)
    assert progress.budget_spent == pytest.approx(whole[1].spent, abs=1e-4)
    assert progress.best == min(record.value for record in whole[0])


def test_numbers_go_on_from_one_call_to_the_next():
    runs, _ = runs_of()
    [first] = runs.make([request(10)], always)
    second, third = runs.make([request(20), request(30)], always)
    assert [first.number, second.number, third.number] == [0, 1, 2]
    assert runs.make([], never) == []


def test_what_is_recorded_is_not_made_again(whole):
    records, _, _ = whole
    runs, journal = runs_of(records=records)
    assert runs.make(GROUP, never) == records
    assert (journal.started, journal.trials) == ([], [])
    assert runs.spent == whole[1].spent


SUBSETS = [kept for n in range(4) for kept in itertools.combinations(range(3), n)]


@pytest.mark.parametrize("kept", SUBSETS, ids=str)
def test_only_what_lacks_of_a_group_is_recorded_with_the_very_same_costs(whole, kept):
    records = [TrialRecord.model_validate_json(whole[0][n].model_dump_json()) for n in kept]
    runs, journal = runs_of(records=records)
    made = runs.make(GROUP, always)
    assert timeless(made) == timeless(whole[0])
    assert journal.started == sorted({0, 1, 2, 3, 4} - set(kept))
    assert sorted(t.number for t in journal.trials) == journal.started
    assert runs.spent == pytest.approx(whole[1].spent, rel=1e-12)


def test_when_time_is_up_the_groups_that_follow_are_left_out():
    answers = [True, False]
    runs, journal = runs_of()
    made = runs.make(GROUP, lambda: answers.pop(0))
    assert [record.number for record in made] == [0, 1, 2]
    assert answers == []
    assert len(journal.trials) == 3
    assert runs.make([request(5)], always)[0].number == 5  # its number does not depend on time


def test_what_is_recorded_comes_back_though_time_is_up(whole):
    runs, _ = runs_of(records=whole[0][:3])
    assert [record.number for record in runs.make(GROUP, lambda: False)] == [0, 1, 2]


@pytest.mark.parametrize("kept", [(1,), (0, 2), (2,), (1, 2)], ids=str)
def test_a_group_with_gaps_and_no_time_to_close_them_misleads_nobody(whole, kept):
    # whoever zips what was asked with what came back must get pairs that belong together
    runs, _ = runs_of(records=[whole[0][n] for n in kept])
    made = runs.make(GROUP, lambda: False)
    assert [record.number for record in made] == list(range(len(made)))


# runs that go wrong ------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch):
    """Make runs of these cooldowns raise, and nothing that trains together with them ends."""
    real = module.train_together
    poisoned = {}

    def train_together(task, sequences, seed, **how):
        sequences = [list(rates) for rates in sequences]
        for position, run in real(task, sequences, seed, **how):
            for cooldown, error in poisoned.items():
                if sequences[position] == schedule(cooldown).values().tolist():
                    raise error
            yield position, run

    monkeypatch.setattr(module, "train_together", train_together)
    return poisoned


@pytest.mark.parametrize("broken", [10, 20, 30])
def test_a_run_that_raises_takes_no_other_with_it(failing, whole, broken):
    failing[broken] = ValueError("bad layer")
    runs, journal = runs_of()
    made = runs.make(GROUP, always)
    assert [record.number for record in made] == [0, 1, 2, 3, 4]
    for record, asked, sound in zip(made, GROUP, whole[0], strict=True):
        if asked.shape == f"shape-{broken}":
            assert record.state is TrialState.FAILED
            assert record.error.code == "raised"
            assert "ValueError: bad layer" in record.error.message
            assert (record.value, record.cost) == (None, 0.0)
        else:
            assert (record.state, record.value) == (TrialState.COMPLETE, sound.value)
            assert record.error is None
    assert sorted(t.number for t in journal.trials) == [0, 1, 2, 3, 4]


def test_several_that_raise_in_one_group_are_all_told_of(failing):
    failing[10], failing[30] = MemoryError(), ValueError("bad layer")
    runs, _ = runs_of()
    made = runs.make([request(n) for n in (30, 20, 10, 5)], always)
    codes = [record.error.code if record.error else None for record in made]
    assert codes == ["raised", None, "out_of_memory", None]


def test_a_group_that_is_resumed_after_a_failure_keeps_it(failing, whole):
    failing[20] = ValueError("bad layer")
    first, _ = runs_of()
    made = first.make(GROUP, always)
    failing.clear()
    runs, journal = runs_of(records=[made[1]])
    again = runs.make(GROUP, always)
    assert again[1] == made[1]
    assert 1 not in journal.started
    assert [r.value for r in again[:3:2]] == [r.value for r in whole[0][:3:2]]


def test_runs_that_keep_failing_end_the_job(failing):
    failing |= {n: ValueError("bad layer") for n in range(10, 20)}
    runs, journal = runs_of()
    with pytest.raises(NothingTrainedError, match=r"none of 3 runs.*raised: ValueError: bad layer"):
        runs.make([request(n, seed=n) for n in range(10, 16)], always)
    assert len(journal.trials) == HOPELESS


def test_runs_that_keep_failing_end_no_job_in_which_one_was_completed(failing):
    failing |= {n: ValueError("bad layer") for n in range(10, 20)}
    runs, _ = runs_of()
    made = runs.make([request(n, seed=n) for n in (25, *range(10, 16))], always)
    assert [r.state for r in made] == [TrialState.COMPLETE, *[TrialState.FAILED] * 6]


def test_a_job_without_hope_ends_again_when_it_is_resumed(failing):
    failing |= {n: ValueError("bad layer") for n in range(10, 20)}
    runs, _ = runs_of()
    asked = [request(n, seed=n) for n in range(10, 16)]
    with pytest.raises(NothingTrainedError):
        runs.make(asked, always)
    runs, journal = runs_of(records=runs.all[:2])
    with pytest.raises(NothingTrainedError):
        runs.make(asked, always)
    assert [t.number for t in journal.trials] == [2]


class Backwards(InTurn):
    """What runs at the same time may end in any order."""

    def make(self, waiting, goes_on):
        waiting.reverse()
        return super().make(waiting, goes_on)


def test_the_order_in_which_runs_end_is_not_seen_in_the_records(whole):
    backwards = Runs(SPEC, Backwards(TASK), ListJournal(), charged=0.5, records={})
    assert timeless(backwards.make(GROUP, always)) == timeless(whole[0])
    assert backwards.spent == whole[1].spent


def test_a_run_that_completes_out_of_turn_does_not_save_a_job_without_hope(failing):
    failing |= {n: ValueError("bad layer") for n in range(10, 20)}
    runs = Runs(SPEC, Backwards(TASK), ListJournal(), charged=0.5, records={})
    asked = [request(n, seed=n) for n in (10, 11, 12, 25)]
    with pytest.raises(NothingTrainedError, match=r"none of 3 runs"):
        runs.make(asked, always)


def test_a_diverged_run_is_a_result_and_no_failure():
    runs, _ = runs_of()
    wild = [request(20, seed=n, schedule=schedule(20, peak=1e6)) for n in range(4)]
    for record in runs.make(wild, always):
        assert record.state is TrialState.DIVERGED
        assert record.value is None
        assert record.error.code == "diverged"
        assert record.cost > 0.0
    assert runs.why_nothing_trained().startswith("none of 4 runs trained to its end; the last: div")


def test_before_any_run_it_is_the_budget_that_is_to_blame():
    runs, _ = runs_of()
    assert "before a run could start" in runs.why_nothing_trained()


# what is measured --------------------------------------------------------------------------------


def test_the_test_split_is_for_what_is_confirmed():
    runs, _ = runs_of()
    asked = [request(10), request(10, seed=2, phase=Stage.CONFIRM, purpose="recommended")]
    searched, confirmed = runs.make(asked, always)
    assert "test_loss" not in searched.metrics
    assert confirmed.metrics["test_loss"] > 0.0
    assert confirmed.value == confirmed.metrics["val_loss"]


def test_gradient_norms_are_measured_where_they_are_asked_for(whole):
    runs, _ = runs_of()
    plain, told = runs.make([request(30), request(20, seed=2, norms=True)], always)
    assert plain.gradient_norms is None
    assert len(told.gradient_norms) == 40
    assert told.value == whole[0][3].value  # and change nothing


def test_the_metric_that_decides_is_the_objectives():
    spec = spec_of(objective={"metric": "val_accuracy"})
    runs, journal = runs_of(spec=spec)
    first, second = runs.make([request(30), request(5)], always)
    assert first.value == first.metrics["val_accuracy"]
    assert journal.last_progress.best == max(first.value, second.value)


def test_the_best_is_of_runs_over_the_longest_horizon():
    runs, journal = runs_of()
    short = request(10, schedule=schedule(10, steps=20))
    runs.make([short], always)
    assert journal.last_progress.best is None
    [whole_run] = runs.make([request(10)], always)
    assert journal.last_progress.best == whole_run.value


def test_a_run_that_is_trained_in_its_own_way_has_its_number_too(whole):
    def own(task, asked):
        return train(task, asked.schedule.values().tolist(), asked.seed)

    runs, journal = runs_of()
    runs.make([request(30)], always)
    [record] = runs.make([request(20, purpose="comparison")], always, own)
    assert (record.number, record.purpose) == (1, "comparison")
    assert record.value == whole[0][1].value
    assert (journal.started, len(journal.trials)) == ([0, 1], 2)
    assert runs.make([request(10)], always)[0].number == 2
    again, journal = runs_of(records=runs.all)
    again.make([request(30)], never)
    assert again.make([request(20, purpose="comparison")], never, own) == [record]
    assert journal.started == []


def test_a_run_of_its_own_that_raises_is_told_of():
    def broken(_task, _asked):
        raise ValueError("no such optimizer")

    runs, _ = runs_of()
    runs.make([request(30)], always)
    [record] = runs.make([request(20)], always, broken)
    assert (record.state, record.error.code) == (TrialState.FAILED, "raised")
