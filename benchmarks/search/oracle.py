"""The fine grid: many shapes at many peaks, and the best of them on more seeds.

It is what the searches are compared with, at many times their cost. Its choice suffers from
selection like any other, so its loss too is measured on fresh seeds afterwards.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lrtuner.candidates import linear_to_zero, to_schedule
from lrtuner.job import derived_seed
from lrtuner.schedules.grammar import Schedule

PEAKS_PER_DECADE = 4

FINALISTS = 12
"""So many of the grid are trained on more seeds."""

SEEDS = 5
"""Each finalist's trainings, that of the grid included."""

EXTENSION = 2
"""By so many peaks the grid grows upwards while its best has the highest peak."""

Point = Mapping[str, Any]


def _point(family: str, warmup_fraction: float = 0.05, **own: float) -> dict[str, Any]:
    """A point of the search space but for its peak."""
    parameters = {f"{family}.{name}": value for name, value in own.items()}
    return {"family": family, "warmup_fraction": warmup_fraction, **parameters}


SHAPES: dict[str, Point] = {
    "linear": linear_to_zero(1.0),
    "linear, no warmup": linear_to_zero(1.0, warmup_fraction=0.0),
    "linear, long warmup": linear_to_zero(1.0, warmup_fraction=0.2),
    "quadratic": _point("polynomial", power=2.0, end_factor=0.0),
    "cosine": _point("cosine", end_factor=0.0),
    "cosine, long warmup": _point("cosine", warmup_fraction=0.2, end_factor=0.0),
    **{
        f"constant, cooldown {fraction}": _point("constant", cooldown_fraction=fraction)
        for fraction in (0.2, 0.4, 0.6, 0.8)
    },
    "exponential": _point("exponential", end_factor=0.01, cooldown_fraction=0.1),
    "step": _point("step", drops=3.0, rate=0.3, cooldown_fraction=0.1),
    "multistep": _point(
        "multistep", first_drop=0.5, second_drop=0.5, rate=0.1, cooldown_fraction=0.0
    ),
    "inverse time": _point("inverse_time", end_factor=0.03, cooldown_fraction=0.2),
    "inverse root": _point(
        "inverse_power", timescale_fraction=0.1, power=0.5, cooldown_fraction=0.4
    ),
    "triangle": _point("cyclic", cycles=1, base_factor=0.01, halving=0.0, cooldown_fraction=0.0),
    "two cosines": _point("cosine_restarts", cycles=2.0, t_mult=2.0, end_factor=0.0),
}
"""Every family that can be searched, with typical parameters."""

QUICK_SHAPES = ("linear", "cosine", "constant, cooldown 0.4")


class Training(NamedTuple):
    """One training that the grid asks for."""

    shape: str
    peak: float
    seed: int

    def schedule(self, total_steps: int) -> Schedule:
        """The schedule over `total_steps`."""
        return to_schedule({**SHAPES[self.shape], "peak_lr": self.peak}, total_steps)


@dataclass(frozen=True)
class Oracle:
    """The best of the grid: its mean loss over `SEEDS` seeds, and the trainings that it took."""

    shape: str
    peak: float
    selected_at: float
    num_trainings: int
    schedule: Schedule


Losses = Callable[[Sequence[Training]], Sequence[float]]
"""Makes trainings; says their validation losses at the end, infinite where they diverged."""


def search(
    losses: Losses, total_steps: int, lr_range: tuple[float, float], shapes: Iterable[str] = SHAPES
) -> Oracle:
    """Train the grid, widen it upwards while its best is at the highest peak, choose the best."""
    shapes = list(shapes)
    peaks = grid(*lr_range)
    made = _trained(losses, [Training(s, peak, seed_of(0)) for peak in peaks for s in shapes])
    while min(made, key=_by(made)).peak == peaks[-1]:
        further = [peaks[-1] * 10 ** ((i + 1) / PEAKS_PER_DECADE) for i in range(EXTENSION)]
        made |= _trained(
            losses, [Training(s, peak, seed_of(0)) for peak in further for s in shapes]
        )
        peaks += further
    finalists = sorted(made, key=_by(made))[:FINALISTS]
    repeats = [t._replace(seed=seed_of(i)) for t in finalists for i in range(1, SEEDS)]
    made |= _trained(losses, repeats)
    means = {
        t: statistics.fmean(made[t._replace(seed=seed_of(i))] for i in range(SEEDS))
        for t in finalists
    }
    best = min(means, key=_by(means))
    return Oracle(best.shape, best.peak, means[best], len(made), best.schedule(total_steps))


def grid(low: float, high: float) -> list[float]:
    """The peaks from `low` on, four per decade, the last of them within a hair of `high`."""
    count = math.floor(PEAKS_PER_DECADE * math.log10(high / low) + 1e-9) + 1
    return [low * 10 ** (i / PEAKS_PER_DECADE) for i in range(count)]


def seed_of(index: int) -> int:
    """The grid's own seeds: nobody else trains on them."""
    return derived_seed("oracle", index)


def _trained(losses: Losses, trainings: Sequence[Training]) -> dict[Training, float]:
    return dict(zip(trainings, losses(trainings), strict=True))


def _by(losses: Mapping[Training, float]) -> Callable[[Training], tuple[float, float, str]]:
    """A key that sorts by loss; of equal ones, all diverged perhaps, the lower peak comes first."""
    return lambda training: (losses[training], training.peak, training.shape)
