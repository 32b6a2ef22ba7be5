"""Targets as class numbers, or as numbers: one rule for every format."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.content import Task
from lrtuner.datasets.limits import Limits
from lrtuner.errors import InvalidDatasetError

FEW = 100
"""Whole numbers of at most so many kinds are taken for classes unless the job says otherwise."""

Wanted = Literal["auto", "classification", "regression"]


@dataclass(frozen=True)
class Targets:
    """Encoded targets: int64 classes (N,), or float32 (N, outputs)."""

    values: NDArray[Any]
    classes: tuple[str, ...]
    task: Task

    @property
    def num_outputs(self) -> int:
        """Classes, or numbers per target."""
        return len(self.classes) or int(self.values.shape[1])


def encoded(values: NDArray[Any], name: str, wanted: Wanted, limits: Limits) -> Targets:
    """Texts and whole numbers as classes in sorted order, other numbers as they are.

    Args:
        values: texts or numbers, (N,), (N, 1), or numbers (N, outputs).
        name: of their column or array, for messages.
        wanted: what the job says that they are.
        limits: how many classes there may be.

    Raises:
        InvalidDatasetError: one class only, too many of them, or texts where numbers are needed.
    """
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim == 1 and _are_classes(values, wanted):
        return _classes(values, name, limits)
    if wanted == "classification":
        raise _refused(name, f"its shape is {values.shape}; classes need one number per example")
    if values.dtype.kind == "U":
        raise _refused(name, "it holds texts; regression needs numbers")
    if values.ndim > 2:
        raise _refused(name, f"its shape is {values.shape}; targets have one or two dimensions")
    numbers = values.astype(np.float32).reshape(len(values), -1)
    if not numbers.shape[1]:
        raise _refused(name, "its targets are empty")
    if len(numbers) and bool((numbers == numbers[0]).all()):
        raise _refused(name, f"every target is {numbers[0].tolist()}: there is nothing to learn")
    return Targets(numbers, (), "regression")


def _are_classes(values: NDArray[Any], wanted: Wanted) -> bool:
    if wanted != "auto":
        return wanted == "classification"
    kind = values.dtype.kind
    return kind in "Ub" or (kind in "iu" and len(np.unique(values)) <= FEW)


def _classes(values: NDArray[Any], name: str, limits: Limits) -> Targets:
    if values.dtype.kind == "f" and not bool((values == np.round(values)).all()):
        raise _refused(name, "it holds fractions; classes are texts or whole numbers")
    labels, codes = np.unique(values, return_inverse=True)
    if len(labels) < 2:
        only = labels[0] if len(labels) else "nothing"
        raise _refused(name, f"every target is {only!s:.50}: there is nothing to learn")
    if len(labels) > limits.classes:
        raise _refused(name, f"it has {len(labels)} classes; at most {limits.classes} are possible")
    if labels.dtype.kind == "f":
        labels = labels.astype(np.int64)
    return Targets(
        codes.reshape(-1).astype(np.int64), tuple(map(str, labels.tolist())), "classification"
    )


def _refused(name: str, reason: str) -> InvalidDatasetError:
    return InvalidDatasetError(f"target {name!r}: {reason}", target=name)
