"""numpy's npz: a zip file of arrays. Nothing in it is unpickled."""

import math
import tokenize
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lrtuner.datasets import archive, arrays
from lrtuner.datasets.content import Content
from lrtuner.datasets.limits import MEBIBYTE, Limits
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import Room, filled, room_for
from lrtuner.errors import InvalidDatasetError

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MOST_ARRAYS = 12

#: What the text of a hostile header makes numpy's reader raise.
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    tokenize.TokenError,
)


def read(path: Path, options: Options, limits: Limits) -> Content:
    """Arrays `x` and `y`, `inputs` and `targets`, or with their split: `train_x`, ...

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
    """
    with archive.opened(path) as file:
        entries = archive.files(file, limits, total=limits.array_bytes + MEBIBYTE)
        if len(entries) > _MOST_ARRAYS:
            told = f"it has {len(entries)} arrays; at most {_MOST_ARRAYS} are possible"
            raise InvalidDatasetError(told)
        size = sum(_size(file, info, limits) for info in entries)
        room = room_for(size, "what it holds", limits)
        found = {}
        for info in entries:
            found[info.filename.removesuffix(".npy")] = _array(file, info, limits, room)
    return arrays.content_of(found, options, limits, room)


def _size(file: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits) -> int:
    """The bytes that an entry takes as an array, its header checked."""
    name = info.filename
    if not name.endswith(".npy"):
        raise InvalidDatasetError(f"entry {name!r}: it is no .npy array", entry=name)
    with archive.entry(file, info) as stream:
        shape, _fortran, dtype = _header(stream, name, limits)
        size = _checked_size(shape, dtype, name, limits)
        if stream.tell() + size != info.file_size:
            told = f"its header promises {size} bytes of data, there are other than that"
            raise InvalidDatasetError(f"entry {name!r}: {told}", entry=name)
    return math.prod(shape) * max(dtype.itemsize, 4)


def _array(
    file: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits, room: Room
) -> NDArray[Any]:
    name = info.filename
    with archive.entry(file, info) as stream:
        shape, fortran, dtype = _header(stream, name, limits)
        flat = room.empty((math.prod(shape),), dtype)
        if not filled(stream, flat) or stream.read(1):
            raise InvalidDatasetError(f"entry {name!r}: it is cut short", entry=name)
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(
    stream: IO[bytes], name: str, limits: Limits
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(stream)
        read_header = _HEADERS[version]
        return read_header(stream, max_header_size=limits.array_header_bytes)
    except _HEADER_ERRORS as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InvalidDatasetError(f"entry {name!r}: its header: {told:.200}", entry=name) from None


def _checked_size(shape: tuple[int, ...], dtype: np.dtype[Any], name: str, limits: Limits) -> int:
    """The bytes that the array takes: of exact integers, which do not overflow."""
    if dtype.kind not in "biuf" or dtype.hasobject or dtype.itemsize > 8:
        told = f"its type is {dtype}; objects, texts and structures are not read"
        raise InvalidDatasetError(f"entry {name!r}: {told:.300}", entry=name)
    if not 1 <= len(shape) <= 4 or any(length < 1 for length in shape):
        told = f"its shape is {shape}; there may be one to four dimensions, none empty"
        raise InvalidDatasetError(f"entry {name!r}: {told:.300}", entry=name)
    size = math.prod(shape) * max(dtype.itemsize, 4)  # as float32 it takes at least so much
    if size > limits.array_bytes:
        told = f"it takes {size} bytes in memory; at most {limits.array_bytes} are possible"
        raise InvalidDatasetError(f"entry {name!r}: {told:.300}", entry=name)
    return math.prod(shape) * dtype.itemsize
