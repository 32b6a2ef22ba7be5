"""The sampler by ask and tell: inside the space, seeded per ask, the same after a resume."""

import itertools
import json
import math
import statistics

import pytest

from lrtuner.candidates import search_space, to_schedule
from lrtuner.schedules import FAMILIES, SEARCHED
from worker import search
from worker.search import Tried, ask

SPACE = search_space(list(SEARCHED), (1e-4, 1.0))
NARROW = search_space(["cosine"], (1e-4, 1.0))
every_sampler = pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
every_that_learns = pytest.mark.parametrize("sampler", ["tpe", "gp"])  # a GP takes long to ask
diverged_runs_are_clipped = pytest.mark.filterwarnings("ignore:Clip non-finite values:UserWarning")


def loss(params):
    """Best at a peak of 0.1, and a little better for cosine."""
    off = abs(math.log10(params["peak_lr"] / 0.1))
    return 1.0 + off + (0.0 if params["family"] == "cosine" else 0.05)


def searched(generations, *, sampler="tpe", seed=0, space=SPACE, restarts=False):
    """All that was tried, asked in generations of so many."""
    tried = []
    for count in generations:
        if restarts:  # as after a crash: only what was stored is known
            tried = [Tried(**json.loads(json.dumps(vars(one)))) for one in tried]
        asked = ask(space, tried, count, sampler=sampler, seed=seed)
        tried += [Tried(params, loss(params)) for params in asked]
    return tried


@every_sampler
def test_every_ask_is_a_schedule_of_the_space(sampler):
    for one in searched([1, 4, 6, 1], sampler=sampler):
        names = SPACE.names(one.params["family"])
        assert set(one.params) == {"family", *names}
        assert 1e-4 <= one.params["peak_lr"] <= 1.0
        assert to_schedule(one.params, 100).peak_lr == one.params["peak_lr"]
        assert json.loads(json.dumps(one.params)) == one.params


def test_the_space_is_conditional():
    by_family = {one.params["family"]: one.params for one in searched([40], sampler="random")}
    assert len(by_family) > 0.7 * len(SEARCHED)
    for family, params in by_family.items():
        own = {name.partition(".")[0] for name in params if "." in name}
        assert own <= {family}
        assert {"warmup_fraction", "peak_lr"} <= params.keys()
        cools = f"{family}.cooldown_fraction" in params
        assert cools == (not FAMILIES[family].decays_fully)


@every_sampler
def test_a_resumed_search_equals_an_uninterrupted_one(sampler):
    generations = [3, 4, 4]
    whole = searched(generations, sampler=sampler)
    assert searched(generations, sampler=sampler, restarts=True) == whole
    assert searched(generations, sampler=sampler, seed=1) != whole


@every_sampler
def test_what_is_asked_depends_on_the_job_and_on_what_was_tried_alone(sampler):
    tried = searched([4, 4], sampler=sampler)
    first = ask(SPACE, tried, 3, sampler=sampler, seed=5)
    searched([2], sampler=sampler, seed=9)  # another search in the same process
    assert ask(SPACE, tried, 3, sampler=sampler, seed=5) == first
    assert ask(SPACE, tried, 1, sampler=sampler, seed=5) == first[:1]


@every_sampler
def test_asks_of_one_generation_differ(sampler):
    tried = searched([12], sampler="random")
    count = 2 if sampler == "gp" else 4
    asked = ask(SPACE, tried, count, sampler=sampler, seed=0)
    assert len({str(params) for params in asked}) == count
    peaks = sorted(math.log(params["peak_lr"]) for params in asked)
    assert min(b - a for a, b in itertools.pairwise(peaks)) > 1e-6


@every_that_learns
def test_each_of_a_generation_is_chosen_as_if_those_before_it_were_bad(sampler):
    tried = searched([11], sampler="random", space=NARROW)
    first, second = ask(NARROW, tried, 2, sampler=sampler, seed=0)

    def after(params):
        pending = Tried(params, None)
        [found] = ask(NARROW, [*tried, pending], 1, sampler=sampler, seed=0)
        return found

    assert after(first) == second
    assert after({**first, "peak_lr": 2e-4}) != second


