"""What `save_to_disk` of Hugging Face datasets wrote: Arrow files, and JSON that tells of them.

Read straight with pyarrow: neither the library's pickled parts nor its loading scripts are needed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.content import SPLIT_NAMES, Field
from lrtuner.errors import InvalidDatasetError
from worker.sources.libraries import first_line, missing

_TYPE_CHARS = 200


@dataclass(frozen=True)
class Saved:
    """A dataset as it was saved.

    Attributes:
        tables: an Arrow table for each split; `all` where there are none.
        classes: the names of the classes of each column that has some.
        unused: splits by other names than train, validation and test.
    """

    tables: Mapping[str, Any]
    classes: Mapping[str, tuple[str, ...]]
    unused: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Their names."""
        names: list[str] = next(iter(self.tables.values())).column_names
        return names

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns with their types, in Arrow's terms."""
        schema = next(iter(self.tables.values())).schema
        return tuple(Field(column.name, str(column.type)[:_TYPE_CHARS]) for column in schema)

    def column(self, name: str) -> dict[str, Any]:
        """A column of each split.

        Raises:
            InvalidDatasetError: there is none of that name, or splits hold different things in it.
        """
        if any(name not in table.column_names for table in self.tables.values()):
            told = f"there is no column {name!r}; there are {', '.join(self.columns)[:500]}"
            raise InvalidDatasetError(told, column=name)
        columns = {split: table.column(name) for split, table in self.tables.items()}
        if len({column.type for column in columns.values()}) > 1:
            found = ", ".join(f"{column.type} in {split}" for split, column in columns.items())
            raise InvalidDatasetError(f"column {name!r} holds {found[:500]}", column=name)
        return columns


def read(folder: Path) -> Saved:
    """The dataset in a folder: mapped into memory, not copied.

    Raises:
        InvalidDatasetError: the folder is not of that kind, or damaged.
        JobFailedError: pyarrow is not installed.
    """
    if not (folder / "dataset_dict.json").is_file():
        return Saved({"all": _table(folder)}, _classes(folder))
    names = _json(folder / "dataset_dict.json").get("splits", [])
    places: dict[str, Path] = {}
    for name in names:
        split = SPLIT_NAMES.get(name)
        if split in places:
            raise InvalidDatasetError(f"there are two splits for {split}: {', '.join(names)}")
        if split is not None:
            places[split] = folder / _plain(name)
    if "train" not in places:
        raise InvalidDatasetError(f"there is no split train, only {', '.join(names)}")
    unused = tuple(name for name in names if name not in SPLIT_NAMES)
    tables = {split: _table(place) for split, place in places.items()}
    if len({tuple(table.column_names) for table in tables.values()}) > 1:
        raise InvalidDatasetError("its splits have different columns")
    return Saved(tables, _classes(places["train"]), unused)


def texts(columns: Sequence[Any]) -> tuple[NDArray[Any], tuple[str, ...]] | None:
    """Texts of several splits as numbers into the different ones; None where there are others."""
    import pyarrow  # noqa: PLC0415 - an extra
    import pyarrow.compute  # noqa: PLC0415

    joined = _joined(columns)
    if not (pyarrow.types.is_string(joined.type) or pyarrow.types.is_large_string(joined.type)):
        return None
    names = sorted(joined.unique().to_pylist())
    codes = pyarrow.compute.index_in(joined, value_set=pyarrow.array(names, joined.type))
    return codes.to_numpy(), tuple(names)


def numbers(columns: Sequence[Any]) -> NDArray[Any] | None:
    """Numbers or truth values of several splits, or lists of as many each; None if there are none.

    Their first dimension is the example.
    """
    joined = _joined(columns)
    listed = holds_lists(joined.type)
    if not _are_numbers(joined.type.value_type if listed else joined.type):
        return None
    if not listed:
        return _array(joined)
    counts = {int(n) for chunk in joined.chunks for n in np.unique(_array(chunk.value_lengths()))}
    flat = [chunk.flatten() for chunk in joined.chunks]
    if len(counts) != 1 or any(values.null_count for values in flat):
        return None
    return np.concatenate([_array(values) for values in flat]).reshape(len(joined), -1)


def pieces(column: Any, name: str, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Lists of whole numbers: at most so many at once, one after another, with their lengths.

    Raises:
        InvalidDatasetError: a number is missing.
    """
    for start in range(0, len(column), rows):
        for chunk in column.slice(start, rows).chunks:
            values = chunk.flatten()
            if values.null_count:
                told = f"column {name!r}: some of its lists have gaps"
                raise InvalidDatasetError(told, column=name)
            yield _array(values).astype(np.int64), _array(chunk.value_lengths()).astype(np.int64)


def holds_lists(kind: Any, *, whole: bool = False) -> bool:
    """Whether an Arrow type is that of lists; on demand of lists of whole numbers."""
    import pyarrow  # noqa: PLC0415 - an extra

    types = pyarrow.types
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return listed and (not whole or types.is_integer(kind.value_type))


def _are_numbers(kind: Any) -> bool:
    import pyarrow  # noqa: PLC0415 - an extra

    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _joined(columns: Sequence[Any]) -> Any:
    import pyarrow  # noqa: PLC0415 - an extra

    chunks = [chunk for column in columns for chunk in column.chunks]
    return pyarrow.chunked_array(chunks, type=columns[0].type)


def _array(values: Any) -> NDArray[Any]:
    """Arrow's values, or several chunks of them, as one array."""
    chunks = getattr(values, "chunks", [values])
    return np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in chunks])


def _table(folder: Path) -> Any:
    try:
        import pyarrow  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing("pyarrow", error, "dataset.source") from None
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        told = "it was saved with indices, by an old version of datasets; save it anew"
        raise InvalidDatasetError(told)
    tables = []
    for entry in state.get("_data_files", []):
        file = folder / _plain(entry["filename"])
        try:
            with pyarrow.memory_map(str(file)) as mapped:
                tables.append(pyarrow.ipc.open_stream(mapped).read_all())
        except (pyarrow.ArrowException, OSError) as error:
            told = f"{file.name} is no intact Arrow file: {first_line(error)}"
            raise InvalidDatasetError(told) from None
    if not tables:
        raise InvalidDatasetError(f"{folder.name} names no data files")
    return pyarrow.concat_tables(tables)


def _classes(folder: Path) -> dict[str, tuple[str, ...]]:
    features = _json(folder / "dataset_info.json").get("features") or {}
    return {
        name: tuple(feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        told = f"it is no dataset as save_to_disk writes it: {file.name}: {first_line(error)}"
        raise InvalidDatasetError(told) from None
    if not isinstance(found, dict):
        raise InvalidDatasetError(f"{file.name} holds no object")
    return found


def _plain(name: str) -> str:
    """The name of a file or folder that lies here, and nowhere else."""
    if PurePath(name).name != name or name == "..":
        raise InvalidDatasetError(f"it names a file elsewhere: {name!r}")
    return name
