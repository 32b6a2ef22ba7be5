"""How the best peak moves with the horizon, and which peaks can be tried."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

USUAL_DRIFT = 0.15
"""The best peak over T steps is that over h T steps times h^0.15, where a job shows nothing else.

Less than what the range test takes off a peak that nothing verifies: here the finals do, and on the
tasks of `benchmarks.search` 0.15 leads to better schedules than 0.4.
"""

DRIFT_SPREAD = 0.2
"""The standard deviation of that exponent over tasks."""

PEAK_SPREAD = 0.35
"""The standard deviation of ln(best peak) as the runs of one seed tell it."""

MAX_DRIFT = 0.8


@dataclass(frozen=True)
class Drift:
    """The exponent with which the best peak falls with the horizon: lr*(T) ~ T^-alpha.

    `measured` is what two or more horizons of this job gave by themselves, None where there is only
    one; `alpha` weighs it against what is usual, by how sure each is.
    """

    alpha: float = USUAL_DRIFT
    measured: float | None = None

    def carried(self, lr: float, steps: int, to: int) -> float:
        """The peak over `to` steps of a schedule whose best over `steps` is `lr`."""
        return lr * float((steps / to) ** self.alpha)


def drift(peaks: Mapping[int, float]) -> Drift:
    """The drift from the best peaks over several horizons.

    Least squares of ln lr* over ln T, weighed against the usual exponent 0.15 +- 0.2 with an error
    of 0.35 for each ln lr*: two horizons a factor of 2 apart say little, and move it little.
    """
    if len(peaks) < 2:
        return Drift()
    xs, ys = [math.log(steps) for steps in peaks], [math.log(lr) for lr in peaks.values()]
    mean_x, mean_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    spread = math.fsum((x - mean_x) ** 2 for x in xs)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    trust, usual = spread / PEAK_SPREAD**2, 1.0 / DRIFT_SPREAD**2
    alpha = (trust * -slope + usual * USUAL_DRIFT) / (trust + usual)
    return Drift(min(max(alpha, 0.0), MAX_DRIFT), -slope)


def nearest(lr: float, available: Sequence[float] | None) -> float | None:
    """The available peak that is nearest to `lr` by its ratio; `lr` itself where any is."""
    if available is None:
        return lr
    return min(available, key=lambda other: abs(math.log(other / lr)), default=None)


def neighbours(lr: float, available: Sequence[float]) -> list[float]:
    """The available peaks next below and next above `lr`."""
    at = bisect_left(available, lr)
    below = available[at - 1 : at] if at else []
    rest = available[at:]
    above = rest[1:2] if rest and rest[0] == lr else rest[:1]
    return [*below, *above]
