"""Named arrays as content: which are inputs, which are targets, and of which split."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.content import LEAST_EXAMPLES, SPLIT_NAMES, Content, Field, Kind, Part
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import Room, chunks
from lrtuner.datasets.targets import Targets, encoded
from lrtuner.errors import InvalidDatasetError

_ROLES = {
    "x": "inputs",
    "inputs": "inputs",
    "features": "inputs",
    "images": "inputs",
    "y": "targets",
    "targets": "targets",
    "labels": "targets",
}
_NAMES = (
    "name them x and y, or inputs and targets, or with their split: train_x, train_y, "
    "validation_x, validation_y, test_x, test_y"
)
_CHANNELS = (1, 3, 4)

Arrays = Mapping[str, NDArray[Any]]


def content_of(arrays: Arrays, options: Options, limits: Limits, room: Room) -> Content:
    """The content of a file of arrays.

    Raises:
        InvalidDatasetError: the names do not say what is what, lengths or types do not go together,
            or a value is not finite; `array` names the one that is wrong.
    """
    if options.target is not None:
        raise InvalidDatasetError("args.target: arrays are found by their names, not by an option")
    found = _by_split(arrays)
    kind = _kind(found)
    if kind == "tokens":
        if options.task not in ("auto", "language_modelling"):
            told = f"{options.task!r}, but whole numbers into as many whole numbers are tokens"
            raise InvalidDatasetError(f"args.task: {told}; store floats if they are none")
        return _tokens(arrays, found, limits, room)
    inputs = {split: _inputs(*pair["inputs"], kind, room) for split, pair in found.items()}
    shapes = {value.shape[1:] for value in inputs.values()}
    if len(shapes) > 1:
        raise InvalidDatasetError(f"the splits have inputs of different shapes: {sorted(shapes)}")
    name = next(iter(found.values()))["targets"][0]
    targets = _encoded(found, name, options, limits, room)
    parts, at = {}, 0
    for split, values in inputs.items():
        parts[split] = Part(values, targets.values[at : at + len(values)])
        at += len(values)
    fields, classes = _fields(arrays), targets.classes
    return Content(kind, targets.task, parts, targets.num_outputs, classes, name, fields, room=room)


def _by_split(arrays: Arrays) -> dict[str, dict[str, tuple[str, NDArray[Any]]]]:
    """split -> role -> (name, array); every array has its place, every split both roles."""
    found: dict[str, dict[str, tuple[str, NDArray[Any]]]] = {}
    for name, array in arrays.items():
        split, role = _place(name)
        pair = found.setdefault(split, {})
        if role in pair:
            told = f"{name!r} and {pair[role][0]!r} are both the {role} of {split}"
            raise InvalidDatasetError(f"array {told}", array=name)
        if not array.ndim or (role == "inputs" and array.ndim > 4):
            told = f"array {name!r}: {array.ndim} dimensions; {role} have one per example and more"
            raise InvalidDatasetError(told, array=name)
        pair[role] = name, array
    if found and "all" not in found and "train" not in found:
        raise InvalidDatasetError("there is no training split: train_x and train_y")
    if "all" in found and len(found) > 1:
        raise InvalidDatasetError("there are arrays with and without a split in their names")
    if not found:
        raise InvalidDatasetError(f"it has no arrays; {_NAMES}")
    for split, pair in found.items():
        _check_pair(split, pair)
    return {split: found[split] for split in ("all", *SPLIT_NAMES.values()) if split in found}


def _place(name: str) -> tuple[str, str]:
    """The split and the role that a name stands for."""
    words = [word for word in re.split(r"[_.\-/]", name.lower()) if word]
    roles = [_ROLES[word] for word in words if word in _ROLES]
    splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    if len(roles) != 1 or len(splits) > 1 or len(roles) + len(splits) != len(words):
        shown = ascii(name[:100])
        raise InvalidDatasetError(f"array {shown}: not a known name; {_NAMES}", array=shown)
    return (splits or ["all"])[0], roles[0]


def _check_pair(split: str, pair: dict[str, tuple[str, NDArray[Any]]]) -> None:
    missing = {"inputs", "targets"} - set(pair)
    if missing:
        there = next(iter(pair.values()))[0]
        raise InvalidDatasetError(
            f"there is {there!r} but there are no {missing.pop()} beside it; {_NAMES}", array=there
        )
    (x, inputs), (y, targets) = pair["inputs"], pair["targets"]
    if len(inputs) != len(targets):
        told = f"{x!r} has {len(inputs)} examples and {y!r} has {len(targets)}"
        raise InvalidDatasetError(told, array=y)
    least = LEAST_EXAMPLES if split in ("all", "train") else 1
    if len(inputs) < least or not inputs.size or not targets.size:
        told = f"{x!r}: its shape is {inputs.shape}; at least {least} examples are needed"
        raise InvalidDatasetError(told, array=x)
    for name, array in pair.values():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise InvalidDatasetError(
                f"array {name!r}: its type is {array.dtype}; there may be truth values, whole "
                "numbers and floats of at most 64 bits",
                array=name,
            )
        if array.dtype.kind == "f":
            check_finite(array, name)


def check_finite(array: NDArray[Any], name: str) -> None:
    """Refuse NaN, infinity, and what becomes infinite in single precision.

    Raises:
        InvalidDatasetError: there is such a value; it names the first example that has one.
    """
    for rows in chunks(array):
        with np.errstate(over="ignore"):
            finite = np.isfinite(array[rows].astype(np.float32, copy=False))
        if not finite.all():
            row = rows.start + int(np.argwhere(~finite)[0][0])
            raise InvalidDatasetError(
                f"array {name!r}, example {row}: a value is NaN, infinite or beyond float32",
                array=name,
                row=row,
            )


def _kind(found: dict[str, dict[str, tuple[str, NDArray[Any]]]]) -> Kind:
    pair = next(iter(found.values()))
    inputs, targets = pair["inputs"][1], pair["targets"][1]
    whole = inputs.dtype.kind in "iu" and targets.dtype.kind in "iu"
    if whole and inputs.ndim == 2 and inputs.shape == targets.shape and inputs.shape[1] > 1:
        return "tokens"
    return "images" if inputs.ndim >= 3 else "features"


def _inputs(name: str, array: NDArray[Any], kind: Kind, room: Room) -> NDArray[Any]:
    if kind == "images":
        array = _channels_first(name, array)
    elif array.ndim != 2:
        if array.ndim != 1:
            told = f"array {name!r}: its shape is {array.shape}, of other splits two-dimensional"
            raise InvalidDatasetError(told, array=name)
        array = array[:, None]
    scale = 255.0 if kind == "images" and array.dtype == np.uint8 else 1.0
    return room.converted(array, np.float32, scale)


def _channels_first(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in _CHANNELS:
        return array
    if array.ndim == 4 and array.shape[3] in _CHANNELS:
        return np.moveaxis(array, 3, 1)
    told = f"its shape is {array.shape}; images are (N, H, W), (N, C, H, W) or (N, H, W, C)"
    raise InvalidDatasetError(f"array {name!r}: {told} with 1, 3 or 4 channels", array=name)


def _encoded(
    found: dict[str, dict[str, tuple[str, NDArray[Any]]]],
    name: str,
    options: Options,
    limits: Limits,
    room: Room,
) -> Targets:
    every = [pair["targets"][1] for pair in found.values()]
    if len({array.shape[1:] for array in every}) > 1:
        raise InvalidDatasetError("the splits have targets of different shapes", array=name)
    return encoded(room.joined(every), name, options.task, limits, room)


def _tokens(
    arrays: Arrays,
    found: dict[str, dict[str, tuple[str, NDArray[Any]]]],
    limits: Limits,
    room: Room,
) -> Content:
    parts, highest = {}, 0
    for split, pair in found.items():
        (x, inputs), (y, targets) = pair["inputs"], pair["targets"]
        if inputs.shape != targets.shape or inputs.dtype.kind == "f":
            raise InvalidDatasetError(f"arrays {x!r} and {y!r} are no tokens alike", array=x)
        for name, array in ((x, inputs), (y, targets)):
            low, high = int(array.min()), int(array.max())
            if low < 0 or high >= limits.vocabulary:
                told = f"tokens from {low} to {high}; they count from 0 to {limits.vocabulary - 1}"
                raise InvalidDatasetError(f"array {name!r}: {told}", array=name)
            highest = max(highest, high)
        parts[split] = Part(*(room.converted(values, np.int64) for values in (inputs, targets)))
    if len({part.inputs.shape[1] for part in parts.values()}) > 1:
        raise InvalidDatasetError("the splits have contexts of different lengths")
    name = next(iter(found.values()))["targets"][0]
    fields = _fields(arrays)
    return Content("tokens", "language_modelling", parts, highest + 1, (), name, fields, room=room)


def _fields(arrays: Arrays) -> tuple[Field, ...]:
    return tuple(Field(n, str(array.dtype), array.shape) for n, array in arrays.items())
