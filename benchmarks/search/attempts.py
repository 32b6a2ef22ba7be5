"""What one process does at a time: a training of the grid, or one search from beginning to end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.finder.tasks import load
from benchmarks.search.oracle import Oracle, Training
from benchmarks.search.ours import ours
from benchmarks.search.peers import PEERS, peer
from benchmarks.search.scoring import OURS, Fresh, Pick, Picked, bounded
from benchmarks.search.trainings import Trainings
from lrtuner.job import derived_seed
from lrtuner.schedules.grammar import Schedule

STRATEGIES = (*PEERS, OURS)


@dataclass(frozen=True)
class Place:
    """A task by name or job file, and where its trainings are remembered."""

    task: str
    folder: Path


@dataclass(frozen=True)
class Attempt:
    """One search to make, and on how many fresh seeds its pick is measured."""

    place: Place
    strategy: str
    repetition: int
    budget: float
    fresh_seeds: int

    def made(self) -> Picked:
        """The pick, its cost and its losses."""
        trainings = trainings_of(self.place)
        pick = self._pick(trainings)
        return Picked(
            task=self.place.task,
            strategy=self.strategy,
            repetition=self.repetition,
            spent=pick.spent,
            fresh=measured(pick.schedule, trainings, self.fresh_seeds),
            document=pick.schedule.document if pick.schedule else None,
        )

    def _pick(self, trainings: Trainings) -> Pick:
        if self.strategy == OURS:
            return ours(trainings.task, self.budget, self.repetition)
        return peer(self.strategy, trainings, self.budget, self.repetition)


@dataclass(frozen=True)
class GridTraining:
    """One training of the grid."""

    place: Place
    training: Training

    def loss(self) -> float:
        """The validation loss at the end, infinite if it diverged."""
        trainings = trainings_of(self.place)
        schedule = self.training.schedule(trainings.task.total_steps)
        return trainings.whole(schedule.values().tolist(), self.training.seed).loss


@cache
def trainings_of(place: Place) -> Trainings:
    """Those of the task, read and built once per process."""
    return Trainings(load(place.task), place.folder)


def measured(schedule: Schedule | None, trainings: Trainings, count: int) -> Fresh:
    """The losses on the fresh seeds; those of chance where there is no schedule."""
    chance = math.log(trainings.task.data.num_outputs)
    if schedule is None:
        return Fresh([chance] * count, [chance] * count)
    rates = schedule.values().tolist()
    runs = [trainings.whole(rates, derived_seed("fresh", index)) for index in range(count)]
    return Fresh(
        [bounded(run.loss, chance) for run in runs],
        [bounded(run.test_loss, chance) for run in runs],
    )


def oracle_cost(oracle: Oracle, trainings: Trainings) -> float:
    """What the grid cost, in full-training equivalents."""
    return oracle.num_trainings * trainings.cost(trainings.task.total_steps)


def attempts(
    places: Sequence[Place],
    strategies: Sequence[str],
    repetitions: int,
    budget: float,
    fresh_seeds: int,
) -> list[Attempt]:
    """All of them; those that share trainings come one after the other, not at once."""
    return [
        Attempt(place, strategy, repetition, budget, fresh_seeds)
        for place in places
        for strategy in strategies
        for repetition in range(repetitions)
    ]
