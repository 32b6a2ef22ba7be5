"""What a search has to choose from, and what comes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lrtuner.strategy.arms import Origin, Result, Shape
from lrtuner.strategy.peaks import Drift

MAX_SEEDS = 5
"""At most so many seeds for the finals."""

Sampler = Callable[[Sequence[Result], int, int], Sequence[tuple[Shape, float]]]
"""Given the results so far, a horizon and a count: so many shapes, each with a peak."""


@dataclass(frozen=True)
class Problem:
    """What a search has to choose from, and what it may spend.

    `horizons` are the numbers of updates that can be trained, ascending, the last is the whole
    horizon. `reference` is the shape whose peak is tuned first, from `start_lr` on and within
    `bounds`; `shapes` is what the bound orders. `given` takes part in any case, with a peak for the
    whole horizon, and `usual_lrs` are peaks at which the reference does.

    `cost` says what a run of so many updates costs, and `budget` what all may cost together, in
    full-training equivalents. With `shares_trunks`, runs that are asked for together and start from
    one seed make the updates that they have in common once, and save `update_cost` for each.
    `seeds` is how many seeds there are. `sampler` proposes what the bound leaves out, and `derive`
    makes further shapes from the gradient norms of a run over the whole horizon.
    """

    horizons: tuple[int, ...]
    reference: Shape
    start_lr: float
    bounds: tuple[float, float]
    shapes: Sequence[Shape]
    cost: Callable[[int], float]
    budget: float
    given: Sequence[tuple[Shape, float]] = ()
    usual_lrs: Sequence[float] = ()
    sampler: Sampler | None = None
    derive: Callable[[Result], Sequence[Shape]] | None = None
    update_cost: float = 0.0
    shares_trunks: bool = True
    seeds: int = MAX_SEEDS

    @property
    def total_steps(self) -> int:
        """The whole horizon."""
        return self.horizons[-1]


@dataclass(frozen=True)
class Candidate:
    """An entrant with its peak for the whole horizon, and how far it is behind the reference.

    `behind` is a difference of log losses, negative if it is better.
    """

    shape: Shape
    lr: float
    origin: Origin
    behind: float
    trained: bool
    """Whether it was trained over the whole horizon."""


@dataclass(frozen=True)
class Outcome:
    """The candidates, the best first, the reference among them; and how the peak moves."""

    candidates: tuple[Candidate, ...]
    reference: Candidate
    drift: Drift
    tried: Mapping[float, float]
    """The losses of the reference by its peak, over the horizon that most were tried over."""
