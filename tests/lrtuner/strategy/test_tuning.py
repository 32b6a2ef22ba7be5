"""What a search finds in a world whose best is known, and how it holds out against a bad one."""

import math
from collections import Counter
from dataclasses import dataclass, replace

import pytest

from lrtuner.strategy import Ask, Drift, Result, drift
from lrtuner.strategy.peaks import USUAL_DRIFT
from lrtuner.strategy.problem import MAX_SEEDS
from lrtuner.strategy.tuning import CLEARLY_BEHIND, MAX_RACE, NEIGHBOUR, USUAL_APART
from tests.lrtuner.strategy.world import (
    BEST,
    HORIZONS,
    LINEAR,
    SHAPES,
    TOTAL,
    Toy,
    World,
    _normal,
    cost,
    derived,
    everything,
    problem,
    sampled,
    search,
)

PLAIN = World(norms=(1.0,) * 8)
NOISY = World(norms=(1.0,) * 8, common=0.1, noise=0.03)
USER = (Toy(0.3, 3.0), 0.07)


def best_of(searched):
    return searched.outcome.candidates[0]


def off(candidate, world=PLAIN):
    """How far its peak is from the best one of its shape, as a factor."""
    return math.exp(abs(math.log(candidate.lr / world.best_peak(candidate.shape))))


# what is found -----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [4, 7, 10, 15, 25, 50])
def test_without_noise_it_finds_the_best_shape_and_its_peak(budget):
    searched = search(problem(budget, derive=derived), PLAIN)
    assert best_of(searched).shape == BEST
    assert off(best_of(searched)) < 1.2 * 2**0.25  # half a rung beside the reference's own
    assert best_of(searched).behind < 0.0 == searched.outcome.reference.behind
    assert off(searched.outcome.reference) < 1.2
    assert best_of(searched).trained or budget < 5


@pytest.mark.parametrize("alpha", [0.1, USUAL_DRIFT, 0.7])
@pytest.mark.parametrize("best_lr", [0.003, 0.1, 2.0])
def test_it_finds_the_peak_wherever_it_lies(best_lr, alpha):
    world = replace(PLAIN, best_lr=best_lr, alpha=alpha)
    searched = search(problem(12.0), world)
    assert best_of(searched).shape == BEST
    assert off(best_of(searched), world) < 1.3 * 2**0.25 * 4 ** abs(alpha - USUAL_DRIFT)


def test_noise_does_not_lead_it_far():
    regrets = []
    for i in range(12):
        world = replace(NOISY, best_lr=0.1 * 1.07**i)
        candidate = best_of(search(everything(16.0), world))
        ask = Ask(candidate.shape, candidate.lr, TOTAL, 0, "final", "bound")
        quiet = replace(world, common=0.0, noise=0.0)
        best = replace(ask, shape=BEST, lr=quiet.best_peak(BEST))
        regrets.append(math.log(quiet.loss(ask) / quiet.loss(best)))
    assert sum(regrets) / len(regrets) < 0.03 < NOISY.noise * 1.5


def test_where_nothing_is_better_the_reference_comes_first():
    world = replace(PLAIN, merit=lambda shape: 0.0 if shape == LINEAR else 0.2)
    for budget in (3.5, 8, 20):
        searched = search(problem(budget, derive=derived), world)
        own = best_of(searched)
        assert own.shape == LINEAR  # at its peak or a shifted one
        assert own.behind <= 0.0


def test_the_losses_of_the_reference_by_its_peak_are_told():
    searched = search(problem(8.0), PLAIN)
    asked = {ask.lr: PLAIN.loss(ask) for ask in searched.of("peak")}
    assert searched.outcome.tried == pytest.approx(asked)
    known = PLAIN.known()
    again = search(problem(8.0), PLAIN, known).outcome.tried
    assert again == pytest.approx({r.ask.lr: r.loss for r in known})


# the peak of the reference -----------------------------------------------------------------------


def test_the_peak_is_bracketed_one_run_at_a_time_over_the_shortest_horizon():
    searched = search(problem(8.0), PLAIN)
    peaks = searched.of("peak")
    assert [ask.lr for ask in peaks] == [0.1, 0.03, 0.3, 1.0][: len(peaks)]
    assert {(ask.shape, ask.steps, ask.seed) for ask in peaks} == {(LINEAR, HORIZONS[0], 0)}
    assert all(len(g) == 1 for g in searched.generations[: len(peaks)])
    losses = sorted((ask.lr, PLAIN.loss(ask)) for ask in peaks)
    lowest = min(range(len(losses)), key=lambda i: losses[i][1])
    assert 0 < lowest < len(losses) - 1


