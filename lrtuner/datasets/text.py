"""Plain text in UTF-8, as characters."""

from pathlib import Path

import numpy as np

from lrtuner.datasets.content import Content, Field, Part
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Options
from lrtuner.errors import InvalidDatasetError

_LEAST_WINDOWS = 20
_TOKEN_BYTES = 8


def read(path: Path, options: Options, limits: Limits) -> Content:
    """Windows of `context_length` characters, and the characters that follow each.

    The vocabulary is what occurs in the text, in the order of code points.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
    """
    if options.target is not None or options.task not in ("auto", "language_modelling"):
        raise InvalidDatasetError("args: the target of a text is its next character")
    size = path.stat().st_size
    if size * 2 * _TOKEN_BYTES > limits.array_bytes:
        told = f"{size} bytes of text take {size * 2 * _TOKEN_BYTES} in memory"
        raise InvalidDatasetError(f"{told}; at most {limits.array_bytes} are possible")
    codes = np.frombuffer(_decoded(path).encode("utf-32-le"), dtype="<u4")
    characters, tokens = np.unique(codes, return_inverse=True)
    if len(characters) > limits.vocabulary:
        told = f"it has {len(characters)} different characters"
        raise InvalidDatasetError(f"{told}; at most {limits.vocabulary} are possible")
    if len(characters) < 2:
        raise InvalidDatasetError("it has one character again and again: nothing can be learned")
    length = options.context_length
    count = (len(tokens) - 1) // length
    if count < _LEAST_WINDOWS:
        told = f"{len(tokens)} characters make {max(count, 0)} examples of {length}"
        raise InvalidDatasetError(f"{told}; at least {_LEAST_WINDOWS} are needed")
    tokens = tokens.reshape(-1).astype(np.int64)
    part = Part(
        tokens[: count * length].reshape(count, length),
        tokens[1 : count * length + 1].reshape(count, length),
    )
    return Content(
        "tokens",
        "language_modelling",
        {"all": part},
        len(characters),
        fields=(Field("text", "characters", (len(tokens),), len(characters)),),
        in_order=True,
    )


def _decoded(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDatasetError(f"byte {error.start} is not UTF-8", byte=error.start) from None
    if "\x00" in text:
        at = text.index("\x00")
        raise InvalidDatasetError(f"character {at} is NUL: this is no plain text", character=at)
    return text
