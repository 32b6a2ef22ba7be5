"""What a search asks for, at any budget: it fits, nothing is asked twice, phases come and go."""

import math
from collections import Counter
from itertools import pairwise

import pytest

from lrtuner.strategy import Result
from lrtuner.strategy.problem import MAX_SEEDS
from lrtuner.strategy.tuning import FINALS_FROM, GENERATION, MAX_FINALS, RUNGS_FROM
from tests.lrtuner.strategy.world import (
    HORIZONS,
    LINEAR,
    TOTAL,
    Toy,
    World,
    cost,
    everything,
    problem,
    sampled,
    search,
    shared_costs,
)

PLAIN = World(norms=(1.0,) * 8)
NOISY = World(norms=(1.0,) * 8, common=0.1, noise=0.03)
BUDGETS = [3.0, 3.5, *range(4, 13), 14, 17.5, 22, 30, 50]


def spent(searched):
    return [math.fsum(shared_costs(generation)) for generation in searched.generations]


def identity(ask):
    return ask.shape.key, ask.lr, ask.steps, ask.seed


@pytest.fixture(scope="module", params=BUDGETS)
def whole(request):
    """A search with all that it may have, in a noisy world, at every budget."""
    return request.param, search(everything(request.param), NOISY)


def test_it_never_asks_beyond_the_budget(whole):
    budget, searched = whole
    assert math.fsum(spent(searched)) <= budget + 1e-9


def test_nothing_is_asked_twice(whole):
    _, searched = whole
    assert max(Counter(map(identity, searched.asks)).values()) == 1


def test_a_generation_is_of_one_seed_and_its_first_ones_of_the_first(whole):
    _, searched = whole
    seeds = [{ask.seed for ask in generation} for generation in searched.generations]
    assert all(len(one) == 1 for one in seeds)
    assert {ask.seed for ask in searched.of("peak", "screen", "rung")} == {0}
    assert {ask.seed for ask in searched.asks} <= set(range(MAX_SEEDS))


def test_a_generation_is_over_one_horizon_and_the_horizons_ascend(whole):
    _, searched = whole
    steps = [{ask.steps for ask in generation} for generation in searched.generations]
    assert all(len(one) == 1 for one in steps)
    order = [min(one) for one in steps]
    assert order == sorted(order)


def test_most_of_the_budget_is_spent_and_the_result_is_sound(whole):
    budget, searched = whole
    assert math.fsum(spent(searched)) > min(0.8 * budget, budget - 1.1)
    candidates = searched.outcome.candidates
    assert searched.outcome.reference in candidates
    behind = [candidate.behind for candidate in candidates]
    assert behind == sorted(behind)
    tried = {ask.shape.key for ask in searched.of("final")}
    if tried:
        assert {c.shape.key for c in candidates} == tried
        assert all(candidate.trained for candidate in candidates)


