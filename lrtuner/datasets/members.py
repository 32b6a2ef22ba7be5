"""The files of a data set of several: in a folder of the operator, or in a zip file."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from lrtuner.datasets import archive
from lrtuner.datasets.limits import Limits
from lrtuner.errors import InvalidDatasetError

_MOST_FILES = 1000

Members = Mapping[str, Callable[[], AbstractContextManager[IO[bytes]]]]
"""What opens each file, by its name without folders; `.gz` is unpacked as it is read."""


@contextmanager
def members(path: Path, limits: Limits) -> Iterator[Members]:
    """The files in a folder (not those in folders below it), or in a zip file.

    Raises:
        InvalidDatasetError: two files of a zip file have the same name, or as `archive.files`; also
            from reading a file that is damaged.
    """
    if path.is_dir():
        yield _in_folder(path)
        return
    with archive.opened(path) as file:
        found = {}
        for info in archive.files(file, limits, total=limits.array_bytes):
            name = PurePosixPath(info.filename).name
            if name in found:
                raise InvalidDatasetError(f"entry {name!r}: it is there twice", entry=name)
            found[name] = partial(_unpacked, name, partial(archive.entry, file, info))
        yield found


def _in_folder(path: Path) -> Members:
    found: dict[str, Callable[[], AbstractContextManager[IO[bytes]]]] = {}
    for file in sorted(path.iterdir())[:_MOST_FILES]:
        # a link may lead elsewhere, even out of the data root
        if file.is_file() and file.resolve().parent == path.resolve():
            found[file.name] = partial(_unpacked, file.name, partial(_opened, file))
    return found


def _opened(file: Path) -> IO[bytes]:
    return file.open("rb")


@contextmanager
def _unpacked(
    name: str, opened: Callable[[], AbstractContextManager[IO[bytes]]]
) -> Iterator[IO[bytes]]:
    try:
        with opened() as stream:
            if not name.endswith(".gz"):
                yield stream
                return
            with gzip.GzipFile(fileobj=stream) as inner:
                yield cast("IO[bytes]", inner)
    except (OSError, EOFError, zlib.error) as error:
        shown = ascii(name[:100])
        raise InvalidDatasetError(f"file {shown} is damaged: {error}", entry=shown) from None
