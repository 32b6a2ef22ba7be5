"""A PyTorch scheduler that gives exactly the schedule's rates."""

from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from lrtuner.errors import HorizonMismatchError, InvalidScheduleError
from lrtuner.schedules.grammar import Schedule


def scheduler(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
) -> "ScheduleLR":
    """Attach `schedule` to `optimizer`: call `.step()` once after every `optimizer.step()`.

    Update t + 1 runs at exactly `schedule(t)`. The rate of `optimizer` is replaced; with several
    param groups their ratios are kept and the group with the largest rate gets the schedule's.

    Args:
        optimizer: any torch optimizer; the rates and `initial_lr` it carries do not matter.
        schedule: what `lrtuner.load` returns.
        total_steps: the updates this training will really make. When it differs from the
            schedule's, that is an error unless `rescale` is true.
        rescale: stretch the schedule to `total_steps` on purpose.

    Raises:
        HorizonMismatchError: `total_steps` differs from the schedule's and `rescale` is false.
    """
    if total_steps is not None and total_steps != schedule.total_steps:
        if not rescale:
            raise HorizonMismatchError(
                f"the schedule is for {schedule.total_steps} steps, this training makes "
                f"{total_steps}: tune for that length, or pass rescale=True to stretch it"
            )
        schedule = schedule.rescaled(total_steps)
    return ScheduleLR(optimizer, schedule)


class ScheduleLR(LRScheduler):
    """The rates of a schedule, looked up by the number of optimizer steps: stateless but for that.

    Saved and loaded with `state_dict` in any order relative to the optimizer; the rates after
    loading are those of the step saved at. Past the horizon the last rate is held.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
        self.schedule = schedule
        self._rates: list[float] = schedule.values().tolist()
        self._held = schedule(schedule.total_steps)
        largest = max(float(group["lr"]) for group in optimizer.param_groups)
        self.ratios = [
            float(group["lr"]) / largest if largest else 1.0 for group in optimizer.param_groups
        ]
        for group in optimizer.param_groups:
            group.pop("initial_lr", None)  # left over from another scheduler or a finder
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each param group at the current step."""
        step = self.last_epoch
        rate = self._rates[step] if step < len(self._rates) else self._held
        return [ratio * rate for ratio in self.ratios]

    def state_dict(self) -> dict[str, Any]:
        """The step, the group ratios, and the horizon to verify at loading."""
        return {
            "last_epoch": self.last_epoch,
            "ratios": list(self.ratios),
            "total_steps": self.schedule.total_steps,
            "peak_lr": self.schedule.peak_lr,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, and set the optimizer's rates accordingly.

        Raises:
            InvalidScheduleError: the state was saved under another schedule.
        """
        for name in ("total_steps", "peak_lr"):
            saved, ours = state_dict[name], getattr(self.schedule, name)
            if saved != ours:
                raise InvalidScheduleError(
                    f"the checkpoint was made under a schedule with {name} {saved}, not {ours}"
                )
        self.last_epoch = state_dict["last_epoch"]
        self.ratios = list(state_dict["ratios"])
        self._step_count = self.last_epoch + 1
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates
