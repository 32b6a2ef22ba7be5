"""The curves of a warmup (rising 0 to 1) and of a cooldown (falling 1 to 0), by name.

A new curve is one entry: the function over u in [0, 1], elementwise, and the same as a Python
expression for exports that stand alone. Both see `p`, a number of the ramp that the curve depends
on (`parameter` names it), if it does on any.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from lrtuner.schedules._base import Array
from lrtuner.strict import does_not_fit


@dataclass(frozen=True)
class Curve:
    """A monotone curve over u in [0, 1]: `curve(u, p)`, and its source."""

    function: Callable[[Array, float], Array]
    expression: str
    parameter: str | None = None

    def __call__(self, u: Array, p: float = 0.0) -> Array:
        return self.function(u, p)


WARMUPS: dict[str, Curve] = {
    "linear": Curve(lambda u, _: u, "u"),
    "cosine": Curve(
        lambda u, _: (1.0 - np.cos(np.pi * u)) / 2.0, "(1.0 - math.cos(math.pi * u)) / 2.0"
    ),
    # s + (1 - s) rise is s (1/s)^u: equal factors in equal times
    "exponential": Curve(
        lambda u, s: (s ** (1.0 - u) - s) / (1.0 - s),
        "({p} ** (1.0 - u) - {p}) / (1.0 - {p})",
        "start_factor",
    ),
    # with start 0 this is ln(t + 1) / ln(W + 1)
    "logarithmic": Curve(
        lambda u, steps: np.log1p(u * steps) / np.log1p(steps),
        "math.log1p(u * {p}) / math.log1p({p})",
        "steps",
    ),
}

COOLDOWNS: dict[str, Curve] = {
    "linear": Curve(lambda u, _: 1.0 - u, "1.0 - u"),
    "cosine": Curve(
        lambda u, _: (1.0 + np.cos(np.pi * u)) / 2.0, "(1.0 + math.cos(math.pi * u)) / 2.0"
    ),
    "one_minus_sqrt": Curve(lambda u, _: 1.0 - np.sqrt(u), "1.0 - math.sqrt(u)"),
    "power": Curve(lambda u, p: (1.0 - u) ** p, "(1.0 - u) ** {p}", "power"),
}

ALIASES = {"1-sqrt": "one_minus_sqrt"}
"""What others call a curve; accepted on input."""

CooldownCurve = Annotated[
    Literal["linear", "cosine", "one_minus_sqrt", "power"],
    BeforeValidator(lambda name: ALIASES.get(name, name) if isinstance(name, str) else name),
]

Power = Annotated[float, Field(gt=0, le=100)]


def check_power(curve: str, power: float | None) -> None:
    """Only the curve `power` has a power.

    Raises:
        PydanticCustomError: (a ValueError) naming the field `power`.
    """
    if curve == "power" and power is None:
        raise does_not_fit("power", "the curve 'power' needs one, more than 0 and at most 100")
    if curve != "power" and power is not None:
        raise does_not_fit("power", f"{power} has no meaning for the curve {curve!r}: leave it out")