def test_what_is_known_leaves_only_what_is_missing():
    known = PLAIN.known(0.03, 0.1)  # of over 100 updates the best is 0.17: 0.3 lacks
    searched = search(problem(6.0), PLAIN, known)
    assert [ask.lr for ask in searched.of("peak")] == [0.3]


def test_what_is_known_over_a_longer_horizon_is_where_it_goes_on():
    searched = search(problem(6.0), PLAIN, PLAIN.known(0.03, 0.1, steps=200))
    assert [(ask.lr, ask.steps) for ask in searched.of("peak")] == [(0.3, 200)]
    assert {ask.steps for ask in searched.of("screen")} == {200}


@pytest.mark.parametrize("known", [[], PLAIN.known(0.03, 0.1, steps=200)], ids=["new", "known"])
def test_peaks_that_are_out_of_bounds_are_never_tried(known):
    bounds = (0.02, 0.2)
    searched = search(problem(16.0, bounds=bounds, derive=derived), PLAIN, known)
    assert all(bounds[0] <= ask.lr <= bounds[1] for ask in searched.asks)
    assert all(bounds[0] <= c.lr <= bounds[1] for c in searched.outcome.candidates)


@pytest.mark.parametrize(("low", "high"), [(0.15, 0.2), (1e-4, 0.02), (0.16, 9.0), (0.04, 0.05)])
def test_any_range_of_peaks_is_searched(low, high):
    start = min(max(0.1, low), high)
    searched = search(problem(6.0, bounds=(low, high), start_lr=start), PLAIN)
    assert searched.outcome is not None
    assert all(low <= ask.lr <= high for ask in searched.asks)


def test_the_drift_is_measured_where_two_horizons_are_tuned():
    world = replace(PLAIN, alpha=0.1)
    known = world.known(0.03, 0.1, 0.3, steps=200)
    searched = search(problem(16.0), world, known)
    found = searched.outcome.drift
    assert found.measured is not None
    assert found.alpha == pytest.approx(drift({100: 1.0, 200: 2.0**-found.measured}).alpha)
    assert abs(found.measured - 0.1) < 0.5
    assert len({ask.lr for ask in searched.asks if (ask.shape, ask.steps) == (LINEAR, 100)}) >= 3
    assert search(problem(16.0), world).outcome.drift.measured is None


# who takes part ----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [3, 5, 8, 14, 30])
def test_a_baseline_that_is_given_is_run_over_the_whole_horizon_as_it_is(budget):
    searched = search(problem(budget, given=[USER]), PLAIN)
    own = [ask for ask in searched.asks if ask.origin == "user"]
    assert {ask.shape for ask in own} == {USER[0]}
    finals = [ask for ask in own if ask.steps == TOTAL]
    assert bool(finals) == ("final" in searched.purposes)
    [found] = [c for c in searched.outcome.candidates if c.shape == USER[0]]
    assert found.origin == "user"
    assert found.lr == pytest.approx(USER[1])


@pytest.mark.parametrize("lr", [1e-5, 50.0])
def test_the_peak_of_a_given_baseline_is_not_touched(lr):
    searched = search(problem(8.0, given=[(USER[0], lr)]), PLAIN)
    finals = [ask.lr for ask in searched.of("final") if ask.origin == "user"]
    assert set(finals) == {lr}
    assert [c.lr for c in searched.outcome.candidates if c.origin == "user"] == [lr]
    [screened] = [ask.lr for ask in searched.of("screen") if ask.origin == "user"]
    assert screened == pytest.approx(Drift().carried(lr, TOTAL, HORIZONS[0]))


def test_the_usual_rates_are_tried_where_nothing_near_them_was():
    searched = search(problem(8.0, usual_lrs=(0.17, 0.09)), PLAIN)
    tried = [ask.lr for ask in searched.of("peak")]
    assert any(max(lr / 0.09, 0.09 / lr) < USUAL_APART for lr in tried)
    usual = [ask for ask in searched.of("screen") if ask.origin == "usual"]
    assert [(ask.shape, ask.lr) for ask in usual] == [(LINEAR, 0.17)]


