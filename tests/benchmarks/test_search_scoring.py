import math

import pytest

from benchmarks.search import oracle
from benchmarks.search.oracle import Oracle, Training
from benchmarks.search.report import Judged, against, ratio, tables
from benchmarks.search.scoring import (
    OURS,
    SMALLEST_LOSS,
    Fresh,
    Picked,
    best_peer,
    bounded,
    difference,
    over_tasks,
    ranks,
    regret,
    regrets,
    rows,
)
from lrtuner.schedules import SEARCHED

BEST = Fresh([0.1, 0.4], [0.2, 0.2])


def picked(strategy, repetition, factor, task="a", spent=10.0):
    losses = [factor * loss for loss in BEST.val_losses]
    return Picked(task, strategy, repetition, spent, Fresh(losses, [0.3, 0.5]))


# scoring ------------------------------------------------------------------------------------------


def test_regret_is_the_mean_log_ratio_seed_by_seed():
    assert regret(BEST, BEST) == 0.0
    fresh = Fresh([0.2, 0.2], [0.0, 0.0])  # twice and half the oracle's loss
    assert regret(fresh, BEST) == pytest.approx(0.0)
    assert regret(Fresh([0.2, 0.4], []), BEST) == pytest.approx(math.log(2) / 2)


@pytest.mark.parametrize("loss", [None, math.nan, math.inf, 3.0])
def test_a_run_that_diverged_or_ended_worse_than_chance_counts_as_chance(loss):
    assert bounded(loss, chance=2.0) == 2.0


def test_a_loss_of_zero_has_a_logarithm():
    assert bounded(0.0, chance=2.0) == SMALLEST_LOSS
    assert bounded(0.5, chance=2.0) == 0.5


def test_ranks_are_means_over_repetitions_and_equals_share_them():
    found = {
        "first": {0: 0.1, 1: 0.3},
        "second": {0: 0.2, 1: 0.3},
        "third": {0: 0.2, 1: 0.0},
    }
    assert ranks(found) == {"first": 1.75, "second": 2.5, "third": 1.75}


def test_a_row_has_means_and_the_error_of_the_regret():
    table = rows([picked("tpe", 0, 1.0), picked("tpe", 1, math.e, spent=9.0)], BEST)
    row = table["tpe"]
    assert row.regret == pytest.approx(0.5)
    assert row.error == pytest.approx(0.5)  # standard deviation 1/sqrt(2), over sqrt(2)
    assert row.spent == 9.5
    assert row.val_loss == pytest.approx(0.25 * (1 + math.e) / 2)
    assert row.test_loss == pytest.approx(0.4)
    assert row.rank == 1.0


def test_a_single_repetition_has_no_error():
    assert math.isnan(rows([picked("tpe", 0, 1.0)], BEST)["tpe"].error)


def test_tasks_weigh_the_same():
    one = rows([picked("tpe", r, math.e) for r in range(8)], BEST)
    other = rows([picked("tpe", 0, 1.0), picked("tpe", 1, math.e**2)], BEST)
    together = over_tasks([one, other])["tpe"]
    assert together.regret == pytest.approx(1.0)
    assert together.error == pytest.approx(0.5)  # sqrt(0 + 1) / 2


def test_the_best_peer_is_never_ours():
    table = rows([picked(OURS, 0, 1.0), picked("tpe", 0, 3.0), picked("random", 0, 2.0)], BEST)
    assert best_peer(table) == "random"


def test_differences_are_ours_minus_theirs_paired_by_repetition():
    ours = [picked(OURS, r, math.exp(x)) for r, x in enumerate([0.1, 0.5, 0.9])]
    theirs = [picked("tpe", r, math.exp(x + 0.2)) for r, x in enumerate([0.1, 0.5, 0.9])]
    stats = difference(regrets([*theirs, *ours], BEST), "tpe")
    assert stats.mean == pytest.approx(-0.2)
    assert stats.ci95 == pytest.approx((-0.2, -0.2))


# the oracle ---------------------------------------------------------------------------------------


class Bowl:
    """Losses with their lowest at one peak of one shape, and what was asked for."""

    def __init__(self, shape, peak, luck=None):
        self.shape, self.peak, self.luck = shape, peak, luck or {}
        self.asked = []

    def __call__(self, trainings):
        self.asked += trainings
        return [self._loss(training) for training in trainings]

    def _loss(self, training):
        far = abs(math.log10(training.peak / self.peak)) + (training.shape != self.shape)
        return 1.0 + far + self.luck.get((training.shape, training.seed), 0.0)


def test_the_grid_has_four_peaks_a_decade():
    assert oracle.grid(1e-3, 1e-1) == pytest.approx([10 ** (-3 + i / 4) for i in range(9)])
    assert oracle.grid(1e-3, 0.03)[-1] == pytest.approx(10**-1.75)


