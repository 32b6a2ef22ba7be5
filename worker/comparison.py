"""Optimizers that are said to need no tuned schedule, each trained once to compare with.

They come from their authors' own packages, which are small and import nothing but torch. A run of
theirs has the job's model, data, batch size, clipping and number of updates, and the learning rate
and schedule that their authors advise; nothing is tuned.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import torch
from prodigyopt import Prodigy
from schedulefree import AdamWScheduleFree, SGDScheduleFree
from torch import nn

from lrtuner.errors import InvalidInputError, UnsupportedError
from lrtuner.job import Comparison
from lrtuner.optimizers import Adam, AdamW, Rmsprop, Sgd
from lrtuner.schedules.grammar import Schedule, Warmup
from worker.ema import Ema
from worker.optimizers import Parameters, lr_ratios, set_rate
from worker.snapshot import Subject, restored
from worker.task import Batch, Task
from worker.training import Run, full_cost, train

WARMUP_FRACTION = 0.05
"""The authors of Schedule-Free recommend a warmup and leave its length open: that of our default
baseline."""

REFRESH_BATCHES = 50
"""So many training batches refresh the statistics of BatchNorm (README of `schedulefree`)."""

BETA = 0.9
"""The default of both for what is called beta1: in Schedule-Free not the decay of a momentum."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def compare(task: Task, name: Comparison, seed: int, steps: int | None = None) -> Run:
    """Train the task once with another optimizer, and evaluate the test split too.

    Args:
        task: the job's.
        name: of the other optimizer.
        seed: of the run: the weights and data of the job's own runs on it.
        steps: updates to train; None for all of the task.

    Raises:
        InvalidInputError: no such optimizer is known, or not for the job's.
    """
    rates = schedule(task, name, steps).values().tolist()
    return train(_compared(task, name), rates, seed, test=True, target=task.spec.objective.target)


def schedule(task: Task, name: Comparison, steps: int | None = None) -> Schedule:
    """The schedule that `compare` trains with: the authors' default rate and advice.

    Raises:
        InvalidInputError: as `compare`.
    """
    return _compared(task, name).schedule(steps or task.total_steps)


def cost(task: Task, name: Comparison, steps: int | None = None) -> float:
    """The most that `compare` costs, in FTE.

    Raises:
        InvalidInputError: as `compare`.
    """
    compared, target = _compared(task, name), task.spec.objective.target
    return full_cost(compared, test=True, target=target, steps=steps)


def described(task: Task, name: Comparison) -> dict[str, Any]:
    """What `compare` trains with, for the record: the `optimizer`, its `args`, the `package`.

    Raises:
        InvalidInputError: as `compare`.
    """
    compared = _compared(task, name)
    kind, lr, args = compared.choice
    package = compared.package
    return {
        "optimizer": f"{package}.{kind.__name__}",
        "args": {"lr": lr, **args},
        "package": f"{package} {version(package)}",
    }


Choice = tuple[type[Any], float, dict[str, Any]]
"""The class of an optimizer, the default of its learning rate, and its other arguments."""


@dataclass(frozen=True)
class _Compared(Task, ABC):
    """The task of a job, trained by another optimizer."""

    package: ClassVar[str]

    @property
    @abstractmethod
    def choice(self) -> Choice:
        """What stands for the job's optimizer.

        What means the same in both is as in the job, the rest as the authors have it.
        """

    @abstractmethod
    def schedule(self, steps: int) -> Schedule:
        """The schedule that the authors advise."""

    def build_optimizer(self, parameters: Parameters, lr: float) -> torch.optim.Optimizer:
        """The other optimizer, ready to train."""
        kind, _, args = self.choice
        with redirect_stdout(io.StringIO()):  # prodigyopt prints what it was asked for
            optimizer: torch.optim.Optimizer = kind(parameters, lr=lr, **args)
            set_rate(optimizer, lr_ratios(optimizer), lr)
        return optimizer

    def _without_variant(self, name: Comparison) -> UnsupportedError:
        return UnsupportedError(f"{name} knows nothing like optimizer {self.spec.optimizer.name!r}")


