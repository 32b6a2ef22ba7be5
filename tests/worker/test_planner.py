"""A job as a problem of the strategy: what is searched, over which horizons, and what is told."""

import json
import math

import pytest

from lrtuner.candidates import GivenShape, PointShape, RefinedShape, linear_to_zero, typical
from lrtuner.errors import NothingTrainedError
from lrtuner.evidence import TrialRecord
from lrtuner.job import search_seed
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.range_test import Peak, Probe, RangeTestResult, Suggestion
from lrtuner.schedules import SEARCHED
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.table import MAX_VALUES
from lrtuner.search_result import SearchResult
from lrtuner.strategy import Ask, Candidate, Drift, Outcome, Result
from tests.worker.conftest import spec_of
from worker import planner as module
from worker.planner import (
    NOT_REPEATABLE,
    RANKED,
    REACH,
    REFERENCE,
    Planner,
    contenders,
    pair_requests,
    pair_seed,
)

OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop"]
STEPS = {"family": "step", "every": 10.0, "rate": 0.5}
BASELINE = {"total_steps": 40, "peak_lr": 0.2, "body": STEPS}
USER = GivenShape(Schedule.model_validate(BASELINE))


def suggestion(decaying=0.05):
    return Suggestion(
        low=decaying / 20,
        high=decaying * 20,
        peaks={"decaying": Peak(lr=decaying), "constant": Peak(lr=decaying / 2)},
        source="probes",
    )


def planner_of(total_steps=400, found=None, **changes):
    return Planner(spec_of(**changes), found or suggestion(), total_steps, steps_per_epoch=7)


def problem_of(total_steps=400, **changes):
    return planner_of(total_steps, **changes).problem(12.0, lambda steps: steps / total_steps)


def point(family="cosine", **params):
    parts = {"cosine": {"cosine.end_factor": 0.0}, "constant": {"constant.cooldown_fraction": 0.4}}
    return PointShape({"family": family, "warmup_fraction": 0.05, **parts[family], **params})


def result(shape=REFERENCE, lr=0.1, loss=1.0, steps=100, norms=None):
    return Result(Ask(shape, lr, steps, 0, "screen", "bound"), loss, 0.25, norms)


def trial(request, value=0.5, state=TrialState.COMPLETE, **changes):
    return TrialRecord(
        number=3,
        phase=request.phase,
        purpose=request.purpose,
        arm=request.arm,
        schedule=request.schedule,
        seed=request.seed,
        state=state,
        value=value,
        metrics={"val_loss": value, "val_accuracy": value},
        cost=0.2,
        **changes,
    )


# the problem -------------------------------------------------------------------------------------


def test_a_job_is_searched_over_quarter_half_and_whole():
    problem = problem_of()
    assert problem.horizons == (100, 200, 400)
    assert problem.bounds == (0.0025, 1.0)
    assert problem.start_lr == 0.05
    assert problem.budget == 12.0
    assert problem.cost(100) == 0.25
    assert problem.given == []
    assert problem.shares_trunks


def test_the_reference_is_warmup_and_linear_decay_to_zero():
    problem = problem_of()
    expected = linear_to_zero(0.3)
    assert problem.reference.schedule(0.3, 400).values().tolist() == [
        *PointShape({k: v for k, v in expected.items() if k != "peak_lr"})
        .schedule(0.3, 400)
        .values()
    ]
    assert problem.reference.factors(400)[-1] < 0.01
    assert problem.reference.factors(400)[0] < 0.1


def test_the_shapes_are_of_the_families_asked_for():
    assert {shape.family for shape in problem_of().shapes} == set(SEARCHED)
    few = problem_of(search={"families": ["step", "cosine"]})
    assert {shape.family for shape in few.shapes} == {"step", "cosine"}


def test_a_part_of_the_steps_is_all_that_is_trained():
    problem = problem_of(search={"horizon_fraction": 0.5})
    assert problem.horizons == (50, 100, 200)


