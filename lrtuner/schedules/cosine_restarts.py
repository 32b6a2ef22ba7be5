"""Cosine annealing with warm restarts (SGDR)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from lrtuner.schedules._base import HAIR, Array, BaseBody, Factor, Length
from lrtuner.space import Choice, Range
from lrtuner.strict import does_not_fit

_MAX_BOUNDARIES = 8


class CosineRestarts(BaseBody):
    """v(tau) = e + (m^i - e) (1 + cos(pi u)) / 2 in cycle i = 0, 1, ..., u in [0, 1) within it.

    Cycle i is F x^i long: F `first_steps`, x `t_mult` (1, or 1.01 and more); m `m_mult` scales the
    peak from cycle to cycle, e `end_factor`. After `cycles` of them it holds e; null goes on until
    the horizon.

    Loshchilov and Hutter 2017 (arXiv 1608.03983). torch: `CosineAnnealingWarmRestarts`; Keras
    `CosineDecayRestarts` is the same where m_mult is 1 or e is 0. The cycles' starts are sums, not
    a logarithm: that one rounds to the wrong cycle at some boundaries.
    """

    family: Literal["cosine_restarts"] = "cosine_restarts"
    first_steps: Length
    t_mult: Annotated[float, Field(ge=1, le=1000)] = 1.0
    m_mult: Annotated[float, Field(gt=0, le=1)] = 1.0
    end_factor: Factor = 0.0
    cycles: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    lengths: ClassVar[tuple[str, ...]] = ("first_steps",)
    space: ClassVar[Mapping[str, Range]] = {
        "cycles": Choice(values=(2.0, 3.0, 4.0)),
        "t_mult": Choice(values=(1.0, 2.0)),
        "end_factor": Choice(values=(0.0, 0.01, 0.1)),
    }
    monotone: ClassVar[bool] = False
    decays_fully: ClassVar[bool] = True

    @model_validator(mode="after")
    def _few_cycles(self) -> Self:
        if 1.0 < self.t_mult < 1.01:
            raise does_not_fit("t_mult", f"{self.t_mult} is between 1 and 1.01: use 1, or more")
        return self

    def at(self, tau: Array) -> Array:
        cycle, u = self._even(tau) if self.t_mult == 1.0 else self._growing(tau)
        high, low = self.m_mult**cycle, self.end_factor
        v = low + (high - low) * (1.0 + np.cos(np.pi * u)) / 2.0
        return v if self.cycles is None else np.where(cycle >= self.cycles, low, v)

    def _even(self, tau: Array) -> tuple[Array, Array]:
        cycle = np.floor(tau / self.first_steps + HAIR)
        return cycle, np.maximum(tau / self.first_steps - cycle, 0.0)

    def _growing(self, tau: Array) -> tuple[Array, Array]:
        starts = np.array(self._starts(float(np.max(tau, initial=0.0))))
        cycle = np.searchsorted(starts, tau, side="right") - 1
        return cycle.astype(np.float64), (tau - starts[cycle]) / np.diff(starts)[cycle]

    def _starts(self, end: float) -> list[float]:
        """Where the cycles begin, up to the first that begins after `end`."""
        starts, length = [0.0], self.first_steps
        while starts[-1] <= end:
            following = starts[-1] + length
            whole = round(following)
            near = abs(following - whole) <= HAIR * following
            starts.append(float(whole) if near and whole > starts[-1] else following)
            length *= self.t_mult
        return starts

    def statements(self, end: float) -> list[str]:
        m, e = self.m_mult, self.end_factor
        if self.t_mult == 1.0:
            lines = [
                f"cycle = math.floor(tau / {self.first_steps!r} + {HAIR!r})",
                f"u = max(tau / {self.first_steps!r} - cycle, 0.0)",
            ]
        else:
            lines = [
                f"starts = ({', '.join(map(repr, self._starts(end)))})",
                "cycle = bisect.bisect_right(starts, tau) - 1",
                "u = (tau - starts[cycle]) / (starts[cycle + 1] - starts[cycle])",
            ]
        v = f"{e!r} + ({m!r} ** cycle - {e!r}) * (1.0 + math.cos(math.pi * u)) / 2.0"
        lines.append(f"v = {v}")
        return (
            lines
            if self.cycles is None
            else [*lines, f"v = {e!r} if cycle >= {self.cycles} else v"]
        )

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        cycles, t_mult = int(params["cycles"]), params["t_mult"]
        return cls(
            first_steps=decay_steps / sum(t_mult**i for i in range(cycles)),
            t_mult=t_mult,
            end_factor=params["end_factor"],
            cycles=cycles,
        )

    def boundaries(self, length: float) -> list[float]:
        if self.t_mult == 1.0:
            count = min(int(length / self.first_steps), _MAX_BOUNDARIES)
            starts = [self.first_steps * (i + 1) for i in range(count)]
        else:
            starts = self._starts(length)[1 : _MAX_BOUNDARIES + 1]
        return [start - self.offset for start in starts]
