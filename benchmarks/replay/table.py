"""Recorded runs as a table: which schedule with which peak over which horizon ended how."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.errors import InvalidInputError
from lrtuner.schedules.curves import ALIASES, COOLDOWNS
from lrtuner.schedules.grammar import Schedule
from lrtuner.strategy import Ask, Result

Array = NDArray[np.float64]

MNATS = 1000.0
"""Regrets are in thousandths of the loss."""


@dataclass(frozen=True)
class RecordedShape:
    """A schedule but for its peak, as a search of ours sees it (`lrtuner.strategy.arms.Shape`).

    It can be tried where it was recorded: `recorded` has the peaks by horizon, ascending, and
    `warmups` the updates of warmup.
    """

    schedule: str
    cooldown_fraction: float
    end_factor: float
    recorded: Mapping[int, Sequence[float]] = field(compare=False)
    warmups: Mapping[int, int] = field(compare=False)

    @property
    def key(self) -> str:
        """A name that differs for every shape of the table."""
        return f"{self.schedule}-c{self.cooldown_fraction!r}-e{self.end_factor!r}"

    @property
    def family(self) -> str:
        """The schedule's name."""
        return self.schedule

    def peaks(self, steps: int) -> Sequence[float]:
        """The peaks that were recorded over that horizon, ascending."""
        return self.recorded.get(steps, ())

    def factors(self, steps: int) -> Array:
        """The rate of each of `steps` updates as a factor of the peak.

        The warmup is as long as was recorded over that horizon, or else takes the share of the run
        that it took over the longest.
        """
        longest = max(self.warmups)
        warmup = self.warmups.get(steps, steps * self.warmups[longest] / longest)
        rising = {"steps": float(warmup)} if warmup else None
        parts = {
            "total_steps": steps,
            "peak_lr": 1.0,
            "warmup": rising,
            **self._fall(steps, warmup),
        }
        return Schedule.model_validate(parts).values()

    def _fall(self, steps: int, warmup: float) -> dict[str, Any]:
        """The body and the cooldown that the name stands for.

        `cosine`, `linear` and `exponential` fall from the end of the warmup to that of the run.
        Whatever else it is called, it stays and cools down over the last `cooldown_fraction`: along
        the curve that a name like `wsd_CURVE` ends with, or else linearly.
        """
        left = steps - warmup
        to_end = {"decay_steps": left, "end_factor": self.end_factor}
        if self.schedule in ("cosine", "linear") and left > 0:
            family = "cosine" if self.schedule == "cosine" else "polynomial"
            return {"body": {"family": family, **to_end}}
        if self.schedule == "exponential" and left > 0 and self.end_factor > 0:
            return {"body": {"family": "exponential", "decay_steps": left, "rate": self.end_factor}}
        body = {"body": {"family": "constant"}}
        if not self.cooldown_fraction or self.schedule == "constant":
            return body
        named = self.schedule.removeprefix("wsd_")
        curve = ALIASES.get(named, named)
        falling = {
            "start": steps * (1.0 - self.cooldown_fraction),
            "steps": steps * self.cooldown_fraction,
            "end_factor": self.end_factor,
            "curve": curve if curve in COOLDOWNS and curve != "power" else "linear",
        }
        return {**body, "cooldown": falling}


@dataclass(frozen=True)
class Recorded:
    """One run: its final loss, infinite if it diverged, and the logged losses after `steps`."""

    name: str
    loss: float
    steps: Array
    losses: Array

    def loss_after(self, step: float) -> float:
        """The logged loss, interpolated linearly; beyond the first and the last that one's.

        Infinite where the logged losses are not finite, and where a run that diverged logged none.
        """
        if not len(self.steps):
            return math.inf
        with np.errstate(invalid="ignore"):
            loss = float(np.interp(step, self.steps, self.losses))
        return loss if math.isfinite(loss) else math.inf


@dataclass(frozen=True)
class Arm:
    """A schedule with its peak: what a search chooses."""

    shape: RecordedShape
    lr: float


@dataclass(frozen=True)
class Choice:
    """What a search chose, and what it spent, in full-training equivalents."""

    arm: Arm
    spent: float


@dataclass(frozen=True)
class Table:
    """All runs of at most `target` updates, by shape, peak and updates. 1 FTE is `target` updates.

    The arms are what was recorded over the target horizon.
    """

    target: int
    shapes: tuple[RecordedShape, ...]
    runs: Mapping[tuple[str, float, int], Recorded]

    @cached_property
    def horizons(self) -> tuple[int, ...]:
        """The numbers of updates that were recorded, ascending; the last is the target."""
        return tuple(sorted({steps for _, _, steps in self.runs}))

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every shape at every peak, as far as recorded over the target horizon."""
        return tuple(Arm(shape, lr) for shape in self.shapes for lr in shape.peaks(self.target))

    @cached_property
    def peaks(self) -> tuple[float, ...]:
        """The peaks of the arms, ascending."""
        return tuple(sorted({arm.lr for arm in self.arms}))

    def run(self, arm: Arm, steps: int | None = None) -> Recorded:
        """The run over so many updates, the target if left out.

        Raises:
            InvalidInputError: it was not recorded.
        """
        horizon = self.target if steps is None else steps
        found = self.runs.get((arm.shape.key, arm.lr, horizon))
        if found is None:
            told = f"{arm.shape.key} with the peak {arm.lr:g} over {horizon} steps"
            raise InvalidInputError(f"no run of {told} was recorded")
        return found

    def regret(self, arm: Arm) -> float:
        """Its final loss minus the lowest, in mnats; if it diverged, as the worst that did not."""
        return MNATS * (min(self.run(arm).loss, self._finite[-1]) - self._finite[0])

    @cached_property
    def _finite(self) -> list[float]:
        return sorted(loss for arm in self.arms if math.isfinite(loss := self.run(arm).loss))


def answer(table: Table, ask: Ask) -> Result:
    """What came of a run that a search of ours asks for, and what it is charged.

    There is one recording of each: a second seed has no answer.

    Raises:
        InvalidInputError: it was not recorded.
    """
    if ask.seed or not isinstance(ask.shape, RecordedShape):
        raise InvalidInputError(f"no run of {ask.shape.key} on seed {ask.seed} was recorded")
    run = table.run(Arm(ask.shape, ask.lr), ask.steps)
    return Result(ask, run.loss, ask.steps / table.target)
