"""Targets as class numbers, or as numbers: one rule for every format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.content import Task
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.room import IN_MEMORY, Room, chunks
from lrtuner.errors import InvalidDatasetError

FEW = 100
"""Whole numbers of at most so many kinds are taken for classes unless the job says otherwise."""

Wanted = Literal["auto", "classification", "regression", "language_modelling"]


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


def encoded_texts(
    codes: NDArray[Any], labels: tuple[str, ...], name: str, wanted: Wanted, limits: Limits
) -> Targets:
    """Texts as classes: `codes` are numbers into the sorted `labels`, each of which occurs.

    Raises:
        InvalidDatasetError: as `encoded`.
    """
    if wanted == "regression":
        raise _refused(name, "it holds texts; regression needs numbers")
    check_no_tokens(name, wanted)
    _check_number(labels, name, limits)
    return Targets(codes.astype(np.int64), labels, "classification")


def encoded(
    values: NDArray[Any], name: str, wanted: Wanted, limits: Limits, room: Room = IN_MEMORY
) -> Targets:
    """Whole numbers as classes in sorted order, other numbers as they are.

    Args:
        values: numbers or truth values, (N,), (N, 1) or (N, outputs).
        name: of their column or array, for messages.
        wanted: what the job says that they are.
        limits: how many classes there may be.
        room: where numbers lie.

    Raises:
        InvalidDatasetError: one class only, too many of them, or no classes where some are wanted.
    """
    check_no_tokens(name, wanted)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim == 1 and _are_classes(values, wanted):
        return _classes(values, name, limits)
    if wanted == "classification":
        raise _refused(name, f"its shape is {values.shape}; classes need one number per example")
    if values.ndim > 2:
        raise _refused(name, f"its shape is {values.shape}; targets have one or two dimensions")
    numbers = room.converted(values.reshape(len(values), -1), np.float32)
    if not numbers.shape[1]:
        raise _refused(name, "its targets are empty")
    if all((numbers[rows] == numbers[0]).all() for rows in chunks(numbers)):
        raise _refused(name, f"every target is {numbers[0].tolist()}: there is nothing to learn")
    return Targets(numbers, (), "regression")


def check_no_tokens(name: str, wanted: Wanted) -> None:
    """Refuse language modelling, where the targets are those of single examples.

    Raises:
        InvalidDatasetError: it is wanted.
    """
    if wanted == "language_modelling":
        raise _refused(name, "language modelling needs a text, or tokens: arrays of whole numbers")


def _are_classes(values: NDArray[Any], wanted: Wanted) -> bool:
    if wanted != "auto":
        return wanted == "classification"
    kind = values.dtype.kind
    return kind == "b" or (kind in "iu" and len(np.unique(values)) <= FEW)


def _classes(values: NDArray[Any], name: str, limits: Limits) -> Targets:
    if values.dtype.kind == "f" and not bool((values == np.round(values)).all()):
        raise _refused(name, "it holds fractions; classes are texts or whole numbers")
    labels, codes = np.unique(values, return_inverse=True)
    _check_number(labels, name, limits)
    if labels.dtype.kind == "f":
        labels = labels.astype(np.int64)
    return Targets(
        codes.reshape(-1).astype(np.int64), tuple(map(str, labels.tolist())), "classification"
    )


def _check_number(labels: Sequence[Any] | NDArray[Any], name: str, limits: Limits) -> None:
    if len(labels) < 2:
        only = f"{labels[0]!s:.50}" if len(labels) else "missing"
        raise _refused(name, f"every target is {only}: there is nothing to learn")
    if len(labels) > limits.classes:
        raise _refused(name, f"it has {len(labels)} classes; at most {limits.classes} are possible")


def _refused(name: str, reason: str) -> InvalidDatasetError:
    return InvalidDatasetError(f"target {name!r}: {reason}", target=name)
