"""The batches of a run, from where it is: a position that can be saved and gone back to."""

from collections.abc import Iterator
from typing import Any

from worker.task import Batch, Task


class Feed:
    """The task's batches one after another, without an end.

    `expected` is how many will be needed if none is used in vain; more are there.
    """

    def __init__(self, task: Task, seed: int, expected: int) -> None:
        self.task, self.seed, self.expected, self.position = task, seed, expected, 0
        self._batches: Iterator[Batch] = iter(())

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = next(self._batches, None)
        if batch is None:
            more = max(self.task.grad_accum, self.expected - self.position)
            self._batches = self.task.batches(self.seed, more, self.position)
            batch = next(self._batches)
        self.position += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """How many batches were taken."""
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the batch that came next when `state_dict` was taken."""
        self.position = state_dict["position"]
        self._batches = iter(())
