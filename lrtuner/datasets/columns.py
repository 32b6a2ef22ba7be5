"""Columns as content: numbers as they are, texts as one input per category, one target column."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.content import LEAST_EXAMPLES, Content, Field, Part
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import Room, room_for
from lrtuner.datasets.targets import Targets, encoded, encoded_texts
from lrtuner.errors import InvalidDatasetError

ColumnType = Literal["text", "integer", "number"]

_FLOAT_BYTES = 4
_BLOCK_CELLS = 1 << 20


@dataclass
class Column:
    """What is known of a column before its values are read.

    Attributes:
        name: of the column.
        type: of all its cells.
        categories: the different texts; None where there are more than `Limits.categories`.
    """

    name: str
    type: ColumnType = "integer"
    categories: set[str] | None = None

    @property
    def is_feature(self) -> bool:
        """Whether it can be an input."""
        return self.type != "text" or self.categories is not None

    @property
    def labels(self) -> tuple[str, ...]:
        """The different texts in the order in which they are numbered."""
        return tuple(sorted(self.categories or ()))

    @property
    def width(self) -> int:
        """The inputs that it becomes."""
        return len(self.categories or ()) if self.type == "text" else 1


def check_names(names: Sequence[str], limits: Limits) -> None:
    """Refuse columns that cannot be told apart, or are too many.

    Raises:
        InvalidDatasetError: a name is missing, strange or there twice, or there is one column.
    """
    if len(names) > limits.columns:
        told = f"it has {len(names)} columns; at most {limits.columns} are possible"
        raise InvalidDatasetError(told)
    if len(names) < 2:
        told = f"it has {len(names)} column; features and a target are needed"
        raise InvalidDatasetError(told)
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        shown = ascii(name[:100])
        if not name.strip() or not name.isprintable() or len(name) > 200:
            told = "has no name" if not name.strip() else f"is named {shown}"
            raise InvalidDatasetError(
                f"column {number} {told}: give it a printable one", column=number
            )
        if name in seen:
            raise InvalidDatasetError(f"column {number}: {shown} is there twice", column=number)
        seen.add(name)


def target_of(names: Sequence[str], options: Options) -> str:
    """The column of the targets: that of the options, or the last.

    Raises:
        InvalidDatasetError: there is no such column.
    """
    if options.target is None:
        return names[-1]
    if options.target not in names:
        raise InvalidDatasetError(f"args.target: there is no column {options.target!r}")
    return options.target


Block = Mapping[str, NDArray[Any]]
"""Rows that follow each other, by column: finite float64 or int64, of texts their numbers."""


def content_of(
    columns: Sequence[Column],
    num_rows: int,
    blocks: Callable[[Sequence[Column], int], Iterator[Block]],
    options: Options,
    limits: Limits,
) -> Content:
    """The content of a table.

    Args:
        columns: all of them, in their order.
        num_rows: without the header.
        blocks: reads columns by name: all rows, at most so many at once.
        options: which column holds the targets, and what they are.
        limits: of the size.

    Raises:
        InvalidDatasetError: it is too small or too large, or the targets cannot be learned.
    """
    if num_rows < LEAST_EXAMPLES:
        raise InvalidDatasetError(
            f"it has {num_rows} rows of data; at least {LEAST_EXAMPLES} are needed"
        )
    target = target_of([column.name for column in columns], options)
    _check_target(columns, target, limits)
    features = [column for column in columns if column.name != target and column.is_feature]
    width = sum(column.width for column in features)
    if not width:
        raise InvalidDatasetError("no column can be used as a feature")
    told = f"{num_rows} rows of {width} inputs, each text of a column counted as one,"
    if width > limits.columns:
        raise InvalidDatasetError(f"{told} are too many: {limits.columns} inputs are possible")
    room = room_for(num_rows * width * _FLOAT_BYTES, told, limits)
    wanted = [column for column in columns if column in features or column.name == target]
    inputs = room.empty((num_rows, width), np.float32)
    targets: list[NDArray[Any]] = []
    varies, at = _Variety(), 0
    for block in blocks(wanted, max(1, _BLOCK_CELLS // len(wanted))):
        rows = inputs[at : at + len(block[target])]
        _fill(rows, features, block, at)
        targets.append(block[target].copy())
        varies.learn(block)
        at += len(rows)
    if at != num_rows:
        raise InvalidDatasetError(f"it has {at} rows, and said that there are {num_rows}")
    found = _targets(columns, target, np.concatenate(targets), options, limits, room)
    return Content(
        "features",
        found.task,
        {"all": Part(inputs, found.values)},
        found.num_outputs,
        found.classes,
        target,
        fields=tuple(_field(column) for column in columns),
        warnings=tuple(_warnings(columns, target, varies)),
        room=room,
    )


class _Variety:
    """Which columns are the same in every row so far."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self.varied: set[str] = set()

    def learn(self, block: Block) -> None:
        for name, values in block.items():
            if (
                name not in self.varied
                and not (values == self._first.setdefault(name, values[0])).all()
            ):
                self.varied.add(name)


def _check_target(columns: Sequence[Column], target: str, limits: Limits) -> None:
    if not next(column for column in columns if column.name == target).is_feature:
        told = f"it has more than {limits.classes} different texts, too many for classes"
        raise InvalidDatasetError(f"target {target!r}: {told}", target=target)


def _targets(
    columns: Sequence[Column],
    target: str,
    values: NDArray[Any],
    options: Options,
    limits: Limits,
    room: Room,
) -> Targets:
    column = next(column for column in columns if column.name == target)
    if column.type != "text":
        return encoded(values, target, options.task, limits, room)
    return encoded_texts(values, column.labels, target, options.task, limits)


def _fill(inputs: NDArray[Any], features: Sequence[Column], block: Block, num_before: int) -> None:
    """Write a block into its rows of the inputs, behind so many rows."""
    at = 0
    for column in features:
        values = block[column.name]
        if column.type == "text":
            inputs[:, at : at + column.width] = 0.0
            inputs[np.arange(len(inputs)), at + values] = 1.0
        else:
            with np.errstate(over="ignore"):
                inputs[:, at] = values
            _check_range(inputs[:, at], column.name, num_before)
        at += column.width


def _check_range(values: NDArray[Any], name: str, num_before: int) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row = num_before + int(np.argmin(finite)) + 1
        told = "a number is beyond float32 (3.4e38)"
        raise InvalidDatasetError(f"row {row}, column {name!r}: {told}", row=row, column=name)


def _field(column: Column) -> Field:
    distinct = len(column.categories) if column.categories is not None else None
    return Field(column.name, column.type, (), distinct if column.type == "text" else None)


def _warnings(columns: Sequence[Column], target: str, varies: _Variety) -> list[str]:
    told = []
    for column in columns:
        if column.name != target and not column.is_feature:
            told.append(f"column {column.name!r} has too many different texts and is not used")
        elif column.name != target and column.name not in varies.varied:
            told.append(f"column {column.name!r} is the same in every row")
    return told


def parsed_number(cell: str) -> tuple[ColumnType, float]:
    """What a cell is, and its value where it is a finite number.

    Raises:
        ValueError: it is NaN or infinite.
    """
    if "_" in cell:  # Python would take 1_000 for a number
        return "text", 0.0
    try:
        value = float(cell)
    except ValueError:
        return "text", 0.0
    if not math.isfinite(value):
        raise ValueError("it is not a finite number")
    digits = cell.strip().lstrip("+-")
    return ("integer" if digits.isdecimal() and len(digits) < 19 else "number"), value