class _ScheduleFree(_Compared):
    """Schedule-Free (Defazio et al. 2024, arXiv 2405.15682): averaging in place of decay.

    Gradients are taken at one point, the average of the weights is what is evaluated. A constant
    rate after a warmup: by default 1.0 for SGD, 0.0025 for AdamW. Its weight decay is that of SGD
    and AdamW; for Adam and RMSprop, whose decay is added to the gradient, there is none.
    """

    package = "schedulefree"

    @property
    def choice(self) -> Choice:
        match self.spec.optimizer:
            case Sgd(args=args):
                return SGDScheduleFree, 1.0, {"momentum": BETA, "weight_decay": args.weight_decay}
            case AdamW(args=args):
                own = {"betas": [BETA, args.betas[1]], "weight_decay": args.weight_decay}
            case Adam(args=args):
                own = {"betas": [BETA, args.betas[1]], "weight_decay": 0.0}
            case Rmsprop(args=args):
                own = {"betas": [BETA, args.alpha], "weight_decay": 0.0}
            case _:
                raise self._without_variant("schedule_free")
        return AdamWScheduleFree, 0.0025, {**own, "eps": args.eps}

    def schedule(self, steps: int) -> Schedule:
        # rising by equal steps to the peak at the last update of the warmup, as theirs does
        length = round(WARMUP_FRACTION * steps) - 1
        warmup = Warmup.model_validate({"steps": float(length)}) if length > 0 else None
        body: Any = {"family": "constant"}
        return Schedule(total_steps=steps, peak_lr=self.choice[1], warmup=warmup, body=body)

    def build_optimizer(self, parameters: Parameters, lr: float) -> torch.optim.Optimizer:
        optimizer = super().build_optimizer(parameters, lr)
        optimizer.train()  # type: ignore[attr-defined]
        return optimizer

    def ema(self, model: nn.Module) -> Ema | None:  # noqa: ARG002
        return None  # its own average is what is evaluated

    @property
    def examples_per_evaluation(self) -> int:
        return super().examples_per_evaluation + self._refresh_batches * self.batch_size

    @contextmanager
    def evaluating(self, model: nn.Module, optimizer: Any, seed: int) -> Iterator[None]:
        """Within it the weights are the average, and BatchNorm's statistics are of these.

        Afterwards everything is bit for bit as before: their own way back is exact but for
        rounding, and a refresh draws dropout masks.
        """
        with restored(Subject(model, optimizer)):
            optimizer.eval()
            batches = self.batches(seed, self._refresh_batches)
            self._refresh(model, batches)
            yield

    @torch.no_grad()
    def _refresh(self, model: nn.Module, batches: Iterable[Batch]) -> None:
        """Take BatchNorm's statistics anew: the mean over the batches."""
        norms = [m for m in model.modules() if isinstance(m, BATCH_NORMS) and m.training]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        for batch in batches:
            self.precise_loss(model, batch)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @cached_property
    def _refresh_batches(self) -> int:
        """Batches seen before an evaluation: within an epoch, and none without BatchNorm."""
        with torch.random.fork_rng([]):
            modules = self.build_model().modules()
        keeps_statistics = any(isinstance(module, BATCH_NORMS) for module in modules)
        return (
            min(REFRESH_BATCHES, self.steps_per_epoch * self.grad_accum) if keeps_statistics else 0
        )


class _Prodigy(_Compared):
    """Prodigy (Mishchenko and Defazio 2024, arXiv 2306.06101): Adam that estimates its rate.

    The rate is a factor of the estimate: 1, with cosine decay to zero. Its weight decay is AdamW's
    where the job's optimizer is AdamW, else added to the gradient as in SGD, Adam and RMSprop.
    """

    package = "prodigyopt"

    @property
    def choice(self) -> Choice:
        match self.spec.optimizer:
            case Sgd(args=args):
                own: dict[str, Any] = {"decouple": False}
            case AdamW(args=args):
                own = {"betas": list(args.betas), "eps": args.eps, "decouple": True}
            case Adam(args=args):
                own = {"betas": list(args.betas), "eps": args.eps, "decouple": False}
            case Rmsprop(args=args):
                own = {"betas": [BETA, args.alpha], "eps": args.eps, "decouple": False}
            case _:
                raise self._without_variant("prodigy")
        return Prodigy, 1.0, {**own, "weight_decay": args.weight_decay}

    def schedule(self, steps: int) -> Schedule:
        body: Any = {"family": "cosine", "decay_steps": float(steps)}
        return Schedule(total_steps=steps, peak_lr=self.choice[1], body=body)


_KINDS: dict[Comparison, type[_Compared]] = {"schedule_free": _ScheduleFree, "prodigy": _Prodigy}


def _compared(task: Task, name: Comparison) -> _Compared:
    if name not in _KINDS:
        raise InvalidInputError(f"comparison must be one of {', '.join(_KINDS)}, got {name!r}")
    kind: type[Any] = _KINDS[name]
    if type(task) is not Task:  # what its class says of data, loss and evaluation holds here, too
        kind = dataclass(frozen=True)(type(name, (kind, type(task)), {}))
    compared: _Compared = kind(**{field.name: getattr(task, field.name) for field in fields(task)})
    return compared
