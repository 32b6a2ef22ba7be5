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
    inspection   what is told about a file
    cut          content in three splits
    folder       the folder that holds uploads, and that of the operator
"""

from collections.abc import Callable
from pathlib import Path

from lrtuner.datasets import csv, images, npz, parquet, safetensors, text
from lrtuner.datasets.content import Content
from lrtuner.datasets.inspection import Inspection, inspected
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Format, Options
from lrtuner.errors import InvalidDatasetError

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "TABLES",
    "Content",
    "Format",
    "Inspection",
    "Limits",
    "Options",
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
