"""The binary version of CIFAR-10 and CIFAR-100: labels and pixels of one image after another.

A record is one byte of label (CIFAR-100: the coarse and the fine one), then 3 x 32 x 32 pixels:
red, green, blue, each by rows. Source: https://www.cs.toronto.edu/~kriz/cifar.html ("Binary
version").
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets import arrays
from lrtuner.datasets.content import Content
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.members import Members, members
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import room_for
from lrtuner.errors import InvalidDatasetError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_FLOAT_BYTES = 4
_AT_ONCE = 1000
_TEN = re.compile(r"(data_batch_[1-9]|test_batch)\.bin")
_HUNDRED = ("train.bin", "test.bin")
_PICKLED = re.compile(r"data_batch_[1-9]|test_batch|batches\.meta|train|test|meta")
_WHY = (
    "it is the version for Python, which is not read: a pickle may run any code when it is opened. "
    "Take the binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz) from "
    "https://www.cs.toronto.edu/~kriz/cifar.html"
)


def is_cifar(name: str) -> bool:
    """Whether a file is named like one of CIFAR's, of whatever version."""
    return bool(_TEN.fullmatch(name) or name in _HUNDRED or _PICKLED.fullmatch(name))


def read(path: Path, options: Options, limits: Limits) -> Content:
    """A folder or a zip file of `data_batch_1.bin`, ...; or of `train.bin` and `test.bin`.

    The classes of CIFAR-100 are the fine ones. The test split is that of the files.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
    """
    with members(path, limits) as files:
        ten = sorted(name for name in files if _TEN.fullmatch(name))
        hundred = sorted(name for name in files if name in _HUNDRED)
        if bool(ten) is bool(hundred):
            raise InvalidDatasetError(_problem(files, several=bool(ten)))
        num_labels = 1 if ten else 2
        by_split = {
            "train": [name for name in ten + hundred if "test" not in name],
            "test": [name for name in ten + hundred if "test" in name],
        }
        counts = {n: _count(files, n, num_labels + _PIXELS, limits) for n in ten + hundred}
        room = room_for(sum(counts.values()) * _PIXELS * _FLOAT_BYTES, "what it holds", limits)
        found: dict[str, NDArray[Any]] = {}
        for split, names in by_split.items():
            number = sum(counts[name] for name in names)
            if not number:
                continue
            images = found[f"{split}_images"] = room.empty((number, *_SHAPE), np.uint8)
            labels = found[f"{split}_labels"] = np.empty(number, np.uint8)
            at = 0
            for name in names:
                with files[name]() as stream:
                    for records in _records(stream, num_labels + _PIXELS):
                        rows = slice(at, at + len(records))
                        labels[rows] = records[:, num_labels - 1]
                        images[rows] = records[:, num_labels:].reshape(-1, *_SHAPE)
                        at += len(records)
    return arrays.content_of(found, options, limits, room)


def _problem(files: Members, *, several: bool) -> str:
    if several:
        return "there are files of CIFAR-10 and of CIFAR-100: leave those of one"
    if any(_PICKLED.fullmatch(name) for name in files):
        return _WHY
    return "there is no data_batch_1.bin (CIFAR-10) and no train.bin (CIFAR-100)"


def _count(files: Members, name: str, length: int, limits: Limits) -> int:
    """The records of a file."""
    size = 0
    with files[name]() as stream:
        while part := len(stream.read(_AT_ONCE * length)):
            size += part
            if size > limits.array_bytes:
                break
    if size % length or not size:
        raise InvalidDatasetError(
            f"file {name!r}: its {size} bytes are no whole number of records of {length}",
            entry=name,
        )
    return size // length


def _records(stream: IO[bytes], length: int) -> Iterator[NDArray[Any]]:
    while data := stream.read(_AT_ONCE * length):
        yield np.frombuffer(data, np.uint8).reshape(-1, length)