def test_usual_rates_beyond_a_peak_that_was_worse_come_last_unless_there_is_room():
    rates = (1e-5, 5.0)  # 0.03 and 1 are worse than what lies between

    def screened(budget):
        shapes = [BEST, Toy(0.2), Toy(0.4)]
        searched = search(problem(budget, usual_lrs=rates, shapes=shapes), PLAIN)
        return [ask.origin for ask in searched.of("screen") if ask.origin != "reference"]

    assert screened(6.0) == ["bound", "bound", "bound", "usual", "usual"]
    assert screened(14.0)[:3] == ["usual", "usual", "bound"]


def test_what_is_given_comes_first_in_the_screen():
    searched = search(everything(6.0, usual_lrs=(0.17,)), PLAIN)
    screened = [g for g in searched.generations if g[0].purpose == "screen"]
    origins = [ask.origin for ask in screened[0] if ask.origin != "reference"]
    assert origins[:2] == ["user", "usual"]
    assert set(origins[2:]) == {"bound"}


def test_every_second_shape_is_screened_at_a_higher_peak():
    screened = search(problem(12.0), PLAIN).of("screen")
    bounded = [ask for ask in screened if ask.origin == "bound"]
    # over the best peak of its shape, by the world: the same for all but the raised ones
    off = [math.log(ask.lr / PLAIN.best_peak(ask.shape, ask.steps)) for ask in bounded]
    assert len(off) >= 4
    for number, one in enumerate(off):
        higher = math.log(NEIGHBOUR) if number % 2 else 0.0
        assert one == pytest.approx(off[0] + higher, abs=math.log(2) / 2)  # half a rung each


def test_the_best_takes_part_in_the_finals_with_a_higher_peak_too():
    searched = search(problem(8.0), PLAIN)
    [generation] = [g for g in searched.generations if g[0].purpose == "final"]
    reference, best, raised, *_ = generation
    assert [ask.origin for ask in (reference, best, raised)] == ["reference", "bound", "neighbour"]
    assert raised.shape == best.shape == BEST
    assert raised.lr == pytest.approx(best.lr * NEIGHBOUR)


def test_after_the_finals_come_refined_and_shifted_ones_of_the_best():
    searched = search(problem(30.0, derive=derived), PLAIN)
    finals = [g for g in searched.generations if g[0].purpose == "final" and g[0].seed == 0]
    first, follow_up, *_ = finals
    best = min(first, key=PLAIN.loss)
    refined = [ask for ask in follow_up if ask.origin == "refined"]
    assert [ask.shape for ask in refined] == [Toy(best.shape.cooldown, 1.5)]
    assert "refined" not in {ask.origin for ask in first}
    peaks = {ask.lr for ask in (*first, *follow_up) if ask.shape == best.shape}
    for beside in (best.lr * NEIGHBOUR, best.lr / NEIGHBOUR):
        assert any(peak == pytest.approx(beside) for peak in peaks)
    assert {ask.origin for ask in follow_up} == {"refined", "neighbour"}


def test_what_is_derived_is_told_the_norms_of_the_best_whole_run():
    told = []

    def derive(result):
        told.append(result)
        return []

    searched = search(problem(30.0, derive=derive), PLAIN)
    [result] = told
    assert result.norms == PLAIN.norms
    assert (result.ask.steps, result.ask.seed) == (TOTAL, 0)
    assert result.ask in searched.of("final")


def test_nothing_is_derived_without_room_for_repeating_it():
    searched = search(problem(4.5, derive=derived), PLAIN)
    assert {ask.origin for ask in searched.of("final")} <= {"reference", "bound"}


# repeats -----------------------------------------------------------------------------------------


def repeats(searched):
    """The asks of each further seed."""
    return [g for g in searched.generations if g[0].seed > 0]


def test_repeats_are_paired_with_the_reference_and_few():
    searched = search(everything(40.0), NOISY)
    assert len(repeats(searched)) == MAX_SEEDS - 1
    for number, generation in enumerate(repeats(searched), start=1):
        assert generation[0].shape == LINEAR
        assert 2 <= len(generation) <= 1 + MAX_RACE
        assert {(ask.steps, ask.seed) for ask in generation} == {(TOTAL, number)}
    first = {(ask.shape.key, ask.lr) for ask in searched.of("final") if ask.seed == 0}
    assert all((ask.shape.key, ask.lr) in first for g in repeats(searched) for ask in g)


