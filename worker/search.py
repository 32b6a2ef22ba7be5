"""The sampler: Optuna, in memory, by ask and tell. The only file that knows it.

The study is rebuilt from what was tried before every ask, and the sampler is seeded by the job and
by how much was tried: what is asked next depends on those alone, not on which process asks.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from lrtuner.candidates import SearchSpace
from lrtuner.job import derived_seed
from lrtuner.space import Choice, IntUniform, LogUniform, Range

optuna.logging.set_verbosity(optuna.logging.ERROR)

Name = Literal["tpe", "gp", "random"]


@dataclass(frozen=True)
class Tried:
    """A point and its loss, less is better: infinite if it diverged, None while it is not known."""

    params: dict[str, Any]
    loss: float | None


def ask(
    space: SearchSpace, tried: Sequence[Tried], count: int, *, sampler: Name, seed: int
) -> list[dict[str, Any]]:
    """The next `count` points of `space` to try, given what has been.

    They are to be tried at the same time: each is chosen as if those before it had been as bad as
    the worst (a constant liar). Only the points of `tried` that lie in the space count.
    """
    known = [one for one in tried if _inside(space, one.params)]
    asked: list[dict[str, Any]] = []
    for _ in range(count):
        pending = [Tried(params, None) for params in asked]
        number = len(known) + len(asked)
        chosen = SAMPLERS[sampler](derived_seed(seed, "ask", number))
        study = optuna.create_study(direction="minimize", sampler=chosen)
        study.add_trials([_told(space, one) for one in [*known, *pending]])
        asked.append(_suggested(study.ask(), space))
    return asked


def _suggested(trial: optuna.Trial, space: SearchSpace) -> dict[str, Any]:
    family = trial.suggest_categorical("family", space.families)
    params: dict[str, Any] = {"family": family}
    for name, span in space.names(family).items():
        params[name] = _suggest(trial, name, span)
    return params


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `group` is, and is what we need
        return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)


def _gp(seed: int) -> BaseSampler:
    """Jointly over what all families share; the rest by TPE: its own choice would be random."""
    return GPSampler(seed=seed, independent_sampler=_tpe(seed), warn_independent_sampling=False)


SAMPLERS: dict[Name, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "random": lambda seed: RandomSampler(seed=seed),
}


def _told(space: SearchSpace, tried: Tried) -> FrozenTrial:
    params = tried.params
    distributions: dict[str, BaseDistribution] = {"family": CategoricalDistribution(space.families)}
    distributions |= {n: _distribution(r) for n, r in space.names(params["family"]).items()}
    if tried.loss is None:
        return create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
    value = tried.loss if math.isfinite(tried.loss) else math.inf  # diverged: bad, not unknown
    return create_trial(value=value, params=params, distributions=distributions)


def _inside(space: SearchSpace, params: dict[str, Any]) -> bool:
    if params.get("family") not in space.families:
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
