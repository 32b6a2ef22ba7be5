"""What `save_to_disk` of Hugging Face datasets wrote: Arrow files, and JSON that tells of them.

Read straight with pyarrow: neither the library's pickled parts nor its loading scripts are needed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lrtuner.datasets.content import SPLIT_NAMES
from lrtuner.errors import InvalidDatasetError
from worker.sources.libraries import first_line, missing


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

    def column(self, name: str) -> dict[str, Any]:
        """A column of each split.

        Raises:
            InvalidDatasetError: there is none of that name.
        """
        if any(name not in table.column_names for table in self.tables.values()):
            told = f"there is no column {name!r}; there are {', '.join(self.columns)[:500]}"
            raise InvalidDatasetError(told, column=name)
        return {split: table.column(name) for split, table in self.tables.items()}


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