def test_who_is_clearly_behind_is_not_run_again():
    worse = {key.key: 0.02 * i for i, key in enumerate(SHAPES)}
    world = World(noise=1e-4, merit=lambda shape: worse.get(shape.key, 1.0))
    searched = search(problem(40.0), world)
    shapes = [{ask.shape.key for ask in g} - {LINEAR.key} for g in repeats(searched)]
    assert len(shapes[0]) == MAX_RACE  # one seed says nothing of the noise yet
    assert all(len(one) == 1 for one in shapes[1:])
    assert CLEARLY_BEHIND * world.noise < 0.02


def test_who_is_close_is_run_again():
    world = World(noise=0.05, merit=lambda shape: 0.0 if shape == LINEAR else -0.3)
    searched = search(problem(40.0), world)
    assert all(len(g) > 2 for g in repeats(searched))


def test_the_final_order_is_by_the_pairs_of_all_seeds():
    # the one that was lucky on the first seed alone is behind in the end
    lucky, better = Toy(0.4), Toy(0.8)

    class Lucky(World):
        def loss(self, ask):
            luck = {lucky: -0.3 if ask.seed == 0 else 0.3, better: -0.1}.get(ask.shape, 0.0)
            return math.exp(luck) * super().loss(ask)

    searched = search(problem(20.0, shapes=[lucky, better]), Lucky(merit=lambda _shape: 0.0))
    assert len(repeats(searched)) >= 2
    first = [ask.shape for ask in searched.of("final") if ask.origin in ("bound", "reference")]
    assert first[:3] == [LINEAR, lucky, better]
    assert best_of(searched).shape == better


# what goes wrong ---------------------------------------------------------------------------------


def test_where_everything_diverges_there_is_no_outcome():
    searched = search(everything(12.0), World(cliff=1e-12))
    assert searched.outcome is None
    assert searched.purposes == ["peak"]
    peaks = [ask.lr for ask in searched.asks]
    assert peaks == sorted(peaks, reverse=True)
    assert len(peaks) <= 8


def test_a_budget_that_lets_nothing_run_has_no_outcome():
    searched = search(problem(0.1), PLAIN)
    assert (searched.outcome, searched.generations) == (None, [])


class Cliffs(World):
    """Most shapes diverge at any peak."""

    def loss(self, ask):
        if ask.shape not in (LINEAR, Toy(0.8)):
            return math.inf
        return super().loss(ask)


@pytest.mark.parametrize("budget", [6, 12, 30])
def test_what_diverged_never_comes_back(budget):
    searched = search(everything(budget), Cliffs())
    lost = [a for a in searched.asks if a.shape not in (LINEAR, Toy(0.8)) and a.origin != "user"]
    screened = {ask.shape.key for ask in lost if ask.purpose == "screen"}
    assert not [a for a in lost if a.purpose in ("rung", "final") and a.shape.key in screened]
    assert len({(ask.shape.key, ask.origin) for ask in lost}) == len(lost)
    assert best_of(searched).shape in (LINEAR, Toy(0.8))


@pytest.mark.parametrize("budget", [10, 14])
def test_what_diverges_over_the_whole_horizon_is_not_repeated(budget):
    class Late(World):
        def loss(self, ask):
            sound = ask.shape in (LINEAR, Toy(0.8)) or ask.steps < TOTAL
            return super().loss(ask) if sound else math.inf

    shapes = [shape for shape in SHAPES if shape.power == 1.0]
    searched = search(problem(budget, shapes=shapes), Late())
    assert repeats(searched)
    assert {ask.shape.key for g in repeats(searched) for ask in g} <= {LINEAR.key, "0.8^1"}


def test_what_diverged_is_never_the_best():
    for budget in (4, 8, 20):
        searched = search(problem(budget), Cliffs())
        assert best_of(searched).shape in (LINEAR, Toy(0.8))
        gone = [c for c in searched.outcome.candidates if c.shape not in (LINEAR, Toy(0.8))]
        assert all(candidate.behind == math.inf for candidate in gone)


def test_one_that_diverges_on_a_further_seed_is_out():
    class Fragile(World):
        def loss(self, ask):
            return math.inf if ask.shape == BEST and ask.seed >= 2 else super().loss(ask)

    fragile = Fragile(noise=0.02, merit=lambda shape: -0.3 if shape == BEST else 0.0)
    searched = search(problem(40.0), fragile)
    own = [ask for ask in searched.of("final") if ask.shape == BEST]
    lost = {ask.lr for ask in own if ask.seed == 2}
    assert lost
    assert not lost & {ask.lr for ask in own if ask.seed > 2}
    gone = [c.behind for c in searched.outcome.candidates if c.shape == BEST and c.lr in lost]
    assert set(gone) <= {math.inf}
    assert best_of(searched).behind < math.inf


