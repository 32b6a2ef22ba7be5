"""A PyTorch scheduler that gives exactly the schedule's rates."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrtuner.document import ReactiveDocument
from lrtuner.errors import InvalidScheduleError
from lrtuner.integrations._horizon import fitted, no_horizon
from lrtuner.jsontext import digest
from lrtuner.schedules.grammar import Schedule

_AHEAD = 1024
"""How many rates are computed at a time: so a long schedule costs no memory."""


@overload
def scheduler(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> "ScheduleLR": ...
@overload
def scheduler(
    optimizer: torch.optim.Optimizer,
    schedule: ReactiveDocument,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> ReduceLROnPlateau: ...
def scheduler(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule | ReactiveDocument,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> LRScheduler:
    """Attach `schedule` to `optimizer`, whose rate it replaces.

    The schedule's unit says when to call `.step()`:

    - step: once after every `optimizer.step()`; update t + 1 runs at exactly `schedule(t)`. Where a
      gradient scaler skipped the update, skip the call too.
    - epoch: once after every epoch; epoch t + 1 runs at exactly `schedule(t)`.
    - second: once after every `optimizer.step()`. The next update runs at `schedule(t)`, t the
      seconds since the scheduler was made, by `clock`. They are kept in the state: the time between
      saving and loading does not count.

    With several param groups their ratios are kept and the group with the largest rate gets the
    schedule's.

    Of a schedule that reacts to a metric this makes torch's own `ReduceLROnPlateau`: call
    `.step(value)` with the metric once per unit. To resume with that one, make it first and then
    load the states of both.

    Args:
        optimizer: any torch optimizer; the rates and `initial_lr` it carries do not matter.
        schedule: what `lrtuner.load` returns.
        total_steps: how long this training will really be, in the schedule's unit: updates, epochs
            or seconds. When it differs from the schedule's, that is an error unless `rescale` is
            true.
        rescale: stretch the schedule to `total_steps` on purpose.
        clock: seconds that never go back; only a schedule in seconds asks it.

    Raises:
        HorizonMismatchError: `total_steps` differs from the schedule's and `rescale` is false.
        UnsupportedError: `total_steps` or `rescale` for a schedule that reacts to a metric.
    """
    if isinstance(schedule, ReactiveDocument):
        no_horizon(total_steps, rescale=rescale)
        return _plateau(optimizer, schedule)
    schedule = fitted(schedule, total_steps, rescale=rescale)
    if schedule.unit == "second":
        return ClockLR(optimizer, schedule, clock)
    return ScheduleLR(optimizer, schedule)


class ScheduleLR(LRScheduler):
    """The rates of a schedule, looked up by the number of `.step()` calls.

    Saved and loaded with `state_dict` in any order relative to the optimizer; the rates after
    loading are those of the step saved at. Past the horizon the last rate is held.

    Where a schedule in epochs is stepped after every update, `steps_per_epoch` says how many make
    an epoch.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Schedule, steps_per_epoch: int = 1
    ) -> None:
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch
        self.ratios = _ratios(optimizer)
        self._first = 0
        self._rates: list[float] = []
        for group in optimizer.param_groups:
            group.pop("initial_lr", None)  # left over from another scheduler or a finder
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each param group at the current step."""
        rate = self._rate()
        return [ratio * rate for ratio in self.ratios]

    def _rate(self) -> float:
        ahead = self.last_epoch - self._first
        if not 0 <= ahead < len(self._rates):
            self._first, ahead = self.last_epoch, 0
            steps = np.arange(self._first, self._first + _AHEAD)
            self._rates = self.schedule(steps // self.steps_per_epoch).tolist()
        return self._rates[ahead]

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a checkpoint and the scheduler that loads it must agree on."""
        return {
            "total_steps": self.schedule.total_steps,
            "peak_lr": self.schedule.peak_lr,
            "unit": self.schedule.unit,
            "steps_per_epoch": self.steps_per_epoch,
            "digest": digest(self.schedule.bare().document),
        }

    def state_dict(self) -> dict[str, Any]:
        """The step, the group ratios, and the schedule's identity to verify at loading."""
        return {"last_epoch": self.last_epoch, "ratios": list(self.ratios), **self._identity}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, and set the optimizer's rates accordingly.

        Raises:
            InvalidScheduleError: the state was saved under another schedule.
        """
        for name, ours in self._identity.items():
            saved = state_dict.get(name)
            if saved != ours:
                raise InvalidScheduleError(
                    f"the checkpoint was made under a schedule with {name} {saved}, not {ours}"
                )
        self.last_epoch = state_dict["last_epoch"]
        self.ratios = list(state_dict["ratios"])
        self._step_count = self.last_epoch + 1
        self._use(self._rate())

    def _use(self, rate: float) -> None:
        rates = [ratio * rate for ratio in self.ratios]
        _set_rates(self.optimizer, rates)
        self._last_lr: list[float | torch.Tensor] = [*rates]


class ClockLR(ScheduleLR):
    """The rates of a schedule in seconds: `.step()` looks at the clock."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Schedule, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._before, self._started = 0.0, clock()
        super().__init__(optimizer, schedule)

    @property
    def elapsed(self) -> float:
        """The seconds trained so far, those before a checkpoint included."""
        return self._before + (self._clock() - self._started)

    def _rate(self) -> float:
        self._current = self.schedule(self.elapsed if self.last_epoch else 0.0)
        return self._current

    def state_dict(self) -> dict[str, Any]:
        """As of any schedule, with the seconds trained so far and the rate in use."""
        return {**super().state_dict(), "elapsed": self.elapsed, "rate": self._current}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; the time since then does not count.

        Raises:
            InvalidScheduleError: the state was saved under another schedule.
        """
        super().load_state_dict(state_dict)
        self._before, self._started = state_dict["elapsed"], self._clock()
        self._current = state_dict["rate"]
        self._use(self._current)


def _plateau(optimizer: torch.optim.Optimizer, document: ReactiveDocument) -> ReduceLROnPlateau:
    peaks = [document.peak_lr * ratio for ratio in _ratios(optimizer)]
    _set_rates(optimizer, peaks)
    rule = document.body
    return ReduceLROnPlateau(
        optimizer,
        mode=rule.mode,
        factor=rule.factor,
        patience=rule.patience,
        threshold=rule.threshold,
        threshold_mode=rule.threshold_mode,
        cooldown=rule.cooldown,
        min_lr=[rule.min_factor * peak for peak in peaks],
        eps=0.0,  # by default torch ignores reductions smaller than 1e-8
    )


def _ratios(optimizer: torch.optim.Optimizer) -> list[float]:
    """The rate of each param group over the largest."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    largest = max(rates)
    return [rate / largest if largest else 1.0 for rate in rates]


def _set_rates(optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)  # a compiled optimizer step holds on to this tensor
        else:
            group["lr"] = rate
