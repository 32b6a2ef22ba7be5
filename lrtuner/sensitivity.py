"""How much a wrong peak costs: the loss at half and at twice the best peak."""

import math
from collections.abc import Mapping, Sequence

from lrtuner.strict import Record

FACTORS = (0.5, 2.0)

_ROUNDING = 1e-9  # of logarithms: twice a peak that was tried may be the highest that was tried


class Sensitivity(Record):
    """With the peak multiplied by `factor` the loss is `change` (0.05: 5 %) above that at the peak.

    None where no run says so: that far from the peak nothing trained to its end.
    """

    factor: float
    change: float | None


def sensitivity(
    points: Sequence[tuple[float, float]], peak: float, factors: Sequence[float] = FACTORS
) -> list[Sensitivity]:
    """What runs of one shape over one horizon say, as (lr, loss) pairs; losses are positive.

    q is the parabola of ln loss over ln lr through the three peaks nearest to `peak`, and

        change = exp(q(ln peak + ln factor) - q(ln peak)) - 1

    Runs that diverged have no finite loss and are left out; nothing is told beyond the lowest and
    the highest of the others.
    """
    known = {math.log(lr): math.log(loss) for lr, loss in points if 0.0 < loss < math.inf}
    at = math.log(peak)
    return [
        Sensitivity(factor=factor, change=_change(known, at, at + math.log(factor)))
        for factor in factors
    ]


def _change(known: Mapping[float, float], at: float, moved: float) -> float | None:
    nearest = sorted(known, key=lambda x: (abs(x - at), x))[:3]
    if len(nearest) < 3:
        return None
    low, high = min(known) - _ROUNDING, max(known) + _ROUNDING
    if not (low <= at <= high and low <= moved <= high):
        return None
    places = [(x, known[x]) for x in nearest]
    return math.expm1(_parabola(places, moved) - _parabola(places, at))


def _parabola(places: Sequence[tuple[float, float]], x: float) -> float:
    """At x, the parabola through three places (Lagrange)."""
    return math.fsum(
        y * math.prod((x - other) / (own - other) for other, _ in places if other != own)
        for own, y in places
    )
