"""Axes: from values to shares of a length, and the values worth a tick."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ticks = list[tuple[float, str]]
"""Values and their labels, rising."""

_SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Axis:
    """What is counted along an axis, from `low` to `high` (low < high; above 0 if `log`).

    `whole` keeps ticks to whole numbers, for what is counted. `label` says the unit too. `named`
    are the ticks where they are not to be chosen.
    """

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    named: Ticks | None = None

    def share(self, values: ArrayLike) -> NDArray[np.float64]:
        """How far along the axis each value is: 0 at `low`, 1 at `high`; NaN where log has none."""
        told = np.asarray(values, dtype=np.float64)
        if not self.log:
            return (told - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.where(told > 0, told, np.nan))
        low, high = math.log(self.low), math.log(self.high)
        found: NDArray[np.float64] = (logs - low) / (high - low)
        return found

    def ticks(self, most: int) -> Ticks:
        """At most about `most` values to label."""
        if self.named is not None:
            return self.named
        if self.log:
            found = _log_values(self.low, self.high, most)
            if len(found) > 1:
                return [(value, _short(value)) for value in found]
        step = self._step(most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [i * step for i in range(first, last + 1)]
        return [(value, label) for value, label in zip(values, _alike(values, step), strict=True)]

    def _step(self, most: int) -> float:
        span = self.high - self.low
        if not self.whole:
            return nice_step(span, most)
        step = nice_step(max(span, float(most)), most)
        return 5.0 if step == 2.5 else step


def from_zero(label: str, highest: float, *, room: float = 0.1) -> Axis:
    """An axis from 0 to a round value that leaves at least a share of `room` above `highest`."""
    step = nice_step(highest * (1.0 + room), 6)
    return Axis(label, 0.0, step * math.ceil(highest * (1.0 + room) / step - 1e-9))


def around(label: str, values: Iterable[float], *, room: float = 0.06) -> Axis:
    """An axis with every value on it and a share of `room` beyond them on both sides."""
    known = list(values)
    low, high = min(known, default=0.0), max(known, default=1.0)
    beyond = room * ((high - low) or abs(high) or 1.0)
    return Axis(label, low - beyond, high + beyond)


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten of which at most `most` make the span."""
    rough = span / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))


def _log_values(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, where there is room with their threefold, or their double and fivefold."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = math.log10(high) - math.log10(low)
    every = max(math.ceil(decades / max(most, 1)), 1)
    factors = (1, 2, 5) if 3 * decades <= most else (1, 3) if 2 * decades <= most else (1,)
    found = [
        float(f"{factor}e{power}")
        for power in range(first, last + 1)
        if power % every == 0
        for factor in factors
    ]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def _alike(values: list[float], step: float) -> list[str]:
    """Labels with the same digits after the point, in the same power."""
    largest = max(map(abs, values), default=0.0)
    if largest >= 10_000:
        unit, suffix = next(pair for pair in _SUFFIXES if pair[0] <= largest)
        return [_fixed(value / unit, step / unit, suffix) for value in values]
    if 0 < largest < 1e-3:
        power = math.floor(math.log10(largest * (1 + 1e-9)))
        return [_fixed(value / 10.0**power, step / 10.0**power, f"e{power}") for value in values]
    return [_fixed(value, step, "") for value in values]


def _fixed(value: float, step: float, suffix: str) -> str:
    if value == 0:
        return "0"
    digits = next((d for d in range(12) if abs(round(step, d) - step) <= 1e-6 * step), 12)
    return f"{value:.{digits}f}{suffix}"


def _short(value: float) -> str:
    if 1e-3 <= value < 10_000:
        return f"{value:g}"
    mantissa, _, power = f"{value:.0e}".partition("e")
    return f"{mantissa}e{int(power)}"
