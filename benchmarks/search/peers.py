"""Optuna's searches over the space of our own: full-length runs, the best finished trial is taken.

All variants of one repetition train on the same seed, and TPE's with the same sampler seed, so that
they begin with the same random trials. A run is begun as long as the updates of a whole one are
left of the budget; evaluations are charged beside, so a peer may spend a little more than it has.
Pruners are told the validation loss after each eighth of a run, and a pruned run is charged up to
there; what they are told beyond what a job of ours evaluates is not charged. A run that diverges
counts as infinitely bad and is charged up to where it was stopped.

random: `RandomSampler`.
tpe: `TPESampler` with its defaults but `multivariate` and `group`, which a conditional space needs.
    Its first 10 trials are random.
tpe, 4 random: only the first 4 are.
tpe + median: with `MedianPruner`, its defaults.
tpe + halving: with `SuccessiveHalvingPruner`, its defaults (a quarter goes on from each rung).
tpe + hyperband: with `HyperbandPruner` from 1 to 8 reports, otherwise its defaults.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from benchmarks.search.scoring import Pick
from benchmarks.search.trainings import REPORTS, Trained, Trainings
from lrtuner.candidates import SearchSpace, search_space, to_schedule
from lrtuner.job import derived_seed
from lrtuner.range_test.suggestion import FALLBACK_DECADES
from lrtuner.schedules import SEARCHED
from lrtuner.space import Choice, IntUniform, LogUniform, Range
from worker.task import Task

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Peer:
    """A sampler, made from a seed, and a pruner."""

    sampler: Callable[[int], BaseSampler]
    pruner: Callable[[], BasePruner] = NopPruner


def _tpe(seed: int, num_random: int = 10) -> TPESampler:
    return TPESampler(multivariate=True, group=True, n_startup_trials=num_random, seed=seed)


PEERS: Mapping[str, Peer] = {
    "random": Peer(lambda seed: RandomSampler(derived_seed(seed, "random"))),
    "tpe": Peer(_tpe),
    "tpe, 4 random": Peer(lambda seed: _tpe(seed, num_random=4)),
    "tpe + median": Peer(_tpe, MedianPruner),
    "tpe + halving": Peer(_tpe, SuccessiveHalvingPruner),
    "tpe + hyperband": Peer(_tpe, lambda: HyperbandPruner(max_resource=REPORTS)),
}


def lr_range(task: Task) -> tuple[float, float]:
    """Where ours looks too when it knows nothing: around the usual rates of the optimizer."""
    lrs, (below, above) = task.spec.optimizer.default_lrs, FALLBACK_DECADES
    return min(lrs) * 10**-below, max(lrs) * 10**above


def peer(name: str, trainings: Trainings, budget: float, repetition: int) -> Pick:
    """Let one of `PEERS` spend the budget, in full-training equivalents."""
    task = trainings.task
    space = search_space(SEARCHED, lr_range(task))
    study = _study(PEERS[name], name, repetition)
    seed = derived_seed(repetition, "peers")
    best, chosen = math.inf, None
    updates, spent = 0, 0.0
    while updates + task.total_steps <= budget * task.total_steps:
        trial = study.ask()
        schedule = to_schedule(suggested(trial, space), task.total_steps)
        run = trainings.along(schedule.values().tolist(), seed)
        stopped = told(study, trial, run)
        updates += stopped
        spent += trainings.cost(stopped)
        if stopped == run.updates and run.loss < best:
            best, chosen = run.loss, schedule
    return Pick(chosen, spent)


def told(study: optuna.Study, trial: optuna.Trial, run: Trained) -> int:
    """Report the run to its trial until it is pruned or over; the number of its updates by then."""
    reports = list(zip(run.steps, run.losses, strict=True))
    on_the_way = reports[:-1] if run.completed else reports
    for number, (step, loss) in enumerate(on_the_way, start=1):
        trial.report(loss, number)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step
    study.tell(trial, run.loss)
    return run.updates


def suggested(trial: optuna.Trial, space: SearchSpace) -> dict[str, Any]:
    """A point of the space, with the parameters of its family only."""
    family = trial.suggest_categorical("family", space.families)
    own = {name: _value(trial, name, span) for name, span in space.names(family).items()}
    return {"family": family, **own}


def _value(trial: optuna.Trial, name: str, span: Range) -> float:
    if isinstance(span, Choice):
        return float(trial.suggest_categorical(name, span.values))
    if isinstance(span, IntUniform):
        return trial.suggest_int(name, span.low, span.high)
    return trial.suggest_float(name, span.low, span.high, log=isinstance(span, LogUniform))


def _study(made_of: Peer, name: str, repetition: int) -> optuna.Study:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `group` and Hyperband are
        return optuna.create_study(
            study_name=f"{name} {repetition}",  # Hyperband's brackets depend on it
            sampler=made_of.sampler(derived_seed(repetition, "sampler")),
            pruner=made_of.pruner(),
        )
