"""IDX, the format of MNIST and of those made like it: a header, then the bytes of an array.

Two zero bytes, one for the type (8: unsigned bytes), one for the number of dimensions, then each
dimension as a big-endian 32-bit number. Source: http://yann.lecun.com/exdb/mnist ("File formats").
"""

import re
from pathlib import Path
from typing import IO

import numpy as np

from lrtuner.datasets import arrays
from lrtuner.datasets.content import Content
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.members import Members, members
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import filled, room_for
from lrtuner.errors import InvalidDatasetError

_UNSIGNED_BYTES = 8
_FLOAT_BYTES = 4
_DIMENSIONS = {"images": 3, "labels": 1}
_SPLITS = {"train": "train", "t10k": "test", "test": "test"}
_NAME = re.compile(
    r"(?P<set>.*?)(?P<split>train|t10k|test)-(?P<role>images|labels)[-.]idx[13]-ubyte(\.gz)?"
)


def is_idx(name: str) -> bool:
    """Whether a file is named like one of MNIST's."""
    return _NAME.fullmatch(name) is not None


def read(path: Path, options: Options, limits: Limits) -> Content:
    """A folder or a zip file of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-...`.

    Also packed (`.gz`; the plain file is taken where both are there) and with the name of a set
    before it (`emnist-letters-train-...`). The test split is that of the files.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
    """
    with members(path, limits) as files:
        chosen = _chosen(files)
        shapes = {}
        for array, name in chosen.items():
            with files[name]() as stream:
                shapes[array] = _header(stream, name)
        size = _FLOAT_BYTES * sum(int(np.prod(shape, dtype=object)) for shape in shapes.values())
        room = room_for(size, "what it holds", limits)
        found = {}
        for array, name in chosen.items():
            found[array] = room.empty(shapes[array], np.uint8)
            with files[name]() as stream:
                _header(stream, name)
                if not filled(stream, found[array]) or stream.read(1):
                    raise _refused(name, "it has not as many bytes as its header says")
    return arrays.content_of(found, options, limits, room)


def _chosen(files: Members) -> dict[str, str]:
    """`train_images`, ... -> the name of its file."""
    found: dict[str, str] = {}
    sets = set()
    for name in sorted(files, key=lambda name: not name.endswith(".gz")):  # the plain ones last
        match = _NAME.fullmatch(name)
        if match:
            found[f"{_SPLITS[match['split']]}_{match['role']}"] = name
            sets.add(match["set"])
    if not found:
        raise InvalidDatasetError("there is no file named like train-images-idx3-ubyte")
    if len(sets) > 1:
        told = ", ".join(repr(name) for name in sorted(sets))
        raise InvalidDatasetError(f"there are files of several sets ({told}): leave those of one")
    return {name: found[name] for name in sorted(found)}


def _header(stream: IO[bytes], name: str) -> tuple[int, ...]:
    start = stream.read(4)
    role = "images" if "-images" in name else "labels"
    wanted = _DIMENSIONS[role]
    if start != bytes([0, 0, _UNSIGNED_BYTES, wanted]):
        told = f"it must begin with 0, 0, {_UNSIGNED_BYTES}, {wanted}: unsigned bytes in {wanted}"
        raise _refused(name, f"it is no IDX file of {role}: {told} dimensions")
    sizes = stream.read(4 * wanted)
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4")) if len(sizes) % 4 == 0 else ()
    if len(shape) != wanted or not all(shape):
        raise _refused(name, "its header is cut short, or says that it is empty")
    return shape


def _refused(name: str, reason: str) -> InvalidDatasetError:
    shown = ascii(name[:100])
    return InvalidDatasetError(f"file {shown}: {reason}", entry=shown)
