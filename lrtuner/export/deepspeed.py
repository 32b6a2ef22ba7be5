"""A self-contained module for DeepSpeed (0.19): a function that makes a `LambdaLR` for its engine.

Beside it, where a scheduler of DeepSpeed's own JSON comes near: what to write there, and how near.
"""

from lrtuner.document import ScheduleDocument
from lrtuner.export import _deepspeed_json, _formula
from lrtuner.export._base import Exporter, computed_by_steps
from lrtuner.export._module import (
    TORCH_IMPORTS,
    grad_accum,
    lambda_scheduler,
    module,
    summary,
    torch_class,
    written,
)


def render(schedule: ScheduleDocument) -> str:
    """The module's source: `learning_rate(t)`, `make_scheduler`, maybe `DS_CONFIG_SCHEDULER`."""
    doc = f"""
Learning-rate schedule for DeepSpeed: {summary(schedule)}.

    optimizer = torch.optim.{torch_class(schedule)}(model.parameters(), lr=PEAK_LR)
    engine, optimizer, _, _ = deepspeed.initialize(
        model=model,
        optimizer=optimizer,  # or leave it to ds_config
        lr_scheduler=make_scheduler,  # the function; DeepSpeed calls it
        config=ds_config,  # without "scheduler"{_accumulating(schedule)}
    )

engine.step() steps it, once per optimizer step: never call scheduler.step() yourself.

{written(schedule)}
"""
    by_step = schedule.unit == "step"
    formula = _formula.source(schedule) if by_step else _formula.step_source(schedule)
    parts = [formula, lambda_scheduler("learning_rate" if by_step else "rate_at")]
    if in_json := _deepspeed_json.source(schedule):
        parts.append(in_json)
    return module(doc, [*_formula.imports(schedule), *TORCH_IMPORTS], *parts)


def _accumulating(schedule: ScheduleDocument) -> str:
    batches = grad_accum(schedule)
    return f'; "gradient_accumulation_steps": {batches}' if batches > 1 else ""


EXPORTER = Exporter(
    title="a self-contained module for DeepSpeed, which makes a LambdaLR of it",
    media_type="text/x-python",
    filename="schedule_deepspeed.py",
    closed_form=render,
    judge=computed_by_steps,
    no_reactive="DeepSpeed steps its scheduler without a metric",
)
