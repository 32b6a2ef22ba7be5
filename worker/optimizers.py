"""The torch optimizer behind an optimizer's name."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from lrtuner import sources

_CLASSES: dict[type[sources.Config], Callable[..., torch.optim.Optimizer]] = {
    sources.Sgd: torch.optim.SGD,
    sources.Adam: torch.optim.Adam,
    sources.AdamW: torch.optim.AdamW,
    sources.Rmsprop: torch.optim.RMSprop,
}

_WITHOUT_FUSED = (sources.Rmsprop,)


Parameters = Iterable[nn.Parameter] | list[dict[str, Any]]
"""Parameters, or groups of them: an `lr_ratio` in a group says at what part of the rate it trains.
"""


def make_optimizer(
    config: sources.AnyOptimizer, parameters: Parameters, lr: float, *, scaled: bool = False
) -> torch.optim.Optimizer:
    """The optimizer with its arguments, fused where torch has a fused kernel.

    Not where it is `scaled` by a grad scaler: a first step of fused SGD that is skipped leaves a
    momentum that was never written (torch 2.13).
    """
    options: dict[str, Any] = config.args.model_dump()
    if not scaled and not isinstance(config, _WITHOUT_FUSED):
        options["fused"] = True
    optimizer = _CLASSES[type(config)](parameters, lr=lr, **options)
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
