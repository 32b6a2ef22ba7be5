"""The splits that a user's code gives, as batches on the device."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from worker.code.project import Project
from worker.code.randomness import repeatable
from worker.snapshot import fingerprint

SAMPLED = 32
"""So many examples of a map-style dataset are in its digest."""


class Examples(Protocol):
    """A split: batches of it by the indices of their examples."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Any:
        """The examples of these indices, on the device."""

    def digest(self) -> str:
        """A digest that tells this split from others."""


@dataclass(frozen=True)
class Preloaded:
    """Tensors on the device; a batch is a tuple of so many. Its digest is of all their content."""

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tensors[0]) if self.tensors else 0

    def batch(self, index: Tensor) -> tuple[Tensor, ...]:
        """See `Examples`."""
        on_device = index.to(self.tensors[0].device)
        return tuple(tensor.index_select(0, on_device) for tensor in self.tensors)

    def digest(self) -> str:
        """See `Examples`."""
        return fingerprint(list(self.tensors))


@dataclass(frozen=True)
class Fetched:
    """A map-style dataset: each example is fetched when its batch is made.

    Its digest is of its length and of 32 examples that are spread over it: all of them might take
    as long as an epoch.
    """

    dataset: Any
    collate: Callable[[list[Any]], Any]
    device: torch.device
    project: Project

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, index: Tensor) -> Any:
        """See `Examples`."""
        with self.project.blamed():
            return moved(self.collate([self.dataset[i] for i in index.tolist()]), self.device)

    def digest(self) -> str:
        """See `Examples`."""
        count = len(self)
        chosen = torch.linspace(0, count - 1, min(SAMPLED, count)).long().unique()
        with repeatable("digest"):
            batch = self.batch(chosen)
        try:
            return fingerprint([count, batch])
        except Exception:  # noqa: BLE001 - an object that cannot be pickled, of whatever kind
            return fingerprint([count, type(batch).__name__])


NOTHING = Preloaded(())
"""A split that is not there."""


@dataclass(frozen=True)
class CodeData:
    """Three splits.

    `num_outputs` is known only of a dataset that the job names, and what the code's own data takes
    in memory not at all.
    """

    train: Examples
    validation: Examples
    test: Examples
    num_outputs: int | None = field(default=None)

    num_bytes: ClassVar[int | None] = None
    streamed: ClassVar[bool] = False

    def digest(self) -> str:
        """A digest of the splits: see each kind of them for what is in it."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        parts = [split.digest() for split in (self.train, self.validation, self.test)]
        return "sha256:" + hashlib.sha256("/".join(parts).encode()).hexdigest()


def examples(
    given: Any, collate: Callable[[list[Any]], Any] | None, device: torch.device, project: Project
) -> Examples:
    """A split as batches: tensors are put on the device now, all else when it is fetched."""
    if collate is None and type(given) is TensorDataset:
        given = given.tensors
    if not isinstance(given, tuple):
        default = torch.utils.data.default_collate
        return Fetched(given, collate or default, device, project)
    if collate is None:
        return Preloaded(tuple(tensor.to(device) for tensor in given))
    return Fetched(TensorDataset(*given), collate, device, project)


def moved(batch: Any, device: torch.device) -> Any:
    """The batch with all tensors in it on the device."""
    if callable(getattr(batch, "to", None)):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(moved(value, device) for value in batch)
    return batch
