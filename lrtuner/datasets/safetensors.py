"""safetensors: a length, a JSON header of names, types, shapes and offsets, then the bytes.

Source: https://huggingface.co/docs/safetensors ("Format").
"""

import json
import math
from pathlib import Path
from typing import IO, Any

import numpy as np

from lrtuner.datasets import arrays
from lrtuner.datasets.content import Content
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import filled, room_for
from lrtuner.errors import InvalidDatasetError

_LENGTH_BYTES = 8
_TYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I16": "<i2",
    "U16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "I64": "<i8",
    "U64": "<u8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
_MOST_ARRAYS = 12


def read(path: Path, options: Options, limits: Limits) -> Content:
    """Tensors named as the arrays of an npz file.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
    """
    size = path.stat().st_size
    if size > limits.array_bytes + limits.header_bytes:
        raise InvalidDatasetError(f"it has {size} bytes; at most {limits.array_bytes} are possible")
    with path.open("rb") as file:
        header = _header(file, size, limits)
        left = size - file.tell()
        header.pop("__metadata__", None)
        if len(header) > _MOST_ARRAYS:
            told = f"it has {len(header)} tensors; at most {_MOST_ARRAYS} are possible"
            raise InvalidDatasetError(told)
        placed, at = [], 0
        for name, entry in sorted(header.items(), key=_offset):
            shape, dtype = _placed(name, entry, at, left, limits)
            placed.append((name, shape, dtype))
            at += math.prod(shape) * dtype.itemsize
        if at != left:
            raise InvalidDatasetError(f"its header describes {at} bytes of data, there are {left}")
        needed = sum(math.prod(shape) * max(dtype.itemsize, 4) for _, shape, dtype in placed)
        room = room_for(needed, "what it holds", limits)
        found = {}
        for name, shape, dtype in placed:
            found[name] = room.empty(shape, dtype)
            if not filled(file, found[name]):
                raise _refused(name, "the file is cut short")
    ordered = {name: found[name] for name in header}
    return arrays.content_of(ordered, options, limits, room)


def _header(file: IO[bytes], size: int, limits: Limits) -> dict[str, Any]:
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > min(limits.header_bytes, size - _LENGTH_BYTES):
        told = f"its header is said to have {length} bytes, the file has {size}"
        raise InvalidDatasetError(f"{told}; at most {limits.header_bytes} are possible")
    try:
        header = json.loads(file.read(length).decode())
    except (ValueError, RecursionError):
        raise InvalidDatasetError("its header is no JSON") from None
    if not isinstance(header, dict):
        raise InvalidDatasetError("its header is no JSON object")
    return header


def _offset(item: tuple[str, Any]) -> int:
    try:
        begin = item[1]["data_offsets"][0]
    except (KeyError, IndexError, TypeError):
        begin = None
    if type(begin) is not int:
        raise _refused(item[0], "it has no data_offsets")
    return begin


def _placed(
    name: str, entry: Any, at: int, num_bytes: int, limits: Limits
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the tensor that begins at byte `at`, where the one before it ended."""
    code, shape, offsets = entry.get("dtype"), entry.get("shape"), entry["data_offsets"]
    if not isinstance(code, str) or code not in _TYPES:
        raise _refused(name, f"its type is {code!r:.50}; there may be {', '.join(_TYPES)}")
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        raise _refused(name, f"its shape is {shape!r:.100}")
    if not 1 <= len(shape) <= 4:
        raise _refused(name, f"it has {len(shape)} dimensions; there may be one to four")
    dtype = np.dtype(_TYPES[code])
    count = math.prod(shape)
    size = count * dtype.itemsize
    if count * max(dtype.itemsize, 4) > limits.array_bytes:
        raise _refused(name, f"it takes more than {limits.array_bytes} bytes in memory")
    if offsets != [at, at + size] or at + size > num_bytes:
        told = f"its offsets are {offsets!r:.100}, by its type and place they must be"
        raise _refused(name, f"{told} [{at}, {at + size}] of {num_bytes} bytes")
    return tuple(shape), dtype


def _refused(name: str, reason: str) -> InvalidDatasetError:
    shown = ascii(name[:100])
    return InvalidDatasetError(f"tensor {shown}: {reason}", array=shown)
