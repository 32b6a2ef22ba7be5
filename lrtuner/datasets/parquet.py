"""Apache Parquet: a table in columns, read with pyarrow."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.columns import Column, ColumnType, check_names, content_of, target_of
from lrtuner.datasets.content import Content
from lrtuner.datasets.limits import MEBIBYTE, Limits
from lrtuner.datasets.options import Options
from lrtuner.errors import InvalidDatasetError, UnsupportedError

_HEADER_LIMIT = 16 * MEBIBYTE


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
    found: dict[str, NDArray[Any]] = {}
    columns = []
    for name, kind in zip(names, file.schema_arrow.types, strict=True):
        column = Column(name, _type(arrow, name, kind))
        values = _values(file, name, column.type, meta.num_rows)
        most = limits.classes if name == target else limits.categories
        if column.type == "text":
            texts = set(np.unique(values).tolist())
            column.categories = texts if len(texts) <= most else None
        columns.append(column)
        if column.is_feature or name == target:
            found[name] = values

    def known(wanted: Sequence[Column]) -> dict[str, NDArray[Any]]:
        return {column.name: found[column.name] for column in wanted}

    return content_of(columns, meta.num_rows, known, options, limits)


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


def _values(file: Any, name: str, kind: ColumnType, num_rows: int) -> NDArray[Any]:
    column = file.read(columns=[name], use_threads=False).column(0)
    if len(column) != num_rows:
        told = f"{len(column)} values, the file says {num_rows}"
        raise InvalidDatasetError(f"column {name!r}: {told}", column=name)
    if column.null_count:
        told = f"{column.null_count} values are missing; fill them or leave the rows out"
        raise InvalidDatasetError(f"column {name!r}: {told}", column=name)
    if kind == "text":
        return np.array(column.to_pylist(), dtype=np.str_).reshape(num_rows)
    values: NDArray[Any] = column.to_numpy()
    if kind == "integer":
        return values.astype(np.int64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values))) + 1
        told = "it is not a finite number"
        raise InvalidDatasetError(f"row {row}, column {name!r}: {told}", row=row, column=name)
    return values.astype(np.float64)


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
