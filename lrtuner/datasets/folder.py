"""The folder that holds uploads, named by their content, and the operator's own folder of data."""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from lrtuner.datasets.options import Format
from lrtuner.errors import InvalidDatasetError, NotFoundError

_FORMAT: TypeAdapter[Format] = TypeAdapter(Format)

DatasetId = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""What an upload is called: the SHA-256 of its bytes."""


def _stays_inside(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or ".." in parts or not path.isprintable():
        raise ValueError("it must be a path below the data root: relative, printable, without ..")
    return path


RelativePath = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_stays_inside)]


def uploads(data_dir: Path) -> Path:
    """Where uploads are kept."""
    return data_dir / "datasets"


def upload_path(data_dir: Path, dataset_id: str, format: str) -> Path:
    """Where the upload of that id is kept: `sha256-<hex>.<format>`."""
    return uploads(data_dir) / f"{dataset_id.replace(':', '-')}.{format}"


def find_upload(data_dir: Path, dataset_id: str) -> tuple[Path, Format]:
    """The file of an upload, its content checked against its name, and its format.

    Raises:
        NotFoundError: it is not in the folder.
        InvalidDatasetError: its content has changed.
    """
    for path in uploads(data_dir).glob(f"{dataset_id.replace(':', '-')}.*"):
        if sha256(path) != dataset_id:
            raise InvalidDatasetError(f"the file of dataset {dataset_id} has changed on disk")
        return path, _FORMAT.validate_python(path.suffix.removeprefix("."))
    raise NotFoundError(
        f"dataset {dataset_id} is not in {uploads(data_dir)}: the API and its workers must share "
        "the folder that LRTUNER_DATA_DIR names"
    )


def sha256(path: Path) -> str:
    """The id of a file's content."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def below(root: Path, relative: str) -> Path:
    """The file or folder at `relative` below `root`, with every link followed.

    Raises:
        NotFoundError: there is none.
        InvalidDatasetError: it lies outside of `root`.
    """
    root = root.resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise InvalidDatasetError(f"dataset.path: {relative!r} leads out of the data root")
    if not path.is_file() and not path.is_dir():
        raise NotFoundError(f"dataset.path: there is no file {relative!r} below the data root")
    return path
