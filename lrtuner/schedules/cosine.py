"""Cosine annealing without restarts."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import numpy as np

from lrtuner.schedules._base import Array, BaseBody, Factor, Length, between
from lrtuner.space import Choice, Range


class Cosine(BaseBody):
    """v(tau) = e + (1 - e) (1 + cos(pi u)) / 2,  u = min(tau / D, 1).

    D `decay_steps`, e `end_factor`.

    Loshchilov and Hutter 2017 (arXiv 1608.03983), one cycle. After D steps it holds e; torch's
    `CosineAnnealingLR` rises again there. Keras: `CosineDecay`.
    """

    family: Literal["cosine"] = "cosine"
    decay_steps: Length
    end_factor: Factor = 0.0

    lengths: ClassVar[tuple[str, ...]] = ("decay_steps",)
    space: ClassVar[Mapping[str, Range]] = {"end_factor": Choice(values=(0.0, 0.01, 0.1))}
    decays_fully: ClassVar[bool] = True

    def at(self, tau: Array) -> Array:
        u = np.clip(tau / self.decay_steps, 0.0, 1.0)
        return self.end_factor + (1.0 - self.end_factor) * (1.0 + np.cos(np.pi * u)) / 2.0

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        fall = f"(1.0 + math.cos(math.pi * min(tau / {self.decay_steps!r}, 1.0))) / 2.0"
        return [f"v = {between(self.end_factor, fall)}"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        return cls(decay_steps=decay_steps, end_factor=params["end_factor"])

    def boundaries(self, length: float) -> list[float]:
        end = self.decay_steps - self.offset
        return [end] if end <= length else []
