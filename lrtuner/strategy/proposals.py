"""Which shapes to try first, and at which peak: by the convex bound, before anything is trained."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lrtuner.bound import Bound, bound, transferred_lr
from lrtuner.strategy.arms import Array, Origin, Shape
from lrtuner.strategy.peaks import nearest

RESOLUTION = 500
"""Shapes are compared over at most so many updates: the bound needs no more."""

RUNG = math.sqrt(2.0)
"""Peaks differ by powers of this: no bound is more exact, and shapes with one peak can share the
beginning of their training."""

ALIKE = 0.03
"""Two shapes whose factors differ by less on average are one for the purpose of a search."""


Key = tuple[str, float, int]


@dataclass(frozen=True)
class Entrant:
    """A shape with the peak that it is tried at over `steps` updates."""

    shape: Shape
    lr: float
    steps: int
    origin: Origin

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.shape.key, self.lr, self.steps


@dataclass(frozen=True)
class Tuned:
    """A shape whose best peak over `steps` updates is known: `lr`."""

    shape: Shape
    lr: float
    steps: int

    def proposals(self, shapes: Sequence[Shape], bounds: tuple[float, float]) -> list[Entrant]:
        """The shapes with their peaks carried over, the most promising first.

        A shape's peak is lr gamma*(shape) / gamma*(tuned), rounded, or the available one nearest to
        it; shapes whose peak is not within `bounds` are left out. Shapes are in the order of the
        bound at that peak, but the best of each family come first, then the second of each, and so
        on; of two that are alike only the better one is kept.
        """
        known = bound(_sketch(self.shape, self.steps))
        scale = known.best_gamma / self.lr
        ranked = sorted(
            self._rated(shapes, known, scale, bounds), key=lambda pair: (pair[0], pair[1].shape.key)
        )
        return _mixed([entrant for _, entrant in ranked], self.shape)

    def _rated(
        self, shapes: Sequence[Shape], known: Bound, scale: float, bounds: tuple[float, float]
    ) -> Iterator[tuple[float, Entrant]]:
        low, high = bounds
        for shape in shapes:
            own = bound(_sketch(shape, self.steps))
            available = shape.peaks(self.steps)
            wanted = transferred_lr(self.lr, known, own)
            lr = self._rounded(wanted) if available is None else nearest(wanted, available)
            if lr is not None and low <= lr <= high:
                yield own.at(scale * lr), Entrant(shape, lr, self.steps, "bound")

    def _rounded(self, lr: float) -> float:
        """The peak's nearest neighbour that is a power of RUNG above or below the tuned one."""
        return float(self.lr * RUNG ** round(math.log(lr / self.lr, RUNG)))


def _mixed(ranked: Sequence[Entrant], known: Shape) -> list[Entrant]:
    """The best of each family first, then the second of each; none that is like one before it."""
    kept: list[Entrant] = []
    places: list[int] = []
    counts: dict[str, int] = {}
    steps = ranked[0].steps if ranked else 0
    taken = [_sketch(known, steps)] if ranked else []
    for entrant in ranked:
        factors = _sketch(entrant.shape, steps)
        if any(float(np.mean(np.abs(factors - other))) < ALIKE for other in taken):
            continue
        taken.append(factors)
        family = entrant.shape.family
        counts[family] = counts.get(family, 0) + 1
        kept.append(entrant)
        places.append(counts[family])
    order = sorted(range(len(kept)), key=lambda i: (places[i], i))
    return [kept[i] for i in order]


def _sketch(shape: Shape, steps: int) -> Array:
    return shape.factors(min(steps, RESOLUTION))
