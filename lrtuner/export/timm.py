"""A self-contained module for timm (1.0): a subclass of its `Scheduler`.

timm's scheduler is told how far the training is and keeps no count of its own.
"""

from lrtuner.document import ScheduleDocument
from lrtuner.export import _formula
from lrtuner.export._base import Exporter, computed_by_counting
from lrtuner.export._module import module, summary, torch_class, written

_LOOPS = {
    "step": """\
    for batch in batches:
        ...
        optimizer.step()
        num_updates += 1      # from 0; optimizer steps, not micro-batches
        scheduler.step_update(num_updates=num_updates)""",
    "epoch": """\
    for epoch in range(TOTAL_STEPS):
        ...
        scheduler.step(epoch + 1)""",
}

_IMPORTS = (
    "from timm.scheduler.scheduler import Scheduler",
    "from torch.optim import Optimizer",
)

_SCHEDULER = '''class Schedule(Scheduler):
    """The rates of `learning_rate`, set by {calls}."""

    def __init__(self, optimizer: Optimizer) -> None:
        largest = max(group["lr"] for group in optimizer.param_groups)
        for group in optimizer.param_groups:
            # timm takes the base values from here: ratios, and nothing that others left behind
            group["initial_lr"] = group["lr"] / largest if largest else 1.0
        super().__init__(optimizer, param_group_field="lr", t_in_epochs={in_epochs})
        self.update_groups(self._get_lr(0))

    def _get_lr(self, t: int) -> list[float]:
        rate = learning_rate(t)
        return [ratio * rate for ratio in self.base_values]


def make_scheduler(optimizer: Optimizer) -> Schedule:
    """Attach the schedule. Rates of several param groups keep their ratios; the largest peaks.

    A group's `lr_scale` (layer decay) is kept too. When resuming, make it before the state of the
    optimizer is loaded; the next call with the count so far sets the rate.
    """
    return Schedule(optimizer)
'''


def render(schedule: ScheduleDocument) -> str:
    """The module's source: `learning_rate(t)`, `Schedule` and `make_scheduler(optimizer)`."""
    doc = f"""
Learning-rate schedule for timm: {summary(schedule)}.

    optimizer = torch.optim.{torch_class(schedule)}(model.parameters(), lr=PEAK_LR)
    scheduler = make_scheduler(optimizer)
{_LOOPS[schedule.unit]}

Warmup is in it; there is no noise.

{written(schedule)}
"""
    in_epochs = schedule.unit == "epoch"
    calls = "step(epoch + 1)" if in_epochs else "step_update(num_updates)"
    return module(
        doc,
        [*_formula.imports(schedule), *_IMPORTS],
        _formula.source(schedule),
        _SCHEDULER.format(calls=calls, in_epochs=in_epochs),
    )


EXPORTER = Exporter(
    title="a self-contained module for timm: a subclass of its Scheduler",
    media_type="text/x-python",
    filename="schedule_timm.py",
    closed_form=render,
    judge=computed_by_counting,
    no_reactive="timm has deprecated its plateau scheduler, whose state it does not save: take "
    "the torch export, and call its scheduler in the loop",
)
