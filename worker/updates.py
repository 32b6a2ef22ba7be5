"""How one update is made: micro-batches, their gradients, the rate of each group, the step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn

from worker.optimizers import lr_ratios, set_rate
from worker.task import Batch

MAX_SKIPPED = 10
"""So many updates skipped in a row by the grad scaler end a training: no scale is small enough."""

Loss = Callable[[nn.Module, Batch], Tensor]


@dataclass
class Updates:
    """Makes updates of a model from `accumulate` batches each, at a given rate.

    Param groups keep their ratios: the group with the largest rate gets the one that is asked for.
    A step that `scaler` skips is no update: it is made again with the next batches. `attempts`
    counts these, too. `look`, if given, is called with the whole gradient before each step.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    accumulate: int = 1
    scaler: torch.amp.GradScaler | None = None
    look: Callable[[], Tensor] | None = None
    attempts: int = 0
    ratios: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.ratios = lr_ratios(self.optimizer)

    @property
    def rate(self) -> float:
        """The rate as the optimizer has it."""
        return float(max(group["lr"] for group in self.optimizer.param_groups))

    def make(self, rate: float, batches: Iterator[Batch]) -> tuple[Tensor, Tensor | None] | None:
        """One update at `rate`: the mean loss of its batches, and what `look` saw.

        None when the data ends or the scaler lets no step through.
        """
        set_rate(self.optimizer, self.ratios, rate)
        for _ in range(MAX_SKIPPED):
            micro = list(islice(batches, self.accumulate))
            if len(micro) < self.accumulate:
                return None
            self.attempts += 1
            loss = self._backward(micro)
            seen = self.look() if self.look else None
            made = self._step()
            self.optimizer.zero_grad(set_to_none=True)  # a kept state needs no gradients
            if made:
                return loss, seen
        return None

    def _backward(self, micro: Sequence[Batch]) -> Tensor:
        losses = [self._gradient(batch, len(micro)) for batch in micro]
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _gradient(self, batch: Batch, count: int) -> Tensor:
        """Add the gradient of a batch's share in the mean of `count`; the share itself."""
        loss = self.loss(self.model, batch)
        loss = loss / count if count > 1 else loss
        (self.scaler.scale(loss) if self.scaler else loss).backward()
        return loss.detach()

    def _step(self) -> bool:
        """Step the optimizer; False when the scaler skipped it and lowered its scale."""
        if self.scaler is None:
            self.optimizer.step()
            return True
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= scale
