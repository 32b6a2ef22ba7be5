"""Plain text in UTF-8, as characters."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets.content import Content, Field, Part
from lrtuner.datasets.limits import MEBIBYTE, Limits
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import room_for
from lrtuner.errors import InvalidDatasetError

_LEAST_WINDOWS = 20
_TOKEN_BYTES = 8


def read(path: Path, options: Options, limits: Limits) -> Content:
    """Windows of `context_length` characters, and the characters that follow each.

    The vocabulary is what occurs in the text, in the order of code points. The file is read twice:
    first for what occurs, then for where.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
    """
    if options.target is not None or options.task not in ("auto", "language_modelling"):
        raise InvalidDatasetError("args: the target of a text is its next character")
    characters, number = _survey(path)
    if len(characters) > limits.vocabulary:
        told = f"it has {len(characters)} different characters"
        raise InvalidDatasetError(f"{told}; at most {limits.vocabulary} are possible")
    if len(characters) < 2:
        raise InvalidDatasetError("it has one character again and again: nothing can be learned")
    length = options.context_length
    count = (number - 1) // length
    if count < _LEAST_WINDOWS:
        told = f"{number} characters make {max(count, 0)} examples of {length}"
        raise InvalidDatasetError(f"{told}; at least {_LEAST_WINDOWS} are needed")
    room = room_for(2 * number * _TOKEN_BYTES, f"a text of {number} characters", limits)
    tokens, at = room.empty((number,), np.int64), 0
    for codes in _codes(path):
        tokens[at : at + len(codes)] = np.searchsorted(characters, codes)
        at += len(codes)
    part = Part(
        tokens[: count * length].reshape(count, length),
        tokens[1 : count * length + 1].reshape(count, length),
    )
    return Content(
        "tokens",
        "language_modelling",
        {"all": part},
        len(characters),
        fields=(Field("text", "characters", (number,), len(characters)),),
        in_order=True,
        room=room,
    )


def _survey(path: Path) -> tuple[NDArray[Any], int]:
    """The code points that occur, in order, and the number of characters."""
    found, number = np.empty(0, "<u4"), 0
    for codes in _codes(path):
        found, number = np.union1d(found, codes), number + len(codes)
    return found, number


def _codes(path: Path) -> Iterator[NDArray[Any]]:
    """The code points of one stretch of the text after another."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        at = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(at)
        number = 0
        while True:
            data = file.read(MEBIBYTE)
            begun = len(decoder.getstate()[0])  # bytes of a character that the last stretch cut
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                byte = at - begun + error.start
                raise InvalidDatasetError(f"byte {byte} is not UTF-8", byte=byte) from None
            if "\x00" in text:
                where = number + text.index("\x00")
                told = f"character {where} is NUL: this is no plain text"
                raise InvalidDatasetError(told, character=where)
            if not data:
                return
            at, number = at + len(data), number + len(text)
            yield np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
