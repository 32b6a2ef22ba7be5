"""Values and requirements in words, and values as JSON can carry them."""

import difflib
import json
import math
import re
import types
from typing import Any, Literal, get_args, get_origin

from service.places import Slot, slot

_LONGEST_SHOWN = 80
_LONGEST_VALUE = 500

_NOUNS = {
    int: "a whole number",
    float: "a finite number",
    str: "a string",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    types.NoneType: "null",
}
_BOUNDS = {
    "ge": "greater than or equal to",
    "gt": "greater than",
    "le": "less than or equal to",
    "lt": "less than",
    "multiple_of": "a multiple of",
}


def shown(value: Any) -> str:
    """A value as it stands in a sentence: JSON, shortened."""
    text = json.dumps(safe(value), ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def safe(value: Any) -> Any:
    """A value as any JSON reader takes it; what is long or strange becomes shortened text."""
    if isinstance(value, str):
        return _shortened(plain(value))
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if value is None or isinstance(value, bool | float):
        return value
    text = json.dumps(value)
    too_large = isinstance(value, int) and abs(value) >= 2**63
    if too_large or len(text) > _LONGEST_VALUE or _is_strange(text):
        return _shortened(text)
    return value


def plain(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, written out."""
    return text.encode(errors="backslashreplace").decode()


def mentions(sentence: str, text: str) -> bool:
    """Whether `text` stands in the sentence, and not just as a part of a longer number or word."""
    return re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", sentence) is not None


def requirement(place: Slot) -> str:
    """What may stand there, in words; empty if the type says nothing."""
    if place.tags:
        return f"an object whose {place.discriminator} is {one_of(list(place.tags))}"
    if place.branches:
        return " or ".join(filter(None, (requirement(slot(branch)) for branch in place.branches)))
    if get_origin(place.type) is Literal:
        return one_of(list(get_args(place.type)))
    if place.fields:
        return "an object"
    noun = _NOUNS.get(get_origin(place.type) or place.type, "")
    return noun + _bounded(place.bounds)


def one_of(values: list[Any]) -> str:
    """The values there are to choose from."""
    texts = [shown(value) for value in values]
    return texts[0] if len(texts) == 1 else "one of " + ", ".join(texts)


def did_you_mean(value: Any, known: list[Any]) -> str:
    """A question if `value` looks like a typing error, else nothing."""
    names = [name for name in known if isinstance(name, str)]
    close = difflib.get_close_matches(value[:100], names, n=1) if isinstance(value, str) else []
    return f" (did you mean {shown(close[0])}?)" if close else ""


def _bounded(bounds: dict[str, Any]) -> str:
    limits = [f"{words} {bounds[name]}" for name, words in _BOUNDS.items() if name in bounds]
    text = " " + " and ".join(limits) if limits else ""
    low, high = bounds.get("min_length"), bounds.get("max_length")
    if low is not None and high is not None:
        return text + (f" of length {low}" if low == high else f" of length {low} to {high}")
    if low is not None:
        return text + f" of length {low} or more"
    return text + (f" of length {high} or less" if high is not None else "")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _is_strange(text: str) -> bool:
    return "NaN" in text or "Infinity" in text or "\\ud" in text
