"""Who trains: this process, or a sandbox that stands in for the task. Both give the same runs."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from numpy.typing import ArrayLike

from lrtuner.evidence import Environment
from lrtuner.job import Comparison
from lrtuner.objective import Target
from lrtuner.range_test import Sweep
from lrtuner.schedules.grammar import Schedule
from lrtuner.strict import Strict
from worker import comparison, training
from worker.sizes import Sizes
from worker.task import Task
from worker.training import Run


class Compared(Strict):
    """What a comparison trains with, and the most it costs, in FTE."""

    schedule: Schedule
    cost: float
    params: dict[str, Any]


class Trainer(Sizes, Protocol):
    """A task that something else than this process trains.

    Each method does what the function of that name does with a `Task`, and raises what the model
    raised as an error with the code and message that `worker.failure.explained` would have given.
    """

    @property
    def walls(self) -> Sequence[str]:
        """What stands between the code that trains and this process."""

    @property
    def warnings(self) -> Sequence[str]:
        """Each wall that is missing, and what of it."""

    @property
    def environment(self) -> Environment | None:
        """The machine that trains, where it is another than this one."""

    @property
    def notes(self) -> Sequence[str]:
        """What one should know of the model and the data."""

    def train_together(
        self,
        sequences: Sequence[ArrayLike],
        seed: int,
        *,
        test: bool,
        norms: bool,
        target: Target | None,
    ) -> Iterator[tuple[int, Run]]:
        """See `worker.training.train_together`."""

    def one_sweep(self, rates: list[float], seed: int) -> Sweep:
        """See `worker.range_test.one_sweep`."""

    def compared(self, name: Comparison, steps: int) -> Compared:
        """See below."""

    def compare(self, name: Comparison, seed: int, steps: int) -> Run:
        """See `worker.comparison.compare`."""


def train(task: Task | Trainer, rates: Sequence[float], seed: int) -> Run:
    """See `worker.training.train`."""
    [(_, run)] = train_together(task, [rates], seed)
    return run


def train_together(
    task: Task | Trainer,
    sequences: Sequence[ArrayLike],
    seed: int,
    *,
    test: bool = False,
    norms: bool = False,
    target: Target | None = None,
) -> Iterator[tuple[int, Run]]:
    """See `worker.training.train_together`."""
    if isinstance(task, Task):
        return training.train_together(task, sequences, seed, test=test, norms=norms, target=target)
    return task.train_together(sequences, seed, test=test, norms=norms, target=target)


def compared(task: Task | Trainer, name: Comparison, steps: int) -> Compared:
    """What `compare` trains with.

    Raises:
        InvalidInputError: no such optimizer is known, or not for the job's.
    """
    if isinstance(task, Task):
        return Compared(
            schedule=comparison.schedule(task, name, steps),
            cost=comparison.cost(task, name, steps),
            params=comparison.described(task, name),
        )
    return task.compared(name, steps)


def compare(task: Task | Trainer, name: Comparison, seed: int, steps: int) -> Run:
    """See `worker.comparison.compare`."""
    if isinstance(task, Task):
        return comparison.compare(task, name, seed, steps)
    return task.compare(name, seed, steps)