@pytest.mark.parametrize("budget", [5, 14])
def test_when_nothing_further_can_be_run_it_ends_and_nothing_is_lost(budget):
    whole = search(everything(budget), NOISY)
    for stop in range(len(whole.generations)):
        for count in {0, 1, len(whole.generations[stop]) - 1} - {len(whole.generations[stop])}:
            answered = []

            def answer(asks, stop=stop, count=count, answered=answered):
                answered.append(asks)
                results = NOISY.results(asks)
                return results[:count] if len(answered) == stop + 1 else results

            short = search(everything(budget), NOISY, answer=answer)
            assert short.generations == whole.generations[: stop + 1]
            known = [ask for g in short.generations[:-1] for ask in g]
            known += short.generations[-1][:count]
            if not known:
                assert short.outcome is None
                continue
            if short.outcome is None:
                assert {ask.purpose for ask in known} == {"peak"}
                continue
            run = {(ask.shape.key, ask.origin) for ask in known}
            for candidate in short.outcome.candidates:
                key = (candidate.shape.key, candidate.origin)
                assert key in run or candidate.origin == "user"
                assert candidate.trained == any(
                    (ask.shape.key, ask.lr, ask.steps) == (candidate.shape.key, candidate.lr, TOTAL)
                    for ask in known
                )


def test_a_search_that_ends_among_the_finals_ranks_those_that_were_run():
    def answer(asks):
        results = PLAIN.results(asks)
        return results[:2] if asks[0].purpose == "final" else results

    searched = search(problem(9.0), PLAIN, answer=answer)
    assert [c.trained for c in searched.outcome.candidates] == [True, True]


def test_a_search_that_ends_before_the_finals_ranks_what_was_screened():
    def answer(asks):
        results = PLAIN.results(asks)
        return results[:1] if asks[0].purpose == "final" else results

    searched = search(problem(9.0), PLAIN, answer=answer)  # the reference alone was run
    assert best_of(searched).shape == BEST


def test_a_reference_that_diverges_later_leaves_the_others_comparable():
    class Late(World):
        def loss(self, ask):
            diverged = ask.shape == LINEAR and ask.steps == TOTAL
            return math.inf if diverged else super().loss(ask)

    searched = search(problem(9.0), Late())
    assert best_of(searched).shape == BEST


def test_a_reference_that_diverges_over_the_whole_horizon_is_told_to():
    class Late(World):
        def loss(self, ask):
            diverged = ask.shape == LINEAR and ask.steps == TOTAL
            return math.inf if diverged else super().loss(ask)

    searched = search(problem(9.0), Late())
    assert searched.outcome.reference.behind == math.inf


class Steep(World):
    """Over the whole horizon everything diverges well below what is best over shorter ones."""

    def loss(self, ask):
        diverged = ask.steps == TOTAL and ask.lr > 0.45 * self.best_peak(ask.shape, HORIZONS[0])
        return math.inf if diverged else super().loss(ask)


@pytest.mark.parametrize("budget", [6, 12, 30])
def test_what_diverged_over_the_whole_horizon_is_not_recommended(budget):
    searched = search(problem(budget), Steep())
    best = best_of(searched)
    lost = {(a.shape.key, a.lr) for a in searched.asks if Steep().loss(a) == math.inf}
    assert (best.shape.key, best.lr) not in lost


# resuming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [3, 7, 15, 30])
def test_the_same_answers_lead_to_the_same_questions(budget):
    whole = search(everything(budget), NOISY)
    record = {}

    def write(asks):
        results = NOISY.results(asks)
        record.update(zip(asks, results, strict=True))
        return results

    def read(asks):
        return [record[ask] for ask in asks]  # nothing is asked that was not

    assert search(everything(budget), NOISY, answer=write).generations == whole.generations
    again = search(everything(budget), NOISY, answer=read)
    assert again.generations == whole.generations
    assert again.outcome == whole.outcome


# a record of runs ---------------------------------------------------------------------------------


RECORDED = (0.02, 0.05, 0.1, 0.2, 0.4)


