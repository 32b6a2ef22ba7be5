"""What a plan has to know of a task: how much there is of it, wherever it is trained."""

from collections.abc import Sized
from typing import Protocol

from lrtuner.job import JobSpec


class Splits(Protocol):
    """The data as far as a plan has to know it: how much there is, and if it is the same."""

    @property
    def validation(self) -> Sized:
        """What runs are evaluated on."""

    @property
    def test(self) -> Sized:
        """What the runs of the confirmation are evaluated on too."""

    @property
    def num_bytes(self) -> int | None:
        """What it takes as tensors, if that is known."""

    @property
    def streamed(self) -> bool:
        """Whether it is paged in from disk as it is needed."""

    def digest(self) -> str:
        """A digest of all data."""


class Sizes(Protocol):
    """What a task costs: all that a plan needs to know of it. A `Task` has these too."""

    @property
    def spec(self) -> JobSpec:
        """The job."""

    @property
    def data(self) -> Splits:
        """Its data."""

    @property
    def total_steps(self) -> int:
        """Updates of the whole training."""

    @property
    def batch_size(self) -> int:
        """Examples per batch."""

    @property
    def grad_accum(self) -> int:
        """Batches per update."""

    @property
    def examples_per_update(self) -> int:
        """Examples per update."""

    @property
    def steps_per_epoch(self) -> int:
        """Updates per pass over the training split."""

    @property
    def examples_per_evaluation(self) -> int:
        """Examples that are seen to evaluate the validation split once."""
