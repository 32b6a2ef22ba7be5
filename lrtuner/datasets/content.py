"""What every format gives: examples with their targets, and how they were split."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from lrtuner.datasets.room import IN_MEMORY, Room

Kind = Literal["features", "images", "tokens"]
Task = Literal["classification", "regression", "language_modelling"]

SPLITS = ("train", "validation", "test")

SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""What a file may call its splits."""

LEAST_EXAMPLES = 10
"""Fewer cannot be split three ways."""


@dataclass(frozen=True)
class Part:
    """Some examples, first dimension the example.

    Attributes:
        inputs: float32 features (N, D), float32 images (N, C, H, W), or int64 tokens (N, L).
        targets: int64 classes (N,), int64 tokens (N, L), or float32 (N, outputs).
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Field:
    """A column or an array of the file: its name, what is in it, and how much of it differs.

    `type` is that of the file's own terms: `text`, `integer`, `number`, or an array's dtype.
    """

    name: str
    type: str
    shape: tuple[int, ...] = ()
    distinct: int | None = None


@dataclass(frozen=True)
class Content:
    """The examples of a file.

    Attributes:
        kind: what a model has to accept.
        task: what the targets are.
        parts: `all`, or those of `SPLITS` that the file brings itself, `train` among them.
        num_outputs: classes, characters of the vocabulary, or numbers per target.
        classes: the label of each class in the order of its number; empty where there are none.
        target: the column or array of the targets.
        fields: what the file holds.
        warnings: what one should know before training on it.
        in_order: neighbours belong together: split in stretches, not by chance.
        room: where the arrays lie.
    """

    kind: Kind
    task: Task
    parts: Mapping[str, Part]
    num_outputs: int
    classes: tuple[str, ...] = ()
    target: str | None = None
    fields: tuple[Field, ...] = ()
    warnings: tuple[str, ...] = ()
    in_order: bool = False
    room: Room = field(default=IN_MEMORY, kw_only=True)

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))