def test_steps_to_a_target_cannot_be_compressed():
    objective = {"metric": "steps_to_target", "target": {"metric": "val_loss", "value": 0.5}}
    assert problem_of(objective=objective).horizons == (400,)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_usual_rates_of_the_optimizer_take_part(name):
    spec = spec_of(optimizer={"name": name})
    assert problem_of(optimizer={"name": name}).usual_lrs == list(spec.optimizer.default_lrs)


def test_usual_rates_that_the_job_rules_out_do_not():
    assert problem_of(search={"lr_range": [0.02, 1.0]}).usual_lrs == [0.1]


def test_a_users_baseline_takes_part_with_its_peak():
    [(shape, lr)] = problem_of(total_steps=40, baseline=BASELINE).given
    assert lr == 0.2
    assert shape.schedule(lr, 40).values().tolist() == USER.given.values().tolist()


def test_a_baseline_in_epochs_takes_part_in_steps():
    body = {"family": "step", "every": 2.0, "rate": 0.5}
    baseline = {"unit": "epoch", "total_steps": 4, "peak_lr": 0.2, "body": body}
    changes = {"baseline": baseline, "training": {"batch_size": 16, "epochs": 4}}
    [(shape, lr)] = problem_of(total_steps=28, **changes).given
    assert shape.schedule(lr, 28).values().tolist() == [0.2] * 14 + [0.1] * 14


# what is known -----------------------------------------------------------------------------------


def probe(lr, loss, kind="decaying"):
    return Probe(kind=kind, lr=lr, steps=200, seed=search_seed(0), loss=loss, cost=0.5)


def test_probes_of_decay_are_results_of_the_reference():
    probes = [probe(0.1, 0.7), probe(0.3, None), probe(0.1, 0.9, "constant")]
    known = planner_of().known(probes)
    assert [(r.ask.lr, r.loss) for r in known] == [(0.1, 0.7), (0.3, math.inf)]
    for one in known:
        assert (one.ask.shape, one.ask.steps, one.ask.seed) == (REFERENCE, 200, 0)
        assert one.ask.purpose == "peak"


def test_where_something_else_decides_their_losses_are_no_results():
    assert planner_of(objective={"metric": "val_accuracy"}).known([probe(0.1, 0.7)]) == []


def test_a_probe_is_the_run_that_the_search_would_make():

    asked = planner_of().known([probe(0.1, 0.7)])[0].ask
    request = planner_of().request(asked)
    assert request.schedule.values().tolist() == typical("decaying", 0.1, 200).values().tolist()
    assert request.seed == probe(0.1, 0.7).seed


# requests and results ----------------------------------------------------------------------------


def test_a_request_is_what_was_asked_for():
    shape = point()
    request = planner_of().request(Ask(shape, 0.1, 200, 1, "rung", "bound"))
    assert (request.purpose, request.origin, request.phase) == ("rung", "bound", Stage.SEARCH)
    assert request.schedule == shape.schedule(0.1, 200)
    assert request.schedule.total_steps == 200
    assert request.shape == shape.key
    assert request.params == {**shape.params, "peak_lr": 0.1}
    assert request.seed == search_seed(0, 1) != search_seed(0, 0)


def test_runs_of_a_schedule_have_one_arm_and_others_another():
    planner = planner_of()

    def arm(lr=0.1, steps=200, seed=0, shape=REFERENCE):
        return planner.request(Ask(shape, lr, steps, seed, "screen", "bound")).arm

    assert arm() == arm(seed=1)
    assert len({arm(), arm(lr=0.2), arm(steps=400), arm(shape=point())}) == 4


def test_what_comes_from_no_point_has_no_parameters():
    for shape in (USER, RefinedShape((1.0, 2.0, 3.0), 2)):
        assert planner_of().request(Ask(shape, 0.1, 40, 0, "final", "user")).params is None


