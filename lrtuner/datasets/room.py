"""Where arrays lie while they are read and trained on: in memory, or paged in from disk."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrtuner.datasets.limits import MEBIBYTE, Limits
from lrtuner.errors import InvalidDatasetError

_CHUNK_BYTES = 4 * MEBIBYTE

_SPARE_BYTES = 1024 * MEBIBYTE
"""So much is left free on the disk, for the database that may lie there too."""


@dataclass(frozen=True)
class Room:
    """Makes the arrays of one data set.

    Attributes:
        folder: where files for them are made; None where they lie in memory. The files have no
            name, so that nothing is left of them however the process ends, and the system keeps of
            them in memory what there is room for.
    """

    folder: Path | None = None

    @property
    def streamed(self) -> bool:
        """Whether arrays lie on disk."""
        return self.folder is not None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array to be filled.

        Raises:
            InvalidDatasetError: the disk has no room for it.
        """
        size = prod(shape) * np.dtype(dtype).itemsize
        if self.folder is None or not size:
            return np.empty(shape, dtype)
        with reserved(self.folder, size) as file:
            return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)

    def converted(
        self, values: NDArray[Any], dtype: DTypeLike, divisor: float = 1.0
    ) -> NDArray[Any]:
        """The values in that type and in C order; the same array where it is that already."""
        if values.dtype == dtype and values.flags.c_contiguous and divisor == 1.0:
            return values
        made = self.empty(values.shape, dtype)
        for rows in chunks(made):
            made[rows] = values[rows]
            if divisor != 1.0:
                made[rows] /= made.dtype.type(divisor)
        return made

    def taken(self, values: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
        """The rows of that index."""
        made = self.empty((len(index), *values.shape[1:]), values.dtype)
        for rows in chunks(made):
            made[rows] = values[index[rows]]
        return made

    def joined(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        """One array of the rows of all; the same array where there is only one."""
        if len(arrays) == 1:
            return arrays[0]
        dtype = np.result_type(*arrays)
        made, at = self.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), dtype), 0
        for values in arrays:
            for rows in chunks(values):
                made[at + rows.start : at + rows.stop] = values[rows]
            at += len(values)
        return made


IN_MEMORY = Room()


def room_for(size: int, what: str, limits: Limits) -> Room:
    """Where a data set of `size` bytes lies: above what may be preloaded, on disk.

    Raises:
        InvalidDatasetError: it is larger than any may be; `what` says what of it.
    """
    if size > limits.array_bytes:
        told = f"{what} takes {size} bytes as arrays; at most {limits.array_bytes} are possible"
        raise InvalidDatasetError(f"{told} (LRTUNER_MAX_DATASET_MB)")
    if size <= limits.preload_bytes:
        return IN_MEMORY
    return Room(limits.scratch or Path(tempfile.gettempdir()))


def chunks(values: NDArray[Any]) -> Iterator[slice]:
    """Stretches of rows of some megabytes: the same for arrays in memory and on disk."""
    step = max(1, _CHUNK_BYTES // max(1, prod(values.shape[1:]) * values.itemsize))
    for start in range(0, len(values), step):
        yield slice(start, min(start + step, len(values)))


def filled(stream: IO[bytes], values: NDArray[Any]) -> bool:
    """Read the bytes of an array in C order; whether there were as many."""
    data = values.reshape(-1).view(np.uint8)
    for start in range(0, len(data), _CHUNK_BYTES):
        wanted = min(_CHUNK_BYTES, len(data) - start)
        found = stream.read(wanted)
        data[start : start + len(found)] = np.frombuffer(found, np.uint8)
        if len(found) < wanted:
            return False
    return True


@contextmanager
def reserved(folder: Path, size: int) -> Iterator[IO[bytes]]:
    """A file of that size without a name, until it is closed and nothing maps it any more.

    Raises:
        InvalidDatasetError: the disk has no room for it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < size + _SPARE_BYTES:
            raise _no_room(folder, size)
        with tempfile.TemporaryFile(dir=folder) as file:
            # taken now, or a full disk would end the process when it writes into the array
            os.posix_fallocate(file.fileno(), 0, size)
            yield file
    except OSError as error:
        raise _no_room(folder, size) from error


def _no_room(folder: Path, size: int) -> InvalidDatasetError:
    told = f"{folder} has no room for {size} bytes of it"
    return InvalidDatasetError(f"{told}; make room there, or preload more (LRTUNER_PRELOAD_MB)")