def recorded(budget, **changes):
    """A problem of which only some peaks can be answered."""
    parts = {
        "reference": replace(LINEAR, tried=RECORDED),
        "shapes": [replace(shape, tried=RECORDED) for shape in SHAPES],
        "derive": None,
        "sampler": None,
        "given": [],
        "usual_lrs": (),
        "shares_trunks": False,
    }
    return everything(budget, **(parts | changes))


@pytest.mark.parametrize("budget", [2.5, 5, 8, 16, 40])
def test_only_what_was_recorded_is_asked_for(budget):
    searched = search(
        recorded(budget), PLAIN, answer=lambda asks: [PLAIN.result(ask) for ask in asks]
    )
    assert {ask.lr for ask in searched.asks} <= set(RECORDED)
    assert math.fsum(cost(ask.steps) for ask in searched.asks) <= budget + 1e-9
    arms = [Ask(shape, lr, TOTAL, 0, "final", "bound") for shape in SHAPES for lr in RECORDED]
    best = min(map(PLAIN.loss, arms))
    own = Ask(best_of(searched).shape, best_of(searched).lr, TOTAL, 0, "final", "bound")
    assert PLAIN.loss(own) < 1.02 * best
    counts = Counter((ask.shape.key, ask.lr, ask.steps, ask.seed) for ask in searched.asks)
    assert max(counts.values()) == 1


@dataclass(frozen=True)
class Sparse(Toy):
    """A shape that was not recorded over every horizon."""

    over: tuple[int, ...] = HORIZONS

    def peaks(self, steps):
        return RECORDED if steps in self.over else ()


def sparse(over):
    return [Sparse(shape.cooldown, shape.power, over=over) for shape in SHAPES]


def test_the_peak_is_looked_for_over_the_first_horizon_at_which_the_reference_was_recorded():
    reference = Sparse(1.0, over=HORIZONS[1:])
    searched = search(recorded(6.0, reference=reference), PLAIN)
    assert {ask.steps for ask in searched.of("peak", "screen")} == {HORIZONS[1]}


def test_a_shape_that_was_not_recorded_over_the_first_horizon_is_left_out():
    searched = search(recorded(12.0, shapes=sparse(HORIZONS[1:])), PLAIN)
    assert {ask.shape.key for ask in searched.asks} == {LINEAR.key}


@pytest.mark.parametrize(
    ("budget", "over"), [(6, (100,)), (14, (100, 400)), (14, (100, 200)), (14, (100,))]
)
def test_nothing_is_asked_over_a_horizon_at_which_it_was_not_recorded(budget, over):
    searched = search(recorded(budget, shapes=sparse(over)), PLAIN)
    own = [ask for ask in searched.asks if ask.shape.key != LINEAR.key]
    assert {ask.steps for ask in own} <= set(over)
    assert own


def test_a_reference_that_was_not_recorded_over_the_first_horizon_is_not_asked_there():
    reference = Sparse(1.0, over=HORIZONS[1:])
    searched = search(recorded(14.0, reference=reference), PLAIN)
    own = [ask for ask in searched.asks if ask.shape.key == LINEAR.key]
    assert {ask.steps for ask in own} <= set(HORIZONS[1:])


def test_a_baseline_that_is_one_of_the_shapes_is_not_run_twice():
    shapes = [replace(shape, tried=(0.1,)) for shape in SHAPES]
    given = [(shapes[SHAPES.index(BEST)], 0.1)]
    searched = search(recorded(12.0, given=given, shapes=shapes), PLAIN)
    counts = Counter((ask.shape.key, ask.lr, ask.steps, ask.seed) for ask in searched.asks)
    assert max(counts.values()) == 1


def test_a_baseline_is_asked_only_at_peaks_that_were_recorded():
    given = [(replace(Toy(0.6), tried=RECORDED), 0.05)]
    searched = search(recorded(12.0, given=given), PLAIN)
    assert {ask.lr for ask in searched.asks} <= set(RECORDED)


def test_the_same_seed_and_steps_are_the_same_run_for_the_world():
    ask = Ask(LINEAR, 0.1, 100, 0, "peak", "reference")
    assert NOISY.loss(ask) == NOISY.loss(replace(ask, purpose="final", origin="bound"))
    assert isinstance(NOISY.result(ask), Result)
    assert _normal(1) != _normal(2)
    assert sampled([], 100, 3) == sampled([], 100, 3)