@pytest.mark.parametrize(
    ("steps", "seed", "measured"), [(400, 0, True), (400, 1, False), (200, 0, False)]
)
def test_norms_are_measured_in_the_first_whole_runs(steps, seed, measured):
    ask = Ask(REFERENCE, 0.1, steps, seed, "final", "bound")
    assert planner_of().request(ask).norms is measured
    halved = planner_of(800, search={"horizon_fraction": 0.5})
    assert halved.request(ask).norms is measured


def test_what_came_of_a_run_is_told_as_a_loss():
    planner = planner_of()
    ask = Ask(REFERENCE, 0.1, 400, 0, "final", "bound")
    request = planner.request(ask)
    told = planner.result(ask, trial(request, gradient_norms=[1.0, 2.0]))
    assert (told.ask, told.loss, told.cost, told.norms) == (ask, 0.5, 0.2, [1.0, 2.0])
    for state in (TrialState.DIVERGED, TrialState.FAILED):
        assert planner.result(ask, trial(request, None, state)).loss == math.inf
    accuracy = planner_of(objective={"metric": "val_accuracy"})
    assert accuracy.result(ask, trial(request, 0.9)).loss == pytest.approx(0.1)


# the sampler -------------------------------------------------------------------------------------


def test_the_sampler_is_told_of_the_points_of_that_horizon(monkeypatch):
    asked = []

    def ask(space, tried, count, *, sampler, seed):
        asked.append((space, list(tried), count, sampler, seed))
        return [{**point().params, "peak_lr": 0.123}] * count

    monkeypatch.setattr(module.search, "ask", ask)
    planner = planner_of(seed=7, search={"sampler": "gp", "families": ["cosine", "step"]})
    results = [
        result(lr=0.1, loss=0.5),
        result(point(), 0.2, math.inf),
        result(lr=0.1, loss=0.4, steps=200),
        result(USER, 0.2, 0.6),
    ]
    found = planner.problem(12.0, float).sampler(results, 100, 2)
    assert [(shape.key, lr) for shape, lr in found] == [(point().key, 0.123)] * 2
    [(space, tried, count, sampler, seed)] = asked
    assert (count, sampler, seed) == (2, "gp", 7)
    assert space.families == ("cosine", "step")
    assert [(one.params["peak_lr"], one.loss) for one in tried] == [(0.1, 0.5), (0.2, math.inf)]
    assert all(set(one.params) > {"family", "peak_lr", "warmup_fraction"} for one in tried)


def test_it_draws_around_the_best_peak_of_the_reference_and_within_the_bounds(monkeypatch):
    spans = []

    def ask(space, tried, count, **how):
        spans.append(space.shared["peak_lr"])
        return []

    monkeypatch.setattr(module.search, "ask", ask)
    sampler = planner_of().problem(12.0, float).sampler
    bowl = [result(lr=lr, loss=1 + abs(math.log(lr / 0.1))) for lr in (0.03, 0.1, 0.3)]
    sampler(bowl, 100, 1)
    assert spans[-1].low == pytest.approx(0.1 / REACH, rel=0.1)
    assert spans[-1].high == pytest.approx(0.1 * REACH, rel=0.1)
    sampler([result(lr=0.9, loss=0.1)], 100, 1)
    assert spans[-1].high == 1.0
    sampler([], 100, 1)  # nothing over that horizon yet: around what the range test says
    assert (spans[-1].low, spans[-1].high) == pytest.approx((0.05 / REACH, 0.05 * REACH))


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_real_sampler_gives_shapes_of_the_space(name):
    planner = planner_of(search={"sampler": name, "families": ["cosine", "step"]})
    bowl = [result(lr=lr, loss=1 + abs(math.log(lr / 0.1))) for lr in (0.03, 0.1, 0.3)]
    found = planner.problem(12.0, float).sampler(bowl, 100, 4)
    assert len(found) == 4
    for shape, lr in found:
        assert shape.family in ("cosine", "step")
        assert 0.02 < lr < 0.5
        assert shape.schedule(lr, 100).peak_lr == lr


