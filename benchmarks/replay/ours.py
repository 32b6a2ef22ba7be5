"""Our search, the same code that trains, choosing among recorded runs.

The reference is the shape nearest to linear decay. There is no range test here: its tuning
begins at a recorded peak drawn by the seed.
"""

import random
from collections.abc import Sequence

import numpy as np

from benchmarks.replay.table import Arm, Choice, RecordedShape, Table, answer
from lrtuner.strategy import Asking, Outcome, Problem, tune
from lrtuner.strategy.peaks import nearest

LEAST_KNOWN = 0.5
"""A shorter horizon is looked at where so much of what can be chosen was recorded over it."""


def ours(table: Table, budget: float, seed: int) -> Choice:
    """What our strategy recommends, given a budget in full-training equivalents."""
    outcome, spent = _answered(table, tune(_problem(table, budget, seed)))
    assert outcome is not None
    best = outcome.candidates[0]
    assert isinstance(best.shape, RecordedShape)
    lr = nearest(best.lr, best.shape.peaks(table.target))
    assert lr is not None
    return Choice(Arm(best.shape, lr), spent)


def _answered(table: Table, asking: Asking[Outcome | None]) -> tuple[Outcome | None, float]:
    """Answer what the search asks from the table: its outcome, and what it spent."""
    spent = 0.0
    asks = next(asking)
    while True:
        results = [answer(table, ask) for ask in asks]
        spent += sum(result.cost for result in results)
        try:
            asks = asking.send(results)
        except StopIteration as ended:
            return ended.value, spent


def _problem(table: Table, budget: float, seed: int) -> Problem:
    shapes = [shape for shape in table.shapes if shape.peaks(table.target)]
    horizons = tuple(steps for steps in table.horizons if _known(shapes, steps) >= LEAST_KNOWN)
    first = horizons[0]
    reference = _nearest_to_linear([s for s in shapes if s.peaks(first)], first)
    return Problem(
        horizons=horizons,
        reference=reference,
        start_lr=random.Random(seed).choice(reference.peaks(first)),
        bounds=(table.peaks[0], table.peaks[-1]),
        shapes=shapes,
        cost=lambda steps: steps / table.target,
        budget=budget,
        shares_trunks=False,
        seeds=1,
    )


def _known(shapes: Sequence[RecordedShape], steps: int) -> float:
    """The share of the shapes that were recorded over so many steps."""
    return sum(bool(shape.peaks(steps)) for shape in shapes) / len(shapes)


def _nearest_to_linear(shapes: Sequence[RecordedShape], steps: int) -> RecordedShape:
    """The shape that differs least from linear decay to zero."""
    linear = 1.0 - np.arange(steps) / steps
    return min(shapes, key=lambda shape: float(np.mean(np.abs(shape.factors(steps) - linear))))
