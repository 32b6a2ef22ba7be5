"""JSON text that every reader agrees on, and its digest.

Two things ordinary writers get wrong for our files: a float such as `1e-05` is a *string* to YAML
1.1 readers (people paste configs into YAML), and NaN or infinity are no JSON at all.
"""

import hashlib
import json
import math
from typing import Any


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Render plain data (dict, list, str, int, float, bool, None) as JSON text.

    Floats are written in the shortest form that reads back bit for bit, always with a decimal point
    (`1.0e-05`), so that YAML readers see a number too. With `indent`, objects are spread over lines
    and lists of scalars stay on one.

    Raises:
        ValueError: a float is NaN or infinite, or a key is not a string.
        TypeError: a value is of another type.
    """
    return _render(value, indent, 0)


def digest(value: Any) -> str:
    """`sha256:` plus the hex digest of the canonical text: sorted keys, no spaces, UTF-8."""
    text = dumps(_sorted(value))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _render(value: Any, indent: int | None, depth: int) -> str:
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, dict):
        items = [
            f"{_key(k)}:{_gap(indent)}{_render(v, indent, depth + 1)}" for k, v in value.items()
        ]
        return _wrap("{", items, "}", indent, depth)
    if isinstance(value, list | tuple):
        items = [_render(v, indent, depth + 1) for v in value]
        flat = indent is None or not any(isinstance(v, dict | list | tuple) for v in value)
        return _inline(items, indent) if flat else _wrap("[", items, "]", indent, depth)
    if value is None or isinstance(value, bool | int | str):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"not plain JSON data: {type(value).__name__}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a JSON key must be a string, not {key!r}")
    return json.dumps(key, ensure_ascii=False)


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"JSON has no {value!r}")
    text = float.__repr__(value)
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text


def _gap(indent: int | None) -> str:
    return " " if indent is not None else ""


def _inline(items: list[str], indent: int | None) -> str:
    return "[" + f",{_gap(indent)}".join(items) + "]"


def _wrap(opening: str, items: list[str], closing: str, indent: int | None, depth: int) -> str:
    if indent is None or not items:
        return opening + ",".join(items) + closing
    inner, outer = " " * indent * (depth + 1), " " * indent * depth
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{outer}{closing}"


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value
