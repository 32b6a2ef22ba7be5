"""How good a suggested rate is: its loss against the best loss of the grid.

Regret is the test loss that training at the suggestion leads to over that of the best rate on the
grid, with the log of the loss interpolated between rates over the log of the rate. 1 is best.
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SCHEDULES = ("constant", "one_cycle", "cosine", "step", "cyclic")

USUAL = SCHEDULES[:3]
"""Those that are judged unless one asks for others."""

Rates = Mapping[str, float | None]
"""A suggested peak rate for each schedule; None where a finder gives none."""


@dataclass(frozen=True)
class Curve:
    """Mean test loss over seeds at each rate of the grid, ascending."""

    lrs: Sequence[float]
    losses: Sequence[float]

    @property
    def best_lr(self) -> float:
        """The rate of the lowest loss."""
        return min(zip(self.losses, self.lrs, strict=True))[1]

    def loss(self, lr: float) -> float:
        """The loss at any rate; beyond the grid, that of its end."""
        if lr <= self.lrs[0]:
            return self.losses[0]
        if lr >= self.lrs[-1]:
            return self.losses[-1]
        right = bisect_left(self.lrs, lr)
        low, high = self.lrs[right - 1], self.lrs[right]
        share = math.log(lr / low) / math.log(high / low)
        before, after = map(math.log, self.losses[right - 1 : right + 1])
        return math.exp(before + share * (after - before))

    def regret(self, lr: float) -> float:
        """The loss at `lr` over the lowest."""
        return self.loss(lr) / min(self.losses)

    @property
    def centre(self) -> float:
        """The middle of the good rates: mean of log(rate), weighted by (lowest / loss)^3.

        Steadier than the best rate. What it loses against that is what noise leaves to nobody.
        """
        lowest = min(self.losses)
        weights = [(lowest / loss) ** 3 for loss in self.losses]
        logs = sum(w * math.log(lr) for w, lr in zip(weights, self.lrs, strict=True))
        return math.exp(logs / sum(weights))

    def plateau(self, factor: float = 1.25) -> tuple[float, float]:
        """The lowest and the highest rate whose loss is within `factor` of the lowest."""
        good = [lr for lr in self.lrs if self.regret(lr) <= factor]
        return good[0], good[-1]


@dataclass(frozen=True)
class Found:
    """What one finder suggested for one task, from a sweep of `points` updates on one seed.

    `cost` is what it trained for that, in whole trainings.
    """

    task: str
    points: int
    seed: int
    rates: Rates
    cost: float = 0.0


@dataclass(frozen=True)
class Score:
    """The suggestions of one finder for one schedule, against the truth."""

    regret: float
    worst: float


def score(
    found: Iterable[Found],
    truth: Mapping[str, Mapping[str, Curve]],
    instead: Mapping[str, float],
    schedule: str,
) -> Score:
    """Geometric mean over tasks of that over sweeps, and the worst single sweep.

    Whose finder suggests nothing keeps the rate that was there: `instead`, by task.
    """
    regrets: dict[str, list[float]] = {}
    for one in found:
        lr = one.rates[schedule] or instead[one.task]
        regrets.setdefault(one.task, []).append(truth[one.task][schedule].regret(lr))
    return Score(
        regret=geometric_mean(map(geometric_mean, regrets.values())),
        worst=max(map(max, regrets.values())),
    )


def drifts(found: Iterable[Found]) -> dict[str, float]:
    """For each task, by how many decades the suggestion moves with the length of the sweep.

    From the lowest to the highest of the lengths' means of log10 over seeds, for the schedule where
    that is most. A task that has suggestions for one length only has no drift.
    """
    drift: dict[str, float] = {}
    for (task, _), by_points in _logs(found).items():
        means = [statistics.fmean(logs) for logs in by_points.values()]
        if len(means) > 1:
            drift[task] = max(drift.get(task, 0.0), max(means) - min(means))
    return drift


def scatters(found: Iterable[Found]) -> dict[str, float]:
    """For each task, the standard deviation of log10 over seeds: the mean over lengths.

    For the schedule where that is most. One seed has no scatter.
    """
    scatter: dict[str, float] = {}
    for (task, _), by_points in _logs(found).items():
        deviations = [statistics.stdev(logs) for logs in by_points.values() if len(logs) > 1]
        if deviations:
            scatter[task] = max(scatter.get(task, 0.0), statistics.fmean(deviations))
    return scatter


def geometric_mean(values: Iterable[float]) -> float:
    """exp(mean(log(value)))."""
    return math.exp(statistics.fmean(map(math.log, values)))


def _logs(found: Iterable[Found]) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Log10 of the suggestions that there are: by task and schedule, then by length."""
    logs: dict[tuple[str, str], dict[int, list[float]]] = {}
    for one in found:
        for schedule, lr in one.rates.items():
            if lr is not None:
                by_points = logs.setdefault((one.task, schedule), {})
                by_points.setdefault(one.points, []).append(math.log10(lr))
    return logs
