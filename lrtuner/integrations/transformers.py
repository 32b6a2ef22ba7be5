"""What transformers' Trainer takes, with exactly the schedule's rates."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrtuner.document import ReactiveDocument, ScheduleDocument
from lrtuner.errors import UnsupportedError
from lrtuner.export import transformers as export
from lrtuner.integrations import torch
from lrtuner.integrations._horizon import fitted
from lrtuner.schedules.grammar import Schedule


def scheduler(
    optimizer: Optimizer,
    schedule: Schedule | ReactiveDocument,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
    steps_per_epoch: int | None = None,
) -> LRScheduler:
    """Attach `schedule` to `optimizer`, whose rate it replaces, for `Trainer(optimizers=...)`.

        args = TrainingArguments(..., **training_arguments(schedule))
        optimizer = torch.optim.AdamW(model.parameters())
        trainer = Trainer(model, args, ..., optimizers=(optimizer, scheduler(optimizer, schedule)))

    Trainer steps it after every optimizer step, so gradient accumulation needs no thought, and
    saves and loads its state. Of a schedule that reacts to a metric this makes torch's own
    `ReduceLROnPlateau`; Trainer steps it after each evaluation with `metric_for_best_model`
    (transformers 5.23).

    Args:
        optimizer: any torch optimizer on the model's parameters; its rates do not matter.
        schedule: what `lrtuner.load` returns.
        total_steps: how long this training will really be, in the schedule's unit: updates or
            epochs. When it differs from the schedule's, that is an error unless `rescale` is true.
        rescale: stretch the schedule to `total_steps` on purpose.
        steps_per_epoch: updates of an epoch, for a schedule in epochs; by default what its context
            says.

    Raises:
        HorizonMismatchError: `total_steps` differs from the schedule's and `rescale` is false.
        UnsupportedError: a schedule in seconds, one in epochs without `steps_per_epoch`, or
            `total_steps` or `rescale` for a schedule that reacts to a metric.
    """
    if isinstance(schedule, ReactiveDocument):
        return torch.scheduler(optimizer, schedule, total_steps=total_steps, rescale=rescale)
    per_epoch = _steps_per_epoch(schedule, steps_per_epoch)
    return torch.ScheduleLR(optimizer, fitted(schedule, total_steps, rescale=rescale), per_epoch)


def training_arguments(
    schedule: Schedule | ReactiveDocument, *, steps_per_epoch: int | None = None
) -> dict[str, Any]:
    """The fields of `TrainingArguments` that `schedule` decides: `TrainingArguments(..., **these)`.

    Of rates that follow time, `max_steps` and the peak; of a metric, which, and when to evaluate.
    Trainer calls `eval_loss` what is `val_loss` elsewhere. The type of Trainer's own scheduler is
    `constant`: ours takes its place.

    Raises:
        UnsupportedError: a schedule in seconds, or one in epochs without `steps_per_epoch`.
    """
    if isinstance(schedule, ReactiveDocument):
        return export.reactive_arguments(schedule)
    return export.training_arguments(schedule, _steps_per_epoch(schedule, steps_per_epoch))


def _steps_per_epoch(schedule: Schedule, given: int | None) -> int:
    """How many updates make one unit of the schedule."""
    if schedule.unit == "step":
        return 1
    if schedule.unit == "second":
        raise UnsupportedError(
            "Trainer counts optimizer steps, so it cannot follow a schedule in seconds; torch and "
            "Lightning can"
        )
    if given is not None:
        return given
    context = schedule.context if isinstance(schedule, ScheduleDocument) else None
    if context is None:
        raise UnsupportedError(
            "Trainer counts optimizer steps: a schedule in epochs needs steps_per_epoch"
        )
    return context.steps_per_epoch
