"""What a schedule may be written as, made what is stored: presets expanded, lengths absolute.

Absolute data passes through unchanged, so it does no harm to do it twice.
"""

from fractions import Fraction
from typing import Any

from lrtuner.schedules import FAMILIES
from lrtuner.schedules.presets import expanded
from lrtuner.schedules.relative import Scale, resolved
from lrtuner.strict import does_not_fit

Data = dict[str, Any]

_MAX_COUNT = 10**12

_RAMPS = {"warmup": ("steps",), "cooldown": ("start", "steps")}


def absolute(data: Data) -> Data:
    """The fields of a schedule with its `preset` expanded and every relative length resolved.

    What is not understood here is left as it is, for the validation that follows.

    Raises:
        PydanticCustomError: (a ValueError) naming the field.
    """
    data = {**data, "total_steps": _total_steps(data)} if "total_steps" in data else data
    scale = _scale(data)
    if "preset" in data:
        data = _without_preset(data, scale)
    for field, lengths in _RAMPS.items():
        data = _resolved(data, field, lengths, scale)
    body = data.get("body")
    name = body.get("family") if isinstance(body, dict) else None
    family = FAMILIES.get(name) if isinstance(name, str) else None
    return _resolved(data, "body", family.lengths, scale) if family else data


def _scale(data: Data) -> Scale:
    total, context = data.get("total_steps"), data.get("context")
    per_epoch = context.get("steps_per_epoch") if isinstance(context, dict) else None
    return Scale(str(data.get("unit", "step")), _count(total), _count(per_epoch))


def _count(value: Any) -> Fraction | None:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return Fraction(value) if is_count and 0 < value <= _MAX_COUNT else None


def _total_steps(data: Data) -> Any:
    total = data["total_steps"]
    if not isinstance(total, str):
        return total
    length = _scale({**data, "total_steps": None}).absolute("total_steps", total)
    if length != int(length):
        raise does_not_fit("total_steps", f"{total!r} is {length}, not a whole number")
    return int(length)


def _without_preset(data: Data, scale: Scale) -> Data:
    preset = data["preset"]
    preset = {"name": preset} if isinstance(preset, str) else preset
    if not isinstance(preset, dict):
        raise does_not_fit("preset", "must be a name, or an object with a name and arguments")
    parts = expanded(preset, scale, data.get("peak_lr"))
    rest = {name: value for name, value in data.items() if name != "preset"}
    twice = sorted(parts.keys() & rest.keys())
    if twice:
        raise does_not_fit(twice[0], f"comes with the preset: leave out {', '.join(twice)}")
    return rest | parts


def _resolved(data: Data, field: str, lengths: tuple[str, ...], scale: Scale) -> Data:
    part = data.get(field)
    if not isinstance(part, dict):
        return data
    return {**data, field: resolved(part, field, lengths, scale)}
