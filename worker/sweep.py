"""One pass of the LR range test: an exact sweep that leaves nothing behind."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from lrtuner.range_test import Sweep
from worker.snapshot import Stateful, Subject, restored
from worker.task import Batch, evaluation_mode
from worker.training import finite_or_none
from worker.updates import Loss, Updates

CHECK_EVERY = 10
"""Updates between two looks at the losses: each look waits for the device."""

STOP_FACTOR = 4.0
"""The sweep stops when the lightly averaged loss is so many times its best."""

_AVERAGED = 3


def sweep(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    loss: Loss,
    rates: Sequence[float],
    *,
    seed: int,
    accumulate: int = 1,
    scaler: torch.amp.GradScaler | None = None,
    loader: Stateful | None = None,
    held_out: Batch = None,
) -> Sweep:
    """One optimizer step per rate of `rates`, in order; then everything is as it was before.

    The rate is written before its step and read back from the optimizer for the record. The loss
    recorded for a rate is the mean over the `accumulate` micro-batches its step was made from.
    Param groups keep their ratios: the group with the largest rate gets the sweep's. A step that
    `scaler` skips is no step: its rate is used again with the next batch. Ends early at a
    non-finite loss or at four times the best. With a `loader` that saves its position, that is
    put back with the rest (`worker.snapshot.restored`).

    With `held_out` the loss on that batch is recorded after every step, measured in evaluation mode
    and without a gradient: BatchNorm's statistics and the generators stay as they are, so that the
    training losses are the same bit for bit. Only a non-finite one of these losses ends the sweep.
    """
    others = tuple(other for other in (scaler, loader) if other is not None)
    with restored(Subject(model, optimizer, others)):
        model.train()
        optimizer.zero_grad(set_to_none=True)
        updates = Updates(model, optimizer, loss, accumulate, scaler)
        pass_ = _Pass(updates, held_out)
        pass_.make(rates, iter(batches))
    return pass_.record(rates, seed)


@dataclass
class _Curve:
    """Losses as they come: they stay on the device until somebody looks."""

    pending: list[Tensor] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def look(self) -> None:
        if self.pending:
            self.losses += torch.stack(self.pending).tolist()
            self.pending.clear()

    def record(self, length: int) -> list[float | None]:
        unused = length - len(self.losses)
        return [finite_or_none(loss) for loss in self.losses] + [None] * unused


@dataclass
class _Pass:
    updates: Updates
    held_out: Batch
    used: list[float] = field(default_factory=list)
    training: _Curve = field(default_factory=_Curve)
    evaluated: _Curve = field(default_factory=_Curve)

    def make(self, rates: Sequence[float], batches: Iterator[Batch]) -> None:
        for rate in rates:
            if not self._step(rate, batches):
                break
            last = len(self.used) == len(rates)
            if (len(self.training.pending) == CHECK_EVERY or last) and self._has_blown_up():
                break
        self._look()

    def record(self, rates: Sequence[float], seed: int) -> Sweep:
        return Sweep(
            seed=seed,
            lrs=self.used + list(rates[len(self.used) :]),
            losses=self.training.record(len(rates)),
            updates=len(self.used),
            held_out=self.evaluated.record(len(rates)) if self.held_out is not None else None,
        )

    def _step(self, rate: float, batches: Iterator[Batch]) -> bool:
        """Make one real step at `rate`; False when the data or the scaler gives none."""
        made = self.updates.make(rate, batches)
        if made is None:
            return False
        self.used.append(self.updates.rate)
        self.training.pending.append(made[0])
        if self.held_out is not None:
            self.evaluated.pending.append(self._evaluate(self.held_out))
        return True

    def _evaluate(self, batch: Batch) -> Tensor:
        with evaluation_mode(self.updates.model):
            return self.updates.loss(self.updates.model, batch)

    def _look(self) -> None:
        self.training.look()
        self.evaluated.look()

    def _has_blown_up(self) -> bool:
        self._look()
        losses = self.training.losses
        fresh = losses[-CHECK_EVERY:] + self.evaluated.losses[-CHECK_EVERY:]
        if not all(map(math.isfinite, fresh)):
            return True
        averages = np.convolve(losses, np.ones(_AVERAGED) / _AVERAGED, mode="valid")
        return len(averages) > 0 and bool(averages[-1] > STOP_FACTOR * averages.min())
