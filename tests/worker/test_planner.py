"""Which runs are planned, and in which order: a pure function of the runs so far."""

import pytest

from lrtuner.evidence import TrialRecord
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.range_test import Peak, Suggestion
from tests.worker.conftest import spec_of
from worker.planner import LR_STEP, Search

OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop"]


def suggestion(decaying=0.05, source="probes"):
    return Suggestion(
        low=decaying / 20,
        high=decaying * 20,
        peaks={"decaying": Peak(lr=decaying), "constant": Peak(lr=decaying / 2)},
        source=source,
    )


def planned(spec, found, loss_at, most=100):
    """All planned trials, each with the loss of its peak."""
    search = Search(spec, found, total_steps=40)
    trials = []
    while len(trials) < most and (request := search.planned(trials)) is not None:
        loss = loss_at(request.schedule.peak_lr)
        trials.append(
            TrialRecord(
                number=len(trials),
                phase=Stage.SEARCH,
                purpose=request.purpose,
                arm=request.arm,
                params=request.params,
                schedule=request.schedule,
                seed=request.seed,
                state=TrialState.COMPLETE if loss is not None else TrialState.DIVERGED,
                value=loss,
            )
        )
    return trials


def bowl(best):
    return lambda lr: 1 + abs(lr - best) / (lr + best)


def linear_peaks(trials):
    return [t.schedule.peak_lr for t in trials if t.purpose == "baseline" and not _flat(t)]


def _flat(trial):
    return trial.schedule.body.family == "constant"


@pytest.mark.parametrize("source", ["probes", "range_test", "optimizer_default"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_usual_rates_of_the_optimizer_are_among_the_first_trials(name, source):
    spec = spec_of(optimizer={"name": name})
    trials = planned(spec, suggestion(source=source), bowl(0.05), most=4)
    assert linear_peaks(trials) == [0.05, *spec.optimizer.default_lrs]
    assert [t.schedule.peak_lr for t in trials if _flat(t)] == [0.025]


def test_usual_rates_that_the_job_rules_out_are_not():
    spec = spec_of(search={"lr_range": [0.02, 1.0]})
    peaks = linear_peaks(planned(spec, suggestion(), bowl(0.05)))
    assert peaks[:2] == [0.05, 0.1]
    assert 0.01 not in peaks


def test_the_peak_is_bracketed_after_the_families():
    trials = planned(spec_of(), suggestion(), bowl(0.05))
    purposes = [t.purpose for t in trials]
    last = len(purposes) - 1 - purposes[::-1].index("search")
    after = [t.schedule.peak_lr for t in trials[last + 1 :]]
    assert after[:2] == [0.05 * LR_STEP, 0.05 / LR_STEP]


def test_families_start_at_the_best_of_the_first_peaks():
    trials = planned(spec_of(), suggestion(), bowl(0.1))
    assert {t.schedule.peak_lr for t in trials if t.purpose == "search"} == {0.1}  # sgd's usual


@pytest.mark.parametrize("best", [10.0, 1e-6])
def test_tuning_of_the_baseline_goes_on_while_the_best_is_at_the_edge(best):
    peaks = linear_peaks(planned(spec_of(), suggestion(), bowl(best)))
    assert len(peaks) == 1 + 2 + 2 + 2
    *before, last, furthest = peaks
    if best > 1:
        assert max(before) < last < furthest
    else:
        assert min(before) > last > furthest


def test_where_everything_diverges_it_goes_down():
    peaks = linear_peaks(planned(spec_of(), suggestion(), lambda _lr: None))
    assert peaks[-1] < peaks[-2] < min(peaks[:-2])


def test_nothing_is_planned_twice():
    arms = [t.arm for t in planned(spec_of(), suggestion(decaying=0.1), bowl(0.1))]
    assert len(set(arms)) == len(arms)


def test_the_plan_does_not_depend_on_what_came_after():
    found, spec = suggestion(), spec_of()
    trials = planned(spec, found, bowl(0.05))
    search = Search(spec, found, total_steps=40)
    for count in range(len(trials)):
        request = search.planned(trials[:count])
        assert request.arm == trials[count].arm
