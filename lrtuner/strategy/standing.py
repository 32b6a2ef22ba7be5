"""How entrants stand against the reference: paired over seeds, pooled over horizons."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CAUTION = 0.5
"""The weight, in full runs, of the belief that a shape is as good as the reference."""

Key = tuple[int, int]
"""A horizon in updates, and a seed."""


@dataclass(frozen=True)
class Standing:
    """The log losses of one entrant by horizon and seed; infinite where it did not complete."""

    losses: Mapping[Key, float]

    def differences(self, reference: "Standing") -> dict[Key, float]:
        """Its log loss minus the reference's wherever both were run."""
        return {
            key: loss - reference.losses[key]
            for key, loss in self.losses.items()
            if key in reference.losses and math.isfinite(reference.losses[key])
        }

    def behind(self, reference: "Standing", total_steps: int) -> float:
        """The relative loss compared with the reference's, as far as it is known.

        The mean of the differences, each weighted by its horizon as a share of `total_steps`, and
        drawn towards 0 by a weight of half a full run: of many shapes tried once, the best is more
        often lucky than good. Infinite if a run of it did not complete.
        """
        if any(math.isinf(loss) and loss > 0 for loss in self.losses.values()):
            return math.inf
        weighed = [
            (steps / total_steps, difference)
            for (steps, _), difference in self.differences(reference).items()
        ]
        total = math.fsum(weight for weight, _ in weighed)
        return math.fsum(weight * d for weight, d in weighed) / (total + CAUTION)


def paired_spread(standings: Sequence[Standing], reference: Standing, steps: int) -> float | None:
    """The standard deviation of a paired difference over seeds at one horizon, over all entrants.

    Pooled over entrants with two or more pairs; None if there is none.
    """
    groups = [
        [d for (s, _), d in one.differences(reference).items() if s == steps and math.isfinite(d)]
        for one in standings
    ]
    groups = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    squares = math.fsum(statistics.variance(group) * (len(group) - 1) for group in groups)
    return math.sqrt(squares / freedom)