# what is derived ---------------------------------------------------------------------------------


def test_norms_of_a_run_give_a_refined_shape():
    norms = [3.0, 1.0, 1.0, 2.0]
    [shape] = planner_of().problem(12.0, float).derive(result(norms=norms))
    assert shape == RefinedShape((3.0, 1.0, 1.0, 2.0), 2)  # sgd: squares
    [shape] = (
        planner_of(optimizer={"name": "adam"}).problem(12.0, float).derive(result(norms=norms))
    )
    assert shape.order == 1


def test_without_norms_or_for_too_many_steps_there_is_none():
    derive = planner_of().problem(12.0, float).derive
    assert derive(result()) == []
    assert derive(result(norms=[1.0, 2.0], steps=MAX_VALUES + 1)) == []
    for vanished in (0.0, math.inf, math.nan):
        assert derive(result(norms=[1.0, vanished])) == []


# who is confirmed --------------------------------------------------------------------------------


def candidate(shape, behind, lr=0.1, origin="bound", trained=True):
    return Candidate(shape, lr, origin, behind, trained)


def outcome(*candidates, reference=None, tried=None):
    reference = reference or candidate(REFERENCE, 0.0, origin="reference")
    ordered = sorted([reference, *candidates], key=lambda c: c.behind)
    return Outcome(tuple(ordered), reference, Drift(), tried or {0.1: 1.0})


def test_the_best_of_another_shape_is_up_against_the_reference_at_its_best_peak():
    shifted = candidate(REFERENCE, -0.05, lr=0.2, origin="neighbour")
    best, second = candidate(point(), -0.03), candidate(point("constant"), -0.01)
    assert contenders(outcome(shifted, best, second), None) == (best, shifted)
    assert contenders(outcome(best, second), None)[1].origin == "reference"


def test_the_users_own_schedule_is_the_one_to_beat():
    own = candidate(USER, 0.2, origin="user")
    best = candidate(point(), -0.03)
    assert contenders(outcome(own, best), USER) == (best, own)
    worse = candidate(point(), 0.3)
    challenger, baseline = contenders(outcome(own, worse), USER)
    assert (challenger.origin, baseline) == ("reference", own)


def test_a_users_schedule_that_diverged_is_not():
    own = candidate(USER, math.inf, origin="user")
    best = candidate(point(), -0.03)
    challenger, baseline = contenders(outcome(own, best), USER)
    assert (challenger, baseline.origin) == (best, "reference")


def test_what_diverged_challenges_nobody():
    lost = candidate(point(), math.inf)
    challenger, baseline = contenders(outcome(lost), None)
    assert challenger == baseline
    assert baseline.shape == REFERENCE


def range_test(repeatable=True):
    return RangeTestResult(
        status="ok",
        message="",
        sweeps=[],
        analyses=[],
        suggestion=suggestion(),
        cost=0.5,
        repeatable=repeatable,
    )


def test_the_summary_has_the_schedules_as_they_were_searched_and_for_all_steps():
    best = candidate(point(), -0.03, lr=0.1)
    planner = planner_of(search={"horizon_fraction": 0.25})
    made = planner.summary(outcome(best), range_test(), pairs=3, runs=17)
    assert (made.pairs, made.runs, made.share) == (3, 17, 0.25)
    assert made.challenger.searched == point().schedule(0.1, 100)
    assert made.challenger.schedule.total_steps == 400
    assert made.challenger.schedule.peak_lr == pytest.approx(0.1 * 0.25**made.drift.alpha)
    assert made.challenger.behind == -0.03
    assert made.ranking[0] == made.challenger
    assert made.baseline.shape == REFERENCE.key
    assert made.drift.measured is None
    assert "usual" in made.drift.source
    whole = planner_of().summary(outcome(best), range_test(), pairs=3, runs=17)
    assert whole.challenger.searched == whole.challenger.schedule


