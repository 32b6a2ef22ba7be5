"""csv: a line of column names, then rows of cells; UTF-8, separated by comma, semicolon or tab."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.columns import (
    Block,
    Column,
    check_names,
    content_of,
    parsed_number,
    target_of,
)
from lrtuner.datasets.content import Content
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Options
from lrtuner.errors import InvalidDatasetError

_SEPARATORS = (",", ";", "\t")


def read(path: Path, options: Options, limits: Limits) -> Content:
    """The target is the column that the options name, or the last; every other one is a feature.

    Columns whose every cell is a number are numbers, others are categories. The file is read twice:
    first for what is in each column, then for the values, so that no more than a few rows of text
    are in memory.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`. Empty cells are refused: what to put there
            is not for a tuner to decide.
    """
    columns, num_rows = _survey(path, options, limits)

    def blocks(wanted: Sequence[Column], most: int) -> Iterator[Block]:
        return _blocks(path, columns, wanted, most, limits)

    return content_of(columns, num_rows, blocks, options, limits)


def _survey(path: Path, options: Options, limits: Limits) -> tuple[list[Column], int]:
    """What is in each column, and the number of rows."""
    columns: list[Column] = []
    target = ""
    num_rows = 0
    for row, cells in _rows(path, limits):
        if row == 0:
            check_names(cells, limits)
            if all(parsed_number(cell)[0] != "text" for cell in cells):
                raise InvalidDatasetError(
                    "the first line holds numbers; it must name the columns", row=0
                )
            columns = [Column(name, categories=set()) for name in cells]
            target = target_of(cells, options)
            continue
        num_rows = row
        for column, cell in zip(columns, cells, strict=True):
            _learn(
                column, cell, row, limits.classes if column.name == target else limits.categories
            )
    return columns, num_rows


def _learn(column: Column, cell: str, row: int, most: int) -> None:
    if not cell.strip():
        raise _refused(row, column.name, "the cell is empty; fill it or leave the row out")
    try:
        kind, _value = parsed_number(cell)
    except ValueError as error:
        raise _refused(row, column.name, f"{cell:.50}: {error}") from None
    if kind == "text" or (kind == "number" and column.type == "integer"):
        column.type = kind
    if column.categories is not None:
        column.categories.add(cell)
        if len(column.categories) > most:
            column.categories = None


def _blocks(
    path: Path, columns: list[Column], wanted: Sequence[Column], most: int, limits: Limits
) -> Iterator[Block]:
    found: dict[str, NDArray[Any]] = {}
    takers: list[tuple[int, Column, NDArray[Any], dict[str, int]]] = []
    for index, column in enumerate(columns):
        if column not in wanted:
            continue
        dtype = {"text": np.int64, "integer": np.int64, "number": np.float64}[column.type]
        codes = {text: code for code, text in enumerate(column.labels)}
        found[column.name] = np.empty(most, dtype)
        takers.append((index, column, found[column.name], codes))
    number = 0
    for row, cells in _rows(path, limits):
        if not row:
            continue
        for index, column, array, codes in takers:
            cell = cells[index]
            array[number] = codes[cell] if column.type == "text" else _number(column, cell)
        number += 1
        if number == most:
            yield found
            number = 0
    if number:
        yield {name: array[:number] for name, array in found.items()}


def _number(column: Column, cell: str) -> float | int:
    return int(cell) if column.type == "integer" else float(cell)


def _rows(path: Path, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    """Row 0 is the header. Every row has as many cells as it; blank lines are left out."""
    csv.field_size_limit(limits.cell_chars)
    with path.open(encoding="utf-8-sig", newline="") as file:
        row, width = -1, 0
        try:
            lines = _lines(file, limits)
            first = next(lines, "")
            separator = max(_SEPARATORS, key=first.count)
            for cells in csv.reader(_again(first, lines), delimiter=separator, strict=True):
                if not cells:
                    continue
                row += 1
                if row == 0:
                    width = len(cells)
                if len(cells) != width:
                    told = f"row {row} has {len(cells)} cells, the header {width}"
                    raise InvalidDatasetError(told, row=row)
                yield row, cells
        except UnicodeDecodeError as error:
            told = f"behind row {row}: byte {error.object[error.start]:#04x} is not UTF-8"
            raise InvalidDatasetError(f"{told}; save the file in UTF-8", row=row + 1) from None
        except csv.Error as error:
            raise InvalidDatasetError(f"row {row + 1}: {error}", row=row + 1) from None
        if row < 0:
            raise InvalidDatasetError("it has no line")


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _lines(file: TextIO, limits: Limits) -> Iterator[str]:
    number = 0
    while line := file.readline(limits.line_chars):
        number += 1
        if len(line) >= limits.line_chars:
            told = f"line {number} has more than {limits.line_chars - 1} characters"
            raise InvalidDatasetError(told, line=number)
        if "\x00" in line:
            raise InvalidDatasetError(f"line {number} holds a NUL byte", line=number)
        yield line


def _refused(row: int, column: str, reason: str) -> InvalidDatasetError:
    shown = ascii(column[:100])
    return InvalidDatasetError(f"row {row}, column {shown}: {reason}", row=row, column=shown)
