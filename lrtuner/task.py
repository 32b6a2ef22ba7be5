"""What a user's own code is told, and what it gives: `build(context) -> Task`.

A project is a folder with a file `lrtune.py`:

    import torch
    from lrtuner import Context, Task

    def build(context: Context) -> Task:
        ...
        return Task(
            model=lambda: torch.nn.Linear(8, 3),
            train=(inputs, targets),
            validation=(other_inputs, other_targets),
        )

Importing this imports no framework.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer

METRIC = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a metric of one's own may be called."""

MOST_METRICS = 24

_FUNCTIONS = ("loss", "step", "collate", "optimizer", "param_groups")


@dataclass(frozen=True)
class NamedData:
    """The dataset that the job names, split; of each split the inputs and the targets."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    num_outputs: int


@dataclass(frozen=True)
class Context:
    """What `build` is told.

    Attributes:
        args: `model.args` of the job.
        seed: for splits: the same for all runs of a job. The global generators of Python, NumPy
            and torch are seeded with it before `build` is called.
        batch_size: `training.batch_size` of the job.
        device: where models and batches will be, as torch names it; nothing needs to be put there.
        folder: of the project, to read from.
        data: of the dataset that the job names; None where it names none.
    """

    args: dict[str, Any]
    seed: int
    batch_size: int
    device: str
    folder: Path
    data: NamedData | None = None


@dataclass(frozen=True)
class Task:
    """What is trained. All but `model` is given by name.

    A split is a map-style dataset (`__len__` and `__getitem__`) or a tuple of tensors of equal
    length, first dimension the example. Batches are what `collate` makes of examples, on the
    device. Shuffling, batch size and all else about the training is in the job. What is random in
    a dataset must come from the global generators of Python, NumPy or torch: each run seeds these.

    Attributes:
        model: a module, of which each run trains a copy, or a function that makes a new one. The
            weights of a function depend on the seed of a run, those of a module on no seed.
        train: what is trained on. With all other splits it may be left out where the job names a
            dataset.
        validation: what decides between runs.
        test: what the final runs are measured on besides; if left out, nothing is.
        loss: of `model(inputs)` and the targets, the mean over a batch, for examples that are pairs
            (input, target). If left out, the job's loss.
        step: in place of `loss` for batches of any form: of the model and a batch, the mean loss,
            or a pair of it and metrics by name, each a mean over the batch. It is called in
            training and, without gradients, in evaluation.
        metrics: by name, functions of all outputs for a split and all targets; with `loss` only.
        collate: makes a batch of a list of examples; if left out, `torch.utils.data`'s default.
        optimizer: of a model and a rate; for jobs whose `optimizer.name` is `custom`. A group may
            have a part of the rate, and keeps that ratio; the largest has the rate itself.
        param_groups: of a model, groups for the job's optimizer: `params`, and if need be
            `lr_ratio` (above 0, at most 1, of one group 1) and `weight_decay`.

    Raises:
        TypeError, ValueError: something is not of these kinds, or does not go together.
    """

    model: nn.Module | Callable[[], nn.Module]
    _: KW_ONLY
    train: Any = None
    validation: Any = None
    test: Any = None
    loss: Callable[[Any, Any], Tensor] | None = None
    step: Callable[[nn.Module, Any], Any] | None = None
    metrics: Mapping[str, Callable[[Tensor, Tensor], float]] = field(default_factory=dict)
    collate: Callable[[list[Any]], Any] | None = None
    optimizer: Callable[[nn.Module, float], Optimizer] | None = None
    param_groups: Callable[[nn.Module], list[dict[str, Any]]] | None = None

    def __post_init__(self) -> None:
        if not callable(self.model):
            told = "it must be an nn.Module, or a function without arguments that makes one"
            raise TypeError(f"Task.model is {_kind(self.model)}: {told}")
        for name in _FUNCTIONS:
            found = getattr(self, name)
            if found is not None and not callable(found):
                raise TypeError(f"Task.{name} is {_kind(found)}: it must be a function or None")
        if self.loss and self.step:
            raise ValueError("Task has both loss and step: give one of them")
        self._check_metrics()
        if self.optimizer and self.param_groups:
            raise ValueError("Task has both optimizer and param_groups: let optimizer make them")

    def _check_metrics(self) -> None:
        if not isinstance(self.metrics, Mapping):
            told = "it must be a dict of functions by name"
            raise TypeError(f"Task.metrics is {_kind(self.metrics)}: {told}")
        if self.metrics and self.step:
            told = "with step, return them beside the loss: (loss, {name: value})"
            raise ValueError(f"Task.metrics is for outputs and targets: {told}")
        check_metric_names(self.metrics, "Task.metrics")
        for name, function in self.metrics.items():
            if not callable(function):
                told = "it must be a function of outputs and targets"
                raise TypeError(f"Task.metrics[{name!r}] is {_kind(function)}: {told}")


def check_metric_names(names: Mapping[str, Any], where: str) -> None:
    """Refuse names of metrics that cannot be shown or stored.

    Raises:
        ValueError: naming the first that is wrong.
    """
    if len(names) > MOST_METRICS:
        raise ValueError(f"{where} has {len(names)} metrics, at most {MOST_METRICS} are possible")
    for name in names:
        if not isinstance(name, str) or not METRIC.fullmatch(name):
            told = "a name is 1 to 40 of a-z, 0-9 and _, and begins with a letter"
            raise ValueError(f"{where} has a metric called {name!r}: {told}")
        if name == "loss":
            raise ValueError(f"{where} has a metric called 'loss', which the loss is called")


def _kind(found: object) -> str:
    return "None" if found is None else f"of type {type(found).__name__}"