@pytest.mark.parametrize("budget", [3, 7.7, 24])
@pytest.mark.parametrize("shares", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("bare", [False, True], ids=["all", "bare"])
def test_it_fits_with_and_without_trunks_samplers_and_baselines(budget, shares, bare):
    make = problem if bare else everything
    searched = search(
        make(budget, shares_trunks=shares),
        NOISY,
        answer=None if shares else lambda asks: [NOISY.result(ask) for ask in asks],
    )
    costs = spent(searched) if shares else [cost(ask.steps) for ask in searched.asks]
    assert 0.6 * budget < math.fsum(costs) <= budget + 1e-9


@pytest.mark.parametrize("budget", [6, 9.5, 14])
def test_a_run_that_ends_early_leaves_its_rest_to_others(budget):
    def answer(asks):
        return [Result(ask, NOISY.loss(ask), 0.5 * cost(ask.steps)) for ask in asks]

    early = search(everything(budget, shares_trunks=False), NOISY, answer=answer)
    costs = math.fsum(0.5 * cost(ask.steps) for ask in early.asks)
    assert costs <= budget
    usual = search(everything(budget, shares_trunks=False), NOISY)
    assert len(early.asks) > len(usual.asks)


def test_what_is_known_is_neither_charged_nor_asked_again():
    known = PLAIN.known()
    searched = search(problem(4.0), PLAIN, known)
    assert not {identity(r.ask) for r in known} & set(map(identity, searched.asks))
    assert "peak" not in searched.purposes
    assert math.fsum(spent(searched)) > 4.0 - cost(TOTAL)


@pytest.mark.parametrize(
    ("left", "purposes"),
    [
        (0.2, []),
        (0.5, ["screen"]),
        (FINALS_FROM * cost(TOTAL) - 0.01, ["screen"]),
        (FINALS_FROM * cost(TOTAL) + 0.6, ["screen", "final"]),
        (RUNGS_FROM * cost(TOTAL) - 0.01, ["screen", "final"]),
        (RUNGS_FROM * cost(TOTAL) + 0.01, ["screen", "rung", "final"]),
        (25.0, ["screen", "rung", "final"]),
    ],
)
def test_phases_come_with_the_budget(left, purposes):
    searched = search(problem(left, sampler=sampled), PLAIN, PLAIN.known())
    assert searched.purposes == purposes
    steps = {purpose: {ask.steps for ask in searched.of(purpose)} for purpose in purposes}
    expected = dict(zip(("screen", "rung", "final"), HORIZONS, strict=True))
    assert all(steps[purpose] == {expected[purpose]} for purpose in purposes)
    assert not any(c.trained for c in searched.outcome.candidates) or "final" in purposes


def test_a_larger_budget_screens_more_and_confirms_more():
    found = [search(everything(budget), NOISY) for budget in (5, 10, 18, 34)]
    screened = [len(searched.of("screen")) for searched in found]
    # but for one or two where the rounds change
    assert all(more > fewer - 3 for fewer, more in pairwise(screened))
    assert screened[-1] > 2 * screened[0]
    assert 3 <= screened[0] < screened[-1] / 3
    finals = [len([ask for ask in s.of("final") if ask.seed == 0]) for s in found]
    assert min(finals) >= 2
    assert max(finals) <= MAX_FINALS + 1 + 3  # the given one, a refined one, two shifted ones
    seeds = [max(ask.seed for ask in s.asks) for s in found]
    assert seeds == sorted(seeds)
    assert seeds[0] == 0 < seeds[-1]


def test_no_candidate_is_told_of_twice():
    for budget in (3, 6, 12, 30):
        candidates = search(everything(budget), PLAIN).outcome.candidates
        counts = Counter((c.shape.key, c.lr) for c in candidates)
        assert max(counts.values()) == 1, budget


def test_what_repeats_leave_over_goes_to_others_over_the_whole_horizon():
    alone = search(problem(16.0, seeds=1), PLAIN)
    assert {ask.seed for ask in alone.asks} == {0}
    assert math.fsum(spent(alone)) > 16.0 - 1.1
    repeated = search(problem(16.0), PLAIN)
    whole = [len({(a.shape.key, a.lr) for a in s.of("final")}) for s in (alone, repeated)]
    assert whole[0] > whole[1]
    assert max(ask.seed for ask in repeated.asks) > 0


def test_the_rung_is_of_the_best_of_the_screen():
    searched = search(problem(20.0, sampler=sampled), PLAIN)
    rung = searched.of("rung")
    assert rung[0].shape == LINEAR
    losses = {ask.shape.key: PLAIN.loss(ask) for ask in searched.of("screen")}
    chosen = {ask.shape.key for ask in rung[1:]}
    left_out = losses.keys() - chosen - {LINEAR.key}
    assert 2 <= len(chosen) < len(losses) / 2
    assert max(losses[key] for key in chosen) <= min(losses[key] for key in left_out)


def test_the_sampler_is_asked_in_generations_and_told_of_all_before():
    calls = []

    def sampler(results, steps, count):
        calls.append((len(results), steps, count))
        return sampled(results, steps, count)

    searched = search(problem(35.0, sampler=sampler), PLAIN)
    generations = [g for g in searched.generations if g[0].origin == "sampler"]
    generations = [g for g in generations if g[0].purpose == "screen"]
    assert [count for _, _, count in calls] == [len(g) for g in generations]
    assert {steps for _, steps, _ in calls} == {HORIZONS[0]}
    assert len(generations) > 2
    assert all(len(g) == GENERATION for g in generations[:-1])
    assert len(generations[-1]) <= GENERATION
    before = searched.generations.index(generations[0])
    known = [sum(map(len, searched.generations[: before + i])) for i in range(len(calls))]
    assert [results for results, _, _ in calls] == known
    planned = [ask for ask in searched.of("screen") if ask.origin == "bound"]
    assert len(planned) > GENERATION


def test_a_sampler_that_has_nothing_new_ends_the_screen():
    searched = search(problem(20.0, sampler=lambda _r, _s, n: [(Toy(0.5), 0.1)] * n), PLAIN)
    own = [ask for ask in searched.of("screen") if ask.origin == "sampler"]
    assert len(own) == 1
    assert "final" in searched.purposes


@pytest.mark.parametrize("budget", [3, 6, 12, 40])
def test_where_there_is_one_horizon_only_all_is_run_over_it(budget):
    searched = search(everything(budget, horizons=(TOTAL,)), NOISY)
    assert {ask.steps for ask in searched.asks} == {TOTAL}
    assert math.fsum(spent(searched)) <= budget + 1e-9
    assert searched.purposes[:2] == ["peak", "screen"][: len(searched.purposes)]
    assert all(c.trained for c in searched.outcome.candidates if c.origin != "user")


def test_two_horizons_have_no_rung_between_them():
    searched = search(problem(20.0, horizons=(100, TOTAL)), PLAIN)
    assert searched.purposes == ["peak", "screen", "final"]


def test_what_a_run_costs_is_as_the_problem_says():
    def dear(steps):
        return 1.5 * steps / TOTAL

    def answer(asks):
        return [Result(ask, PLAIN.loss(ask), dear(ask.steps)) for ask in asks]

    searched = search(problem(6.0, shares_trunks=False, cost=dear), PLAIN, answer=answer)
    assert 4.5 < math.fsum(dear(ask.steps) for ask in searched.asks) <= 6.0


def test_with_whatever_is_left_a_shape_beside_the_reference_is_tried():
    for left in [0.3 + 0.21 * i for i in range(50)]:
        searched = search(problem(left), PLAIN, PLAIN.known())
        assert any(ask.shape != LINEAR for ask in searched.asks), left


def test_with_a_baseline_given_something_that_was_found_reaches_the_finals_too():
    for left in [3.9 + 0.25 * i for i in range(30)]:
        searched = search(problem(left, given=[(Toy(0.3, 3.0), 0.07)]), PLAIN, PLAIN.known())
        found = {ask.origin for ask in searched.of("final")}
        assert found >= {"reference", "user", "bound"}, left
