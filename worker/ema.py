"""An exponential moving average of the weights, which is evaluated in their place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """The average over the updates of all that trains and of BatchNorm's statistics.

    average = d average + (1 - d) weights, d = min(decay, (1 + t) / (10 + t)) after t updates: early
    on it forgets the initial weights sooner than `decay` alone would let it.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        trained = [p for p in model.parameters() if p.requires_grad]
        # a counter of batches has no average
        statistics = [b for b in model.buffers() if b.is_floating_point()]
        self.live: list[Tensor] = [tensor.detach() for tensor in (*trained, *statistics)]
        self.average = [tensor.clone() for tensor in self.live]

    @torch.no_grad()
    def update(self) -> None:
        """Take note of the weights after an update."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.average, self.live, 1 - decay)

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Within it the model has the average; afterwards its own weights, bit for bit."""
        own = [tensor.clone() for tensor in self.live]
        self._put(self.live, self.average)
        try:
            yield
        finally:
            self._put(self.live, own)

    def state_dict(self) -> dict[str, Any]:
        """The average and how many updates it is of."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Be as when `state_dict` was taken."""
        self.updates = state_dict["updates"]
        self._put(self.average, state_dict["average"])

    @staticmethod
    @torch.no_grad()
    def _put(there: list[Tensor], values: list[Tensor]) -> None:
        for tensor, value in zip(there, values, strict=True):
            tensor.copy_(value)
