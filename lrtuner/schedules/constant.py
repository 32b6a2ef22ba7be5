"""The constant body."""

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np

from lrtuner.schedules._base import Array, BaseBody


class Constant(BaseBody):
    """v(tau) = 1.

    With a cooldown this is warmup-stable-decay (Hu et al. 2024, arXiv 2404.06395). After its end it
    holds. torch: `ConstantLR(factor=1)`.
    """

    family: Literal["constant"] = "constant"

    def at(self, tau: Array) -> Array:
        return np.ones_like(tau)

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        return ["v = 1.0"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:  # noqa: ARG003
        return cls()
