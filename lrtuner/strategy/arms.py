"""What a strategy chooses among, what it asks for, and what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lrtuner.range_test import log_loss

Array = NDArray[np.float64]

Purpose = Literal["peak", "screen", "rung", "final"]
"""Why a run is made: to find the peak of the reference, to compare candidates over the shortest
horizon, over the next, or over the whole one."""

Origin = Literal["reference", "user", "usual", "bound", "sampler", "neighbour", "refined"]
"""Who proposed an arm: the reference whose peak is tuned, the user's own baseline, the library's
usual rates, the order of the convex bound, the sampler, a shift of the best peak, or the gradient
norms of the best run."""


class Shape(Protocol):
    """A schedule without its peak, over any horizon."""

    @property
    def key(self) -> str:
        """A name that differs for every shape of the problem."""

    @property
    def family(self) -> str:
        """Which family it belongs to: no family takes more than its share of the candidates."""

    def factors(self, steps: int) -> Array:
        """The rate of each of `steps` updates as a factor of the peak, in [0, 1]."""

    def peaks(self, steps: int) -> Sequence[float] | None:
        """The peaks that can be tried over that horizon, ascending; None where any can."""


@dataclass(frozen=True)
class Ask:
    """One run that is asked for: `shape` with its peak at `lr` over `steps` updates.

    `seed` counts 0, 1, 2...: runs of one seed start from the same weights and see the same data.
    """

    shape: Shape
    lr: float
    steps: int
    seed: int
    purpose: Purpose
    origin: Origin

    @property
    def key(self) -> tuple[str, float, int, int]:
        """What the run is, whatever it is made for: runs with one key are the same run."""
        return self.shape.key, self.lr, self.steps, self.seed


@dataclass(frozen=True)
class Result:
    """What came of a run.

    `loss` is positive, less is better, and infinite unless the run trained to its end. `cost` is
    what was really spent, in full-training equivalents. `norms` are gradient norms in equal parts
    of the run, where they were measured.
    """

    ask: Ask
    loss: float
    cost: float
    norms: Sequence[float] | None = field(default=None, compare=False)

    @property
    def log_loss(self) -> float:
        """ln loss: differences of it are relative, so they compare over horizons."""
        return log_loss(self.loss)
