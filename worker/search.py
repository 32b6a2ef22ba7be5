"""The sampler: Optuna, in memory, by ask and tell. The only file that knows it.

The study is rebuilt from the finished trials before every ask, and the sampler is seeded by the job
and the trial number: what is asked next depends on those alone, not on which process asks.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from lrtuner import lifecycle
from lrtuner.candidates import SearchSpace
from lrtuner.evidence import TrialRecord
from lrtuner.job import derived_seed
from lrtuner.space import Choice, IntUniform, LogUniform, Range

optuna.logging.set_verbosity(optuna.logging.WARNING)


def ask(
    space: SearchSpace, trials: Sequence[TrialRecord], *, seed: int, number: int, sign: float
) -> dict[str, Any]:
    """The next point of `space` to try, given all finished trials.

    `number` is the trial's number within the job, `sign` +1 where a smaller value is better.
    """
    study = optuna.create_study(direction="minimize", sampler=_sampler(seed, number))
    study.add_trials([frozen for t in trials if (frozen := _told(space, t, sign))])
    trial = study.ask()
    family = trial.suggest_categorical("family", space.families)
    params: dict[str, Any] = {"family": family}
    for name, span in space.names(family).items():
        params[name] = _suggest(trial, name, span)
    return params


def _sampler(seed: int, number: int) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `group` is, and is what we need
        return TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=derived_seed(seed, "ask", number),
        )


def _told(space: SearchSpace, trial: TrialRecord, sign: float) -> FrozenTrial | None:
    """The trial as Optuna knows it; None if its point lies outside the space."""
    params = trial.params
    if not params or not _inside(space, params):
        return None
    distributions: dict[str, BaseDistribution] = {"family": CategoricalDistribution(space.families)}
    distributions |= {n: _distribution(r) for n, r in space.names(params["family"]).items()}
    if trial.state is lifecycle.TrialState.FAILED:
        return create_trial(state=TrialState.FAIL, params=params, distributions=distributions)
    # a diverged run teaches: infinitely bad, not unknown
    value = float("inf") if trial.value is None else sign * trial.value
    return create_trial(value=value, params=params, distributions=distributions)


def _inside(space: SearchSpace, params: dict[str, Any]) -> bool:
    if params["family"] not in space.families:
        return False
    names = space.names(params["family"])
    return all(name in params and _contains(span, params[name]) for name, span in names.items())


def _contains(span: Range, value: float) -> bool:
    if isinstance(span, Choice):
        return value in span.values
    return span.low <= value <= span.high


def _distribution(span: Range) -> BaseDistribution:
    if isinstance(span, Choice):
        return CategoricalDistribution(span.values)
    if isinstance(span, IntUniform):
        return IntDistribution(span.low, span.high)
    return FloatDistribution(span.low, span.high, log=isinstance(span, LogUniform))


def _suggest(trial: optuna.Trial, name: str, span: Range) -> float:
    if isinstance(span, Choice):
        return float(trial.suggest_categorical(name, span.values))
    if isinstance(span, IntUniform):
        return trial.suggest_int(name, span.low, span.high)
    return trial.suggest_float(name, span.low, span.high, log=isinstance(span, LogUniform))
