"""Lengths said relatively: what "0.1dur", "10%", "5ep" and "10min" are in a schedule's unit.

Accepted wherever a length is, on input only: what is stored is absolute. Products are exact
fractions until the end, so "0.7dur" of 90 is 63 and not 62.99.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lrtuner.strict import does_not_fit

_LENGTH = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(dur|%|ep|st|s|min|h)\s*", re.ASCII)
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_MAX_DIGITS = 40

FORMS = "a number, or a share of the run like '0.1dur' or '10%', or '5ep', '500st', '10min'"


@dataclass(frozen=True)
class Scale:
    """What relative lengths refer to: the unit, the horizon in it, and the steps of an epoch."""

    unit: str
    total: Fraction | None
    steps_per_epoch: Fraction | None

    def absolute(self, field: str, length: Any) -> Any:
        """The length in the unit; what is not text stays as it is.

        Raises:
            PydanticCustomError: (a ValueError) naming `field`.
        """
        if isinstance(length, list | tuple):
            return [self.absolute(f"{field}.{i}", item) for i, item in enumerate(length)]
        if not isinstance(length, str):
            return length
        match = _LENGTH.fullmatch(length) if len(length) <= _MAX_DIGITS else None
        if match is None:
            raise does_not_fit(field, f"{length[:_MAX_DIGITS]!r} is no length; it must be {FORMS}")
        number, suffix = Fraction(match[1]), match[2]
        return float(number * self._one(field, length, suffix))

    def horizon(self) -> Fraction:
        """The horizon in the unit.

        Raises:
            PydanticCustomError: (a ValueError) it is not given.
        """
        if self.total is None:
            raise does_not_fit("total_steps", "a positive whole number is needed here")
        return self.total

    def _one(self, field: str, length: str, suffix: str) -> Fraction:
        """How many of the unit one of `suffix` is."""
        if suffix in ("dur", "%"):
            return self.horizon() / (100 if suffix == "%" else 1)
        if suffix in _SECONDS and self.unit == "second":
            return Fraction(_SECONDS[suffix])
        own = {"step": "st", "epoch": "ep"}.get(self.unit)
        if suffix == own:
            return Fraction(1)
        if {suffix, own} != {"st", "ep"}:
            raise does_not_fit(field, f"{length!r} cannot be said in the unit {self.unit!r}")
        if self.steps_per_epoch is None:
            raise does_not_fit(field, f"{length!r} needs context.steps_per_epoch")
        return self.steps_per_epoch if suffix == "ep" else 1 / self.steps_per_epoch


def resolved(
    data: dict[str, Any], field: str, lengths: Iterable[str], scale: Scale
) -> dict[str, Any]:
    """`data`, the object at `field`, with its relative `lengths` made absolute."""
    said = [name for name in lengths if name in data]
    return data | {name: scale.absolute(f"{field}.{name}", data[name]) for name in said}
