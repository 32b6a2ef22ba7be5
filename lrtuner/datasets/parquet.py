"""Apache Parquet: a table in columns, read with pyarrow."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.columns import Block, Column, ColumnType, check_names, content_of, target_of
from lrtuner.datasets.content import Content
from lrtuner.datasets.limits import MEBIBYTE, Limits
from lrtuner.datasets.options import Options
from lrtuner.errors import InvalidDatasetError, UnsupportedError

_HEADER_LIMIT = 16 * MEBIBYTE
_BUFFER_BYTES = MEBIBYTE // 16
_BLOCK_TEXTS = 1 << 16


def read(path: Path, options: Options, limits: Limits) -> Content:
    """A flat table of numbers, truth values and texts; the target as in a csv file.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
        UnsupportedError: pyarrow is not installed.
    """
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(
            path,
            thrift_string_size_limit=_HEADER_LIMIT,
            thrift_container_size_limit=limits.columns * 100,
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
        ) as file:
            return _content(file, arrow, options, limits)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidDatasetError(f"it is no intact Parquet file: {told:.200}") from None


def _content(file: Any, arrow: Any, options: Options, limits: Limits) -> Content:
    meta = file.metadata
    names = list(file.schema_arrow.names)
    check_names(names, limits)
    size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    if max(size, meta.num_rows * len(names)) > limits.array_bytes:
        told = f"{meta.num_rows} rows of {len(names)} columns, {size} bytes when unpacked"
        raise InvalidDatasetError(f"{told}; at most {limits.array_bytes} are possible")
    target = target_of(names, options)
    columns = []
    for name, kind in zip(names, file.schema_arrow.types, strict=True):
        column = Column(name, _type(arrow, name, kind))
        if column.type == "text":
            _learn(file, column, limits.classes if name == target else limits.categories, limits)
        columns.append(column)

    def blocks(wanted: Sequence[Column], most: int) -> Iterator[Block]:
        at = 0
        for batch in _batches(file, [column.name for column in wanted], most):
            yield {column.name: _values(batch.column(column.name), column, at) for column in wanted}
            at += len(batch)
            if at > meta.num_rows:
                raise InvalidDatasetError(f"it has more rows than the {meta.num_rows} that it says")

    return content_of(columns, meta.num_rows, blocks, options, limits)


def _batches(file: Any, names: list[str], most: int) -> Iterator[Any]:
    """Rows of these columns, of one group of rows after another."""
    yield from file.iter_batches(batch_size=most, columns=names, use_threads=False)


def _type(arrow: Any, name: str, kind: Any) -> ColumnType:
    types = arrow.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_integer(kind) or types.is_boolean(kind):
        return "integer"
    if types.is_floating(kind):
        return "number"
    told = f"its type is {kind!s:.50}; numbers, truth values and texts are read"
    raise InvalidDatasetError(f"column {name!r}: {told}", column=name)


def _learn(file: Any, column: Column, most: int, limits: Limits) -> None:
    """Which texts there are; none where there are too many different ones."""
    column.categories = set()
    for batch in _batches(file, [column.name], _BLOCK_TEXTS):
        values = _whole(batch.column(0), column.name)
        encoded = values.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        if any(len(text) > limits.cell_chars or "\x00" in text for text in texts):
            told = f"a text holds NUL or more than {limits.cell_chars} characters"
            raise InvalidDatasetError(f"column {column.name!r}: {told}", column=column.name)
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        if column.categories is not None:
            column.categories.update(texts[code] for code in np.unique(codes).tolist())
            if len(column.categories) > most:
                column.categories = None


def _values(read: Any, column: Column, num_before: int) -> NDArray[Any]:
    """A column of a block that comes behind so many rows."""
    name = column.name
    read = _whole(read, name)
    if column.type == "text":
        encoded = read.dictionary_encode()
        numbers = {text: number for number, text in enumerate(column.labels)}
        ranks = np.array([numbers.get(text, -1) for text in encoded.dictionary.to_pylist()])
        codes: NDArray[Any] = np.take(ranks, encoded.indices.to_numpy(zero_copy_only=False))
        return codes
    values: NDArray[Any] = read.to_numpy(zero_copy_only=False)
    if column.type == "integer":
        return values.astype(np.int64)
    if not np.isfinite(values).all():
        row = num_before + int(np.argmin(np.isfinite(values))) + 1
        told = "it is not a finite number"
        raise InvalidDatasetError(f"row {row}, column {name!r}: {told}", row=row, column=name)
    return values.astype(np.float64)


def _whole(read: Any, name: str) -> Any:
    """The values, none of which is missing."""
    if read.null_count:
        told = f"{read.null_count} values are missing; fill them or leave the rows out"
        raise InvalidDatasetError(f"column {name!r}: {told}", column=name)
    return read


_importing = threading.Lock()


def _pyarrow() -> tuple[Any, Any]:
    with _importing:
        try:
            import pyarrow  # noqa: PLC0415 - an extra
            import pyarrow.parquet  # noqa: PLC0415
        except ImportError:
            raise UnsupportedError(
                "Parquet needs pyarrow: pip install 'lrtuner[datasets]'"
            ) from None
    return pyarrow, pyarrow.parquet
