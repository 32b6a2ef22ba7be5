"""Files of examples: what formats there are, how each is read, and what is told about it.

Nothing in a file is trusted: sizes are checked before anything of that size is made, nothing is
unpickled, and what does not fit is refused with the place and the reason, never repaired.

    content      what every format gives: inputs, targets, splits
    options      what a job may say about a file
    limits       how large a file may be in each direction
    arrays       named arrays as content       (npz, safetensors)
    columns      columns as content            (csv, parquet)
    targets      targets as class numbers or as numbers
    room         where arrays lie: in memory, or on disk
    archive      the entries of a zip file     (npz, images)
    members      the files of a folder or zip  (idx, cifar)
    inspection   what is told about a file
    cut          content in three splits
    folder       the folder that holds uploads, and that of the operator
"""

from collections.abc import Callable
from pathlib import Path

from lrtuner.datasets import cifar, csv, idx, images, npz, parquet, safetensors, text
from lrtuner.datasets.content import Content
from lrtuner.datasets.inspection import Inspection, inspected
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Format, Options
from lrtuner.errors import InvalidDatasetError

__all__ = [
    "FOLDERS",
    "FORMATS",
    "SUFFIXES",
    "TABLES",
    "Content",
    "Format",
    "Inspection",
    "Limits",
    "Options",
    "folder_format",
    "inspect",
    "read",
]

Reader = Callable[[Path, Options, Limits], Content]

# The one line that a new format adds itself to, beside its name in `Format`.
FORMATS: dict[Format, Reader] = {
    "npz": npz.read,
    "csv": csv.read,
    "safetensors": safetensors.read,
    "parquet": parquet.read,
    "images": images.read,
    "text": text.read,
    "idx": idx.read,
    "cifar": cifar.read,
}

#: Which format a file's name stands for.
SUFFIXES: dict[str, Format] = {
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "csv",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".zip": "images",
    ".txt": "text",
}

#: Those with columns, one of which is the target.
TABLES: tuple[Format, ...] = ("csv", "parquet")

#: Those that may be a folder, by how its files are named.
FOLDERS: dict[Format, Callable[[str], bool]] = {"idx": idx.is_idx, "cifar": cifar.is_cifar}


def folder_format(path: Path) -> Format:
    """The format that a folder is in, by the names of its files.

    Raises:
        InvalidDatasetError: it is no folder, or none of a known format.
    """
    names = [file.name for file in path.iterdir()] if path.is_dir() else []
    for format, fits in FOLDERS.items():
        if any(map(fits, names)):
            return format
    what = f"a folder in none of these formats: {', '.join(FOLDERS)}" if names else "no folder"
    told = f"{path.name!r} has no ending that tells a format, and is {what}"
    raise InvalidDatasetError(f"{told}; give dataset.format")


def read(path: Path, format: Format, options: Options, limits: Limits) -> Content:
    """The examples in a file.

    Args:
        path: of the file.
        format: a key of `FORMATS`.
        options: what the job says about the file.
        limits: how large it may be.

    Raises:
        InvalidDatasetError: the file is not of that format, damaged, too large, or does not fit
            the options; `where` names the row, column, entry or array.
    """
    if path.is_dir() and format not in FOLDERS:
        raise InvalidDatasetError(f"it is a folder; a {format} data set is a file")
    if not path.stat().st_size:
        raise InvalidDatasetError("the file is empty")
    try:
        content = FORMATS[format](path, options, limits)
    except MemoryError:
        raise InvalidDatasetError("reading it takes more memory than there is") from None
    except RecursionError:
        raise InvalidDatasetError("it is nested too deeply") from None
    if options.kind not in (None, content.kind):
        raise InvalidDatasetError(f"args.kind: {options.kind!r}, but it holds {content.kind}")
    return content


def inspect(path: Path, format: Format, options: Options, limits: Limits) -> Inspection:
    """What is in a file.

    Raises:
        InvalidDatasetError: as `read`.
    """
    return inspected(format, read(path, format, options, limits))
