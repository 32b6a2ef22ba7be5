"""The torch optimizer behind an optimizer's name."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from lrtuner import optimizers
from lrtuner.errors import JobFailedError
from worker.muon import MuonWithAdamW

Parameters = Iterable[nn.Parameter] | list[dict[str, Any]]
"""Parameters, or groups of them: an `lr_ratio` in a group says at what part of the rate it trains.
"""


def _lion(*args: Any, **options: Any) -> torch.optim.Optimizer:
    try:
        # imported here: it takes seconds, and most jobs do without
        from pytorch_optimizer import Lion  # noqa: PLC0415
    except ImportError as error:
        raise JobFailedError("lion needs the package pytorch_optimizer: install it") from error
    optimizer: torch.optim.Optimizer = Lion(*args, **options)
    return optimizer


CLASSES: dict[type[optimizers.NamedOptimizer], Callable[..., torch.optim.Optimizer]] = {
    optimizers.Sgd: torch.optim.SGD,
    optimizers.Adam: torch.optim.Adam,
    optimizers.AdamW: torch.optim.AdamW,
    optimizers.Rmsprop: torch.optim.RMSprop,
    optimizers.Adadelta: torch.optim.Adadelta,
    optimizers.Adafactor: torch.optim.Adafactor,
    optimizers.Adagrad: torch.optim.Adagrad,
    optimizers.Adamax: torch.optim.Adamax,
    optimizers.NAdam: torch.optim.NAdam,
    optimizers.RAdam: torch.optim.RAdam,
    optimizers.Lion: _lion,
    optimizers.Muon: MuonWithAdamW,
}

_FUSED = (optimizers.Sgd, optimizers.Adam, optimizers.AdamW)


def make_optimizer(
    config: optimizers.AnyOptimizer, parameters: Parameters, lr: float, *, scaled: bool = False
) -> torch.optim.Optimizer:
    """The optimizer with its arguments, the common ones fused.

    Not where it is `scaled` by a grad scaler: a first step of fused SGD that is skipped leaves a
    momentum that was never written (torch 2.13).
    """
    assert not isinstance(config, optimizers.Custom), "code makes it"  # noqa: S101
    options: dict[str, Any] = config.args.model_dump()
    if isinstance(config, _FUSED) and not scaled:
        options["fused"] = True
    optimizer = CLASSES[type(config)](parameters, lr=lr, **options)
    set_rate(optimizer, lr_ratios(optimizer), lr)
    return optimizer


def lr_ratios(optimizer: torch.optim.Optimizer) -> list[float]:
    """The rate of each group over the largest: as the group says, or as the rates are now."""
    groups = optimizer.param_groups
    largest = max(float(group["lr"]) for group in groups) or 1.0
    return [
        group["lr_ratio"] if "lr_ratio" in group else float(group["lr"]) / largest
        for group in groups
    ]


def set_rate(optimizer: torch.optim.Optimizer, ratios: Sequence[float], rate: float) -> None:
    """Let the next step use `rate`, and each group its part of it."""
    for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
        group["lr"] = ratio * rate
