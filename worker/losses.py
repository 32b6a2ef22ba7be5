"""What training brings down and what is measured of it, behind the names in `lrtuner.losses`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lrtuner import losses
from lrtuner.errors import JobFailedError


class Outputs(NamedTuple):
    """How many a model gives for an example, None if nobody knows, and where."""

    number: int | None
    device: torch.device


IGNORED = -100
"""A target where nothing is to be learned; PyTorch's own number for it."""


class Loss(ABC):
    """A loss of a model's outputs and what they should be, first dimension the example.

    `counts_hits` says whether the largest output of a place is an answer, right or wrong.
    """

    counts_hits = False

    @abstractmethod
    def mean(self, outputs: Tensor, expected: Tensor) -> Tensor:
        """What is trained: a scalar, the mean over the batch."""

    @abstractmethod
    def total(self, outputs: Tensor, expected: Tensor) -> tuple[float, float]:
        """What is measured: a sum, and by what the sum over a split is divided to be a mean."""


class _CrossEntropy(Loss):
    counts_hits = True

    def __init__(self, weight: Tensor | None = None, smoothing: float = 0.0) -> None:
        self.weight, self.smoothing = weight, smoothing

    def mean(self, outputs: Tensor, expected: Tensor) -> Tensor:
        return functional.cross_entropy(
            outputs.flatten(0, -2),
            expected.flatten(),
            weight=self.weight,
            label_smoothing=self.smoothing,
        )

    def total(self, outputs: Tensor, expected: Tensor) -> tuple[float, float]:
        logits, targets = outputs.flatten(0, -2), expected.flatten()
        total = functional.cross_entropy(logits, targets, weight=self.weight, reduction="sum")
        if self.weight is None:
            return total.item(), counted(targets)
        return total.item(), self.weight[targets[targets != IGNORED]].sum().item()


class _Elementwise(Loss):
    """The mean of `function` over all numbers of the outputs."""

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        self.function, self.options = function, options

    def mean(self, outputs: Tensor, expected: Tensor) -> Tensor:
        return self.function(*paired(outputs, expected), **self.options)

    def total(self, outputs: Tensor, expected: Tensor) -> tuple[float, float]:
        found, wanted = paired(outputs, expected)
        return self.function(found, wanted, **self.options, reduction="sum").item(), found.numel()


def counted(targets: Tensor) -> int:
    """How many of them are to be learned."""
    return int((targets != IGNORED).sum().item())


def paired(outputs: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Both as one row of numbers for each example.

    Raises:
        ValueError: they have other numbers of them.
    """
    found, wanted = (rows.reshape(len(rows), -1) for rows in (outputs, expected))
    if found.shape != wanted.shape:  # torch would broadcast them
        raise ValueError(f"the model gives {tuple(found.shape)} for {tuple(wanted.shape)} numbers")
    return found, wanted.to(found.dtype)


def _classes(config: losses.CrossEntropy, outputs: Outputs) -> Loss:
    weight = _weights("class_weights", config.args.class_weights, outputs, "classes")
    return _CrossEntropy(weight, config.args.label_smoothing)


def _labels(config: losses.BinaryCrossEntropy, outputs: Outputs) -> Loss:
    weight = _weights("pos_weight", config.args.pos_weight, outputs, "labels")
    return _Elementwise(functional.binary_cross_entropy_with_logits, pos_weight=weight)


def _weights(
    name: str, weights: list[float] | None, outputs: Outputs, things: str
) -> Tensor | None:
    if weights is None:
        return None
    if outputs.number not in (None, len(weights)):
        told = f"{len(weights)} weights, but the dataset has {outputs.number} {things}"
        raise JobFailedError(f"loss.args.{name}: {told}")
    return torch.tensor(weights, device=outputs.device)


CROSS_ENTROPY = _CrossEntropy()


# build(config, outputs) -> loss
LOSSES: dict[type[losses.AnyLoss], Callable[[Any, Outputs], Loss]] = {
    losses.CrossEntropy: _classes,
    losses.BinaryCrossEntropy: _labels,
    losses.Mse: lambda _config, _outputs: _Elementwise(functional.mse_loss),
    losses.Mae: lambda _config, _outputs: _Elementwise(functional.l1_loss),
    losses.Huber: lambda config, _outputs: _Elementwise(
        functional.huber_loss, delta=config.args.delta
    ),
    losses.Reconstruction: lambda _config, _outputs: _Elementwise(functional.mse_loss),
}