def test_a_generation_does_not_crowd_where_the_best_was():
    tried = searched([20], space=NARROW)
    together = ask(NARROW, tried, 8, sampler="tpe", seed=3)
    alone = [ask(NARROW, tried, 1, sampler="tpe", seed=seed)[0] for seed in range(8)]
    assert spread(together) > spread(alone)


def spread(asked):
    return statistics.stdev(math.log10(params["peak_lr"]) for params in asked)


@pytest.mark.parametrize(("sampler", "asks"), [("tpe", [4] * 5), ("gp", [2, 2])])
def test_it_learns_where_losses_are_low(sampler, asks):
    tried = searched([12, *asks], sampler=sampler, space=NARROW)
    blind = searched([32], sampler="random", space=NARROW)
    own = [one.loss for one in tried[12:]]
    assert statistics.fmean(own) < statistics.fmean(one.loss for one in blind) - 0.2


@diverged_runs_are_clipped
@pytest.mark.parametrize(("sampler", "seeds"), [("tpe", 8), ("gp", 2)])
def test_a_diverged_run_is_as_bad_as_can_be(sampler, seeds):
    base = searched([16], sampler="random", space=NARROW)
    low = [Tried({**one.params, "peak_lr": 0.01 + 0.005 * i}, 1.0) for i, one in enumerate(base)]

    def high_asks(value):
        high = [Tried({**one.params, "peak_lr": 10 * one.params["peak_lr"]}, value) for one in low]
        asked = [
            ask(NARROW, [*low, *high], 1, sampler=sampler, seed=seed)[0] for seed in range(seeds)
        ]
        return sum(params["peak_lr"] > 0.1 for params in asked) / seeds

    assert high_asks(math.inf) <= 0.25 < 0.75 <= high_asks(0.5)


@every_sampler
def test_points_outside_the_space_do_not_count(sampler):
    inside = search_space(["cosine"], (1e-2, 1e-1))
    everywhere = searched([12], sampler="random")
    asked = ask(inside, everywhere, 2, sampler=sampler, seed=0)
    assert all(params["family"] == "cosine" for params in asked)
    assert all(1e-2 <= params["peak_lr"] <= 1e-1 for params in asked)
    own = [one for one in everywhere if search._inside(inside, one.params)]
    assert len(own) < 12
    assert ask(inside, own, 2, sampler=sampler, seed=0) == asked


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "zigzag"},
        {"family": "constant"},
        {"peak_lr": 2.0},
        {"peak_lr": 1e-5},
        {"warmup_fraction": 0.07},
    ],
)
def test_what_lies_outside(changes):
    [one] = searched([1], sampler="random", space=NARROW)
    assert search._inside(NARROW, one.params)
    assert not search._inside(NARROW, {**one.params, **changes})


def test_what_lacks_a_parameter_lies_outside():
    [one] = searched([1], sampler="random", space=NARROW)
    for name in one.params:
        assert not search._inside(NARROW, {k: v for k, v in one.params.items() if k != name})


@every_sampler
def test_nothing_was_tried_yet(sampler):
    asked = ask(SPACE, [], 4, sampler=sampler, seed=0)
    assert len({str(params) for params in asked}) == 4
    assert ask(SPACE, [], 0, sampler=sampler, seed=0) == []


@diverged_runs_are_clipped
@every_sampler
def test_only_diverged_runs_are_no_reason_to_fail(sampler):
    tried = [Tried(one.params, math.inf) for one in searched([12], sampler="random")]
    assert len(ask(SPACE, tried, 1, sampler=sampler, seed=0)) == 1


def test_the_sampler_is_the_one_that_is_asked_for():
    names = {name: type(make(0)).__name__ for name, make in search.SAMPLERS.items()}
    assert names == {"tpe": "TPESampler", "gp": "GPSampler", "random": "RandomSampler"}
