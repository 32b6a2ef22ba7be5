"""A self-contained module for MosaicML Composer (0.32): a `LambdaLR`, which its Trainer steps.

A function of Composer's own kind, `(state, ssr) -> factor`, could not be exact: the Trainer calls
it before it advances `state.timestamp`, so the second update repeats the first one's rate and every
later one is a step late. A scheduler of torch counts its own steps.
"""

from lrtuner.document import ScheduleDocument
from lrtuner.export import _formula
from lrtuner.export._base import Exporter, computed_by_counting
from lrtuner.export._module import (
    TORCH_IMPORTS,
    lambda_scheduler,
    module,
    summary,
    torch_class,
    written,
)

_WHEN = {
    "step": "True,  # per optimizer step, not per microbatch",
    "epoch": "False,  # once per epoch",
}


def render(schedule: ScheduleDocument) -> str:
    """The module's source: `learning_rate(t)` and `make_scheduler(optimizer)`."""
    suffix = {"step": "ba", "epoch": "ep"}[schedule.unit]
    doc = f"""
Learning-rate schedule for Composer: {summary(schedule)}.

    optimizer = torch.optim.{torch_class(schedule)}(model.parameters(), lr=PEAK_LR)
    trainer = Trainer(
        ...,
        max_duration="{schedule.total_steps}{suffix}",
        optimizers=optimizer,
        schedulers=make_scheduler(optimizer),
        step_schedulers_every_batch={_WHEN[schedule.unit]}
    )

Leave scale_schedule_ratio at 1: Composer refuses to stretch this. Rescale the config instead
(lrtuner.load, then .rescaled) and export it again.{_batches(schedule)}

{written(schedule)}
"""
    return module(
        doc,
        [*_formula.imports(schedule), *TORCH_IMPORTS],
        _formula.source(schedule),
        lambda_scheduler(),
    )


def _batches(schedule: ScheduleDocument) -> str:
    context = schedule.context
    if context is None or context.grad_accum == 1:
        return ""
    size = context.grad_accum * context.batch_size
    return f"""

In tuning {context.grad_accum} batches of {context.batch_size} made an optimizer step: a batch of \
Composer is all of it, {size}."""


EXPORTER = Exporter(
    title="a self-contained module for Composer with the schedule as a LambdaLR",
    media_type="text/x-python",
    filename="schedule_composer.py",
    closed_form=render,
    judge=computed_by_counting,
    no_reactive="Composer's Trainer steps its schedulers without a metric",
)
