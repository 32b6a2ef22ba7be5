"""How others would choose: each within the budget, over what was recorded at the target horizon.

A whole run costs 1 FTE, and one that is stopped what it took until then. A run is begun only where
a whole one still fits: one that cannot end cannot be chosen. The best that ended is chosen.

random: whole runs of arms in random order.
random, halving: successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) on the recorded
    curves. As many random arms as fit the budget are begun; the better half goes on after a quarter
    and again after a half; the rest ends.
tpe: Optuna's `TPESampler`, `multivariate`, `constant_liar` off, otherwise its defaults: the first
    10 trials are random. The shape is categorical, the peak an index of the recorded peaks, whose
    steps are those of the grid; where a shape lacks that peak, its nearest one is meant.
tpe, 2 random: only the first 2 trials are.
... + median, + halving, + hyperband: with `MedianPruner`, `SuccessiveHalvingPruner`, both with
    their defaults, and `HyperbandPruner` from 1 to 4 reports, reduction factor 2. They are told the
    logged loss after a quarter, a half and three quarters of the run.

An arm that was tried already, ended or pruned, costs nothing and is not tried again: TPE is asked
up to 20 times for a new one, and given a random one after that.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from benchmarks.replay.table import Arm, Choice, Table
from lrtuner.job import derived_seed
from lrtuner.strategy.peaks import nearest

optuna.logging.set_verbosity(optuna.logging.WARNING)

QUARTERS = (0.25, 0.5, 0.75)
"""After what part of a run it is reported."""

ASKED_AGAIN = 20


Strategy = Callable[[Table, float, int], Choice]
"""Given a table, a budget in FTE of 1 or more, and a seed."""


@dataclass
class _Spending:
    """What was tried and what it cost; the losses of the runs that ended."""

    table: Table
    budget: float
    spent: float = 0.0
    tried: set[Arm] = field(default_factory=set)
    ended: dict[Arm, float] = field(default_factory=dict)

    @property
    def goes_on(self) -> bool:
        """Whether a whole run fits, and there is one that was not tried."""
        return self.spent + 1.0 <= self.budget + 1e-9 and len(self.tried) < len(self.table.arms)

    def end(self, arm: Arm, cost: float = 1.0) -> float:
        """Let the run come to its end; its loss."""
        self.tried.add(arm)
        self.spent += cost
        self.ended[arm] = self.table.run(arm).loss
        return self.ended[arm]

    def stop(self, arm: Arm, share: float) -> None:
        """Stop the run after that share of it."""
        self.tried.add(arm)
        self.spent += share

    def choice(self) -> Choice:
        """The best of those that ended."""
        return Choice(min(self.ended, key=self.ended.__getitem__), self.spent)


def random_search(table: Table, budget: float, seed: int) -> Choice:
    """Whole runs in random order."""
    spending = _Spending(table, budget)
    order = _shuffled(table, seed)
    while spending.goes_on:
        spending.end(next(order))
    return spending.choice()


def random_halving(table: Table, budget: float, seed: int) -> Choice:
    """The better half of random arms goes on after a quarter and after a half."""
    most = max(n for n in range(1, len(table.arms) + 1) if n == 1 or _halving_cost(n) <= budget)
    spending = _Spending(table, budget)
    order = _shuffled(table, seed)
    going = [next(order) for _ in range(most)]
    for share in (0.25, 0.5):
        going.sort(key=lambda arm: table.run(arm).loss_after(share * table.target))
        kept = _half(len(going))
        for arm in going[kept:]:
            spending.stop(arm, share)
        going = going[:kept]
    for arm in going:
        spending.end(arm)
    return spending.choice()


def _halving_cost(count: int) -> float:
    after_quarter = _half(count)
    return 0.25 * count + 0.25 * after_quarter + 0.5 * _half(after_quarter)


def _half(count: int) -> int:
    return max(1, count // 2)


def optuna_search(
    table: Table,
    budget: float,
    seed: int,
    *,
    num_random: int,
    pruner: Callable[[], BasePruner] = NopPruner,
) -> Choice:
    """TPE, with or without a pruner."""
    study = _study(seed, num_random, pruner)
    spending = _Spending(table, budget)
    order = _shuffled(table, seed)
    while spending.goes_on:
        trial, arm = _new(study, spending, order)
        pruned = _pruned_after(trial, table, arm)
        if pruned is None:
            study.tell(trial, spending.end(arm))
        else:
            spending.stop(arm, pruned)
            study.tell(trial, state=TrialState.PRUNED)
    return spending.choice()


def _pruned_after(trial: optuna.Trial, table: Table, arm: Arm) -> float | None:
    """Report the run until it is pruned: after which share of it; None if it is not."""
    for number, share in enumerate(QUARTERS, start=1):
        loss = table.run(arm).loss_after(share * table.target)
        if math.isfinite(loss):
            trial.report(loss, number)
            if trial.should_prune():
                return share
    return None


def _new(
    study: optuna.Study, spending: _Spending, order: Iterator[Arm]
) -> tuple[optuna.Trial, Arm]:
    """A trial of an arm that was not tried."""
    for _ in range(ASKED_AGAIN):
        trial = study.ask()
        arm = _suggested(trial, spending.table)
        if arm not in spending.tried:
            return trial, arm
        study.tell(trial, state=TrialState.FAIL)  # says nothing new: the sampler leaves it out
    arm = next(arm for arm in order if arm not in spending.tried)
    at = spending.table.peaks.index(arm.lr)
    study.enqueue_trial({"shape": arm.shape.key, "peak": at})
    trial = study.ask()
    return trial, _suggested(trial, spending.table)


def _suggested(trial: optuna.Trial, table: Table) -> Arm:
    shapes = {arm.shape.key: arm.shape for arm in table.arms}
    shape = shapes[trial.suggest_categorical("shape", list(shapes))]
    lr = table.peaks[trial.suggest_int("peak", 0, len(table.peaks) - 1)]
    available = nearest(lr, shape.peaks(table.target))
    assert available is not None
    return Arm(shape, available)


def _study(seed: int, num_random: int, pruner: Callable[[], BasePruner]) -> optuna.Study:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `multivariate` and Hyperband are
        sampler = TPESampler(
            n_startup_trials=num_random,
            multivariate=True,
            constant_liar=False,
            seed=derived_seed("replay", seed),
        )
        # the name says which bracket of Hyperband a trial is in
        return optuna.create_study(study_name=f"replay {seed}", sampler=sampler, pruner=pruner())


def _shuffled(table: Table, seed: int) -> Iterator[Arm]:
    order = np.random.default_rng([seed]).permutation(len(table.arms))
    return (table.arms[i] for i in order)


_PRUNERS: Mapping[str, Callable[[], BasePruner]] = {
    "": NopPruner,
    " + median": MedianPruner,
    " + halving": SuccessiveHalvingPruner,
    " + hyperband": partial(HyperbandPruner, max_resource=len(QUARTERS) + 1, reduction_factor=2),
}

_SAMPLERS = {"tpe": 10, "tpe, 2 random": 2}

PEERS: dict[str, Strategy] = {
    "random": random_search,
    "random, halving": random_halving,
    **{
        f"{sampler}{told}": partial(optuna_search, num_random=num_random, pruner=pruner)
        for sampler, num_random in _SAMPLERS.items()
        for told, pruner in _PRUNERS.items()
    },
}