def test_the_oracle_finds_the_best_of_all_shapes_and_peaks():
    losses = Bowl("cosine", 0.01)
    best = oracle.search(losses, 100, (1e-4, 1.0))
    assert (best.shape, best.peak) == ("cosine", pytest.approx(0.01))
    assert best.selected_at == pytest.approx(1.0)
    assert best.schedule.body.family == "cosine"
    assert best.schedule.total_steps == 100
    assert best.num_trainings == len(losses.asked) == len(set(losses.asked))
    assert best.num_trainings == 17 * len(oracle.SHAPES) + 12 * 4


def test_the_grid_grows_upwards_until_its_best_is_inside():
    losses = Bowl("linear", 3.0)
    best = oracle.search(losses, 100, (1e-2, 1.0), shapes=["linear", "cosine"])
    assert best.peak == pytest.approx(10**0.5)
    assert max(training.peak for training in losses.asked) == pytest.approx(10.0)


def test_a_grid_that_diverges_everywhere_ends():
    best = oracle.search(lambda t: [math.inf] * len(t), 100, (0.1, 1.0), shapes=["linear"])
    assert math.isinf(best.selected_at)


def test_the_best_over_seeds_is_chosen_not_the_luckiest():
    first, others = oracle.seed_of(0), [oracle.seed_of(i) for i in range(1, oracle.SEEDS)]
    luck = {("linear", first): -1.5, **{("linear", seed): 0.5 for seed in others}}
    best = oracle.search(Bowl("cosine", 0.1, luck), 100, (0.1, 0.2), ["linear", "cosine"])
    assert best.shape == "cosine"


def test_the_oracle_tries_every_family_that_can_be_searched():
    schedules = [Training(name, 0.5, 0).schedule(100) for name in oracle.SHAPES]
    assert {schedule.body.family for schedule in schedules} == set(SEARCHED)
    assert all(max(schedule.values()) == pytest.approx(0.5, rel=0.05) for schedule in schedules)


# the tables ---------------------------------------------------------------------------------------


@pytest.fixture
def judged():
    schedule = Training("linear", 0.1, 0).schedule(100)
    best = Oracle("linear", 0.1, 0.25, 337, schedule)
    factors = {
        "random": [1.30, 1.42, 1.38],
        "tpe": [1.20, 1.22, 1.18],
        OURS: [1.02, 1.01, 1.03],
    }
    return [
        Judged(
            task,
            best,
            oracle_cost=350.0,
            fresh=BEST,
            picked=[
                picked(strategy, repetition, factor, task)
                for strategy, of in factors.items()
                for repetition, factor in enumerate(of)
            ],
        )
        for task in ("mlp-sgd", "jobs/mine.json")
    ]


def test_the_tables_say_who_is_how_far_from_the_oracle(judged):
    shown = tables(judged, 10.0)
    assert "## mine.json, budget 10" in shown
    assert "| mlp-sgd   | linear | 0.1  | 0.25" in shown
    row = next(line for line in shown.splitlines() if line.startswith("| tpe "))
    assert row.split("|")[2:5] == [" 0.1822 ± 0.0096 ", " 2.00 ", " 10.00     "]
    assert "ours / of tpe, the best of the peers: 0.11. Ours cost at most 2.9% of" in shown
    assert "better" in shown
    assert "worse" not in shown


def test_the_tables_say_where_ours_is_worse_beyond_noise(judged):
    swap = {"tpe": OURS, OURS: "tpe"}
    for one in judged:
        one.picked[:] = [
            picked(swap.get(p.strategy, p.strategy), p.repetition, 1.0, one.task)
            if p.strategy == "random"
            else Picked(one.task, swap[p.strategy], p.repetition, p.spent, p.fresh)
            for p in one.picked
        ]
    assert "worse" in tables(judged, 10.0)


def test_a_difference_within_noise_is_none():
    ours = [picked(OURS, r, math.exp(x)) for r, x in enumerate([0.1, 0.5, 0.3])]
    theirs = [picked("tpe", r, math.exp(x)) for r, x in enumerate([0.3, 0.1, 0.4])]
    told = against(regrets([*theirs, *ours], BEST), "tpe")
    assert told.startswith("+0.033 [-0.")
    assert told.endswith("] no difference")


def test_an_oracle_alone_has_a_table_too(judged):
    alone = [Judged(one.task, one.oracle, one.oracle_cost, one.fresh, []) for one in judged]
    assert "350" in tables(alone, 10.0)


def test_there_is_no_ratio_to_a_peer_without_regret():
    assert ratio(0.1, 0.2) == "0.50"
    assert ratio(0.1, -0.2).startswith("-")
