"""What a sweep is: the rates it goes through, and the record of one pass."""

from typing import Literal

import numpy as np

from lrtuner.strict import Record


class Sweep(Record):
    """One pass of the range test: `losses[i]` is the loss that the update at rate `lrs[i]` saw.

    `held_out[i]`, where it was measured, is the loss on held-out examples that this update led to.
    Losses after the sweep stopped, and non-finite ones, are null. `updates` were really made.
    """

    seed: int
    lrs: list[float]
    losses: list[float | None]
    updates: int
    held_out: list[float | None] | None = None

    @property
    def analysed(self) -> list[float | None]:
        """The curve that is read: the held-out losses where there are any, else the losses."""
        return self.losses if self.held_out is None else self.held_out


def sweep_rates(
    min_lr: float,
    max_lr: float,
    num_steps: int,
    spacing: Literal["exponential", "linear"] = "exponential",
) -> list[float]:
    """The rates of a sweep, i = 0..n-1, both ends exact.

    Exponential: lr_i = min_lr (max_lr / min_lr)^(i / (n - 1)); linear: equal differences.
    """
    i = np.arange(num_steps) / (num_steps - 1)
    if spacing == "linear":
        rates: list[float] = (min_lr + (max_lr - min_lr) * i).tolist()
    else:
        rates = (min_lr * (max_lr / min_lr) ** i).tolist()
    return [min_lr, *rates[1:-1], max_lr]
