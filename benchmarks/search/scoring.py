"""Regrets, ranks and comparisons of what searches picked.

The regret of a pick is ln(its loss / the oracle's loss) on the same fresh seed, meaned over the
seeds; 0 is as good as the oracle, 0.1 about a tenth more loss, less than 0 better than the grid.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrtuner.schedules.grammar import Schedule
from lrtuner.selection import Paired, paired

SMALLEST_LOSS = 1e-6
"""Stands for a loss of zero, which has no logarithm."""

OURS = "ours"


@dataclass(frozen=True)
class Pick:
    """What a search chose, None if nothing trained to its end; and what it spent, in FTE."""

    schedule: Schedule | None
    spent: float


@dataclass(frozen=True)
class Fresh:
    """The losses of one schedule on the seeds that nobody selected on, in their order."""

    val_losses: Sequence[float]
    test_losses: Sequence[float]


@dataclass(frozen=True)
class Picked:
    """One pick of a search: what it was, what it cost in FTE, and its losses on fresh seeds."""

    task: str
    strategy: str
    repetition: int
    spent: float
    fresh: Fresh
    document: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Row:
    """One search on one task, over the repetitions: means, `error` the regret's standard error."""

    regret: float
    error: float
    rank: float
    spent: float
    val_loss: float
    test_loss: float


def bounded(loss: float | None, chance: float) -> float:
    """The loss as it counts: that of chance where a run diverged or ended worse than that."""
    if loss is None or not math.isfinite(loss):
        return chance
    return max(min(loss, chance), SMALLEST_LOSS)


def regret(fresh: Fresh, oracle: Fresh) -> float:
    """Mean over seeds of ln(loss / loss of the oracle's pick)."""
    pairs = zip(fresh.val_losses, oracle.val_losses, strict=True)
    return statistics.fmean(math.log(loss / best) for loss, best in pairs)


def regrets(picked: Iterable[Picked], oracle: Fresh) -> dict[str, dict[int, float]]:
    """On one task: by search and repetition."""
    found: dict[str, dict[int, float]] = {}
    for one in picked:
        found.setdefault(one.strategy, {})[one.repetition] = regret(one.fresh, oracle)
    return found


def ranks(regrets: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """The mean over repetitions of each search's place, 1 the best; equals share theirs."""
    places: dict[str, list[float]] = {}
    for repetition in next(iter(regrets.values())):
        all_of_it = [of[repetition] for of in regrets.values()]
        for strategy, of in regrets.items():
            better = sum(other < of[repetition] for other in all_of_it)
            equal = all_of_it.count(of[repetition])
            places.setdefault(strategy, []).append(better + (1 + equal) / 2)
    return {strategy: statistics.fmean(of) for strategy, of in places.items()}


def rows(picked: Sequence[Picked], oracle: Fresh) -> dict[str, Row]:
    """On one task: each search's row."""
    found = regrets(picked, oracle)
    places = ranks(found)
    made: dict[str, Row] = {}
    for strategy, of in found.items():
        own = [one for one in picked if one.strategy == strategy]
        made[strategy] = Row(
            regret=statistics.fmean(of.values()),
            error=standard_error(list(of.values())),
            rank=places[strategy],
            spent=statistics.fmean(one.spent for one in own),
            val_loss=statistics.fmean(loss for one in own for loss in one.fresh.val_losses),
            test_loss=statistics.fmean(loss for one in own for loss in one.fresh.test_losses),
        )
    return made


def over_tasks(tables: Sequence[Mapping[str, Row]]) -> dict[str, Row]:
    """Each search's mean over tasks, all weighing the same."""
    made: dict[str, Row] = {}
    for strategy in tables[0]:
        own = [table[strategy] for table in tables]
        means = {
            name: statistics.fmean(getattr(row, name) for row in own)
            for name in ("regret", "rank", "spent", "val_loss", "test_loss")
        }
        error = math.sqrt(math.fsum(row.error**2 for row in own)) / len(own)
        made[strategy] = Row(error=error, **means)
    return made


def best_peer(table: Mapping[str, Row]) -> str:
    """The search of others with the lowest mean regret: chosen in hindsight, to their favour."""
    return min((name for name in table if name != OURS), key=lambda name: table[name].regret)


def difference(found: Mapping[str, Mapping[int, float]], peer: str) -> Paired:
    """Our regrets minus the peer's, paired by repetition."""
    return paired([value - found[peer][repetition] for repetition, value in found[OURS].items()])


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; NaN of a single value."""
    if len(values) < 2:
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))
