"""The curves of a warmup (rising 0 to 1) and of a cooldown (falling 1 to 0), by name.

A new curve is one entry: the function over u in [0, 1], elementwise, and the same as a Python
expression of `u` for exports that stand alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lrtuner.schedules._base import Array


@dataclass(frozen=True)
class Curve:
    """A monotone curve over u in [0, 1]: `curve(u)`, and its source."""

    function: Callable[[Array], Array]
    expression: str

    def __call__(self, u: Array) -> Array:
        return self.function(u)


WARMUPS: dict[str, Curve] = {
    "linear": Curve(lambda u: u, "u"),
    "cosine": Curve(
        lambda u: (1.0 - np.cos(np.pi * u)) / 2.0, "(1.0 - math.cos(math.pi * u)) / 2.0"
    ),
}

COOLDOWNS: dict[str, Curve] = {
    "linear": Curve(lambda u: 1.0 - u, "1.0 - u"),
    "cosine": Curve(
        lambda u: (1.0 + np.cos(np.pi * u)) / 2.0, "(1.0 + math.cos(math.pi * u)) / 2.0"
    ),
    "one_minus_sqrt": Curve(lambda u: 1.0 - np.sqrt(u), "1.0 - math.sqrt(u)"),
}
