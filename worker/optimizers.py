"""The torch optimizer behind an optimizer's name."""

from collections.abc import Callable, Iterable
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


def make_optimizer(
    config: sources.AnyOptimizer, parameters: Iterable[nn.Parameter], lr: float
) -> torch.optim.Optimizer:
    """The optimizer with its arguments, fused where torch has a fused kernel."""
    options: dict[str, Any] = config.args.model_dump()
    if not isinstance(config, _WITHOUT_FUSED):
        options["fused"] = True
    return _CLASSES[type(config)](parameters, lr=lr, **options)
