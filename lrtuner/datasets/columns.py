"""Columns as content: numbers as they are, texts as one input per category, one target column."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.content import LEAST_EXAMPLES, Content, Field, Part
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Options
from lrtuner.datasets.targets import Targets, encoded, encoded_texts
from lrtuner.errors import InvalidDatasetError

ColumnType = Literal["text", "integer", "number"]

_FLOAT_BYTES = 4


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


def content_of(
    columns: Sequence[Column],
    num_rows: int,
    values: Callable[[Sequence[Column]], dict[str, NDArray[Any]]],
    options: Options,
    limits: Limits,
) -> Content:
    """The content of a table.

    Args:
        columns: all of them, in their order.
        num_rows: without the header.
        values: reads columns by name: finite float64 or int64, of texts their numbers.
        options: which column holds the targets, and what they are.
        limits: of the size in memory.

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
    if width > limits.columns or num_rows * width * _FLOAT_BYTES > limits.array_bytes:
        told = f"{num_rows} rows of {width} inputs, each text of a column counted as one, take"
        raise InvalidDatasetError(
            f"{told} {num_rows * width * _FLOAT_BYTES} bytes in memory; at most {limits.columns} "
            f"inputs and {limits.array_bytes} bytes are possible"
        )
    wanted = [column for column in columns if column in features or column.name == target]
    found = values(wanted)
    targets = _targets(columns, target, found[target], options, limits)
    part = Part(_inputs(features, found, width, num_rows), targets.values)
    return Content(
        "features",
        targets.task,
        {"all": part},
        targets.num_outputs,
        targets.classes,
        target,
        fields=tuple(_field(column) for column in columns),
        warnings=tuple(_warnings(columns, target, found)),
    )


def _check_target(columns: Sequence[Column], target: str, limits: Limits) -> None:
    if not next(column for column in columns if column.name == target).is_feature:
        told = f"it has more than {limits.classes} different texts, too many for classes"
        raise InvalidDatasetError(f"target {target!r}: {told}", target=target)


def _targets(
    columns: Sequence[Column], target: str, values: NDArray[Any], options: Options, limits: Limits
) -> Targets:
    column = next(column for column in columns if column.name == target)
    if column.type != "text":
        return encoded(values, target, options.task, limits)
    return encoded_texts(values, column.labels, target, options.task, limits)


def _inputs(
    features: Sequence[Column], found: dict[str, NDArray[Any]], width: int, num_rows: int
) -> NDArray[Any]:
    inputs = np.zeros((num_rows, width), np.float32)
    at = 0
    for column in features:
        values = found[column.name]
        if column.type == "text":
            inputs[np.arange(num_rows), at + values] = 1.0
        else:
            with np.errstate(over="ignore"):
                inputs[:, at] = values
            _check_range(inputs[:, at], column.name)
        at += column.width
    return inputs


def _check_range(values: NDArray[Any], name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite)) + 1
        told = "a number is beyond float32 (3.4e38)"
        raise InvalidDatasetError(f"row {row}, column {name!r}: {told}", row=row, column=name)


def _field(column: Column) -> Field:
    distinct = len(column.categories) if column.categories is not None else None
    return Field(column.name, column.type, (), distinct if column.type == "text" else None)


def _warnings(columns: Sequence[Column], target: str, found: dict[str, NDArray[Any]]) -> list[str]:
    told = []
    for column in columns:
        if column.name != target and not column.is_feature:
            told.append(f"column {column.name!r} has too many different texts and is not used")
        elif column.name in found and column.name != target:
            values = found[column.name]
            if bool((values == values[0]).all()):
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
