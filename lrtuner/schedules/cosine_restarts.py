"""Cosine annealing with warm restarts (SGDR)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field

from lrtuner.schedules._base import HAIR, Array, BaseBody, Factor, Length
from lrtuner.space import Choice, Range

_MAX_BOUNDARIES = 8


def _few_cycles(t_mult: float) -> float:
    if 1.0 < t_mult < 1.01:
        raise ValueError("it must be 1, or 1.01 and more")
    return t_mult


TMult = Annotated[
    float,
    Field(ge=1, le=1000, description="By what the length is multiplied with each cycle."),
    AfterValidator(_few_cycles),
]


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
    t_mult: TMult = 1.0
    m_mult: Annotated[
        float, Field(gt=0, le=1, description="By what the peak is multiplied with each cycle.")
    ] = 1.0
    end_factor: Factor = 0.0
    cycles: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="How many; null goes on until the horizon."
    )

    lengths: ClassVar[tuple[str, ...]] = ("first_steps",)
    space: ClassVar[Mapping[str, Range]] = {
        "cycles": Choice(values=(2.0, 3.0, 4.0)),
        "t_mult": Choice(values=(1.0, 2.0)),
        "end_factor": Choice(values=(0.0, 0.01, 0.1)),
    }
    monotone: ClassVar[bool] = False
    decays_fully: ClassVar[bool] = True

    def at(self, tau: Array) -> Array:
        cycle, u = self._even(tau) if self.t_mult == 1.0 else self._growing(tau)
        high = 1.0 if self.m_mult == 1.0 else self.m_mult**cycle  # powers are slow
        low = self.end_factor
        v = low + (high - low) * (1.0 + np.cos(np.pi * u)) / 2.0
        return v if self.cycles is None else np.where(cycle >= self.cycles, low, v)

    def _even(self, tau: Array) -> tuple[Array, Array]:
        periods = tau / self.first_steps
        cycle = np.floor(periods + HAIR)
        return cycle, np.maximum(periods - cycle, 0.0)

    def _growing(self, tau: Array) -> tuple[Array, Array]:
        starts = np.array(self._starts(float(np.max(tau, initial=0.0))))
        cycle = np.searchsorted(starts, tau + self._hair, side="right") - 1
        into = np.maximum(tau - starts[cycle], 0.0)
        return cycle.astype(np.float64), into / np.diff(starts)[cycle]

    @property
    def _hair(self) -> float:
        return HAIR * self.first_steps

    def _starts(self, end: float) -> list[float]:
        """Where the cycles begin, up to the first that begins after `end`."""
        starts, length = [0.0], self.first_steps
        while starts[-1] <= end + self._hair:
            starts.append(starts[-1] + length)
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
                f"cycle = bisect.bisect_right(starts, tau + {self._hair!r}) - 1",
                "u = max(tau - starts[cycle], 0.0) / (starts[cycle + 1] - starts[cycle])",
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
