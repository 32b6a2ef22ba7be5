"""What a LightningModule returns under `lr_scheduler`, with exactly the schedule's rates."""

from typing import Any

from torch.optim import Optimizer

from lrtuner.document import ReactiveDocument
from lrtuner.integrations import torch
from lrtuner.schedules.grammar import Schedule


def scheduler(
    optimizer: Optimizer,
    schedule: Schedule | ReactiveDocument,
    *,
    total_steps: int | None = None,
    rescale: bool = False,
) -> dict[str, Any]:
    """Attach `schedule` to `optimizer`, and say when Lightning is to step it.

    In a LightningModule:

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters())
            steps = int(self.trainer.estimated_stepping_batches)
            config = scheduler(optimizer, schedule, total_steps=steps)
            return {"optimizer": optimizer, "lr_scheduler": config}

    A schedule in steps or seconds is stepped after every optimizer step, so
    `accumulate_grad_batches` needs no thought; one in epochs at the end of every epoch, and
    `total_steps` is then `self.trainer.max_epochs`. Lightning saves and loads its state. A schedule
    that reacts to a metric needs that metric logged under the name it monitors.

    With automatic optimization; where a module optimizes by hand, it steps the scheduler itself.

    Args:
        optimizer: any torch optimizer; the rates and `initial_lr` it carries do not matter.
        schedule: what `lrtuner.load` returns.
        total_steps: how long this training will really be, in the schedule's unit. When it differs
            from the schedule's, that is an error unless `rescale` is true.
        rescale: stretch the schedule to `total_steps` on purpose.

    Returns:
        The scheduler of `lrtuner.integrations.torch` with `interval` and `frequency`, and for a
        metric with `monitor` and `strict`. Lightning 2.6: `LRSchedulerConfig`.

    Raises:
        HorizonMismatchError: `total_steps` differs from the schedule's and `rescale` is false.
        UnsupportedError: `total_steps` or `rescale` for a schedule that reacts to a metric.
    """
    config = {
        "scheduler": torch.scheduler(optimizer, schedule, total_steps=total_steps, rescale=rescale),
        "interval": "epoch" if schedule.unit == "epoch" else "step",
        "frequency": 1,  # Lightning counts any other afresh in every epoch
    }
    if isinstance(schedule, ReactiveDocument):
        config |= {"monitor": schedule.body.monitor, "strict": True}
    return config