def test_the_summary_tells_of_the_best_only_and_of_none_that_diverged():
    many = [candidate(point(), -i / 100, lr=0.1 + i / 100) for i in range(2 * RANKED)]
    lost = candidate(point("constant"), math.inf)
    made = planner_of().summary(outcome(*many, lost), range_test(), pairs=0, runs=1)
    assert len(made.ranking) == RANKED
    assert made.ranking[0].behind == min(c.behind for c in many)
    few = planner_of().summary(outcome(lost), range_test(), pairs=0, runs=1)
    assert [c.shape for c in few.ranking] == [REFERENCE.key]


def test_the_summary_says_what_a_wrong_peak_costs_and_what_to_beware_of():
    tried = {0.02: 1.3, 0.06: 1.1, 0.2: 1.0, 0.6: 1.2}
    made = planner_of().summary(outcome(tried=tried), range_test(), pairs=0, runs=1)
    assert [s.factor for s in made.sensitivity] == [0.5, 2.0]
    assert all(s.change > 0 for s in made.sensitivity)
    assert made.warnings == []
    told = planner_of().summary(outcome(tried=tried), range_test(False), pairs=0, runs=1)
    assert told.warnings == [NOT_REPEATABLE]


def test_peaks_that_diverged_are_no_reason_to_fail():
    tried = {0.1: 1.0, 0.3: math.inf}
    made = planner_of().summary(outcome(tried=tried), range_test(), pairs=0, runs=1)
    assert [s.change for s in made.sensitivity] == [None, None]


def test_a_loss_of_zero_is_no_reason_to_fail():
    known = planner_of().known([probe(0.1, 0.0)])
    made = planner_of().summary(
        outcome(tried={r.ask.lr: r.loss for r in known}), range_test(), pairs=0, runs=1
    )
    assert made.runs == 1


def test_a_reference_that_diverged_can_be_stored():
    lost = candidate(REFERENCE, math.inf, origin="reference")
    best = candidate(point(), -0.1)
    made = planner_of().summary(outcome(best, reference=lost), range_test(), pairs=1, runs=1)
    stored = json.dumps(made.model_dump(mode="json"), allow_nan=False)
    assert SearchResult.model_validate_json(stored) == made
    assert made.challenger.shape == best.shape.key


def test_where_all_diverged_over_the_whole_horizon_there_is_a_word_for_it():
    lost = candidate(REFERENCE, math.inf, origin="reference")
    found = outcome(candidate(point(), math.inf), reference=lost)
    with pytest.raises(NothingTrainedError):
        planner_of().summary(found, range_test(), pairs=1, runs=1)


# pairs -------------------------------------------------------------------------------------------


def test_a_pair_is_both_sides_as_they_were_searched_on_one_fresh_seed():
    spec = spec_of(search={"horizon_fraction": 0.5})
    planner = Planner(spec, suggestion(), 400, steps_per_epoch=7)
    found = planner.summary(outcome(candidate(point(), -0.1)), range_test(), pairs=9, runs=5)
    seeds = set()
    for index in range(9):
        ours, theirs = pair_requests(found, spec, index)
        assert (ours.purpose, theirs.purpose) == ("recommended", "reference")
        assert ours.seed == theirs.seed == pair_seed(spec, index)
        assert ours.phase is theirs.phase is Stage.CONFIRM
        assert (ours.schedule, theirs.schedule) == (
            found.challenger.searched,
            found.baseline.searched,
        )
        assert ours.schedule.total_steps == 200
        seeds.add(ours.seed)
    assert len(seeds) == 9
    assert not seeds & {search_seed(spec.seed, i) for i in range(100)}


def test_seeds_of_other_jobs_are_others():
    assert len({pair_seed(spec_of(seed=s), i) for s in range(20) for i in range(5)}) == 100
