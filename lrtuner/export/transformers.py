"""A self-contained module for transformers' Trainer: a LambdaLR, and what else to set."""

import json
from typing import Any

from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument
from lrtuner.export import _formula
from lrtuner.export._base import Exporter, computed_by_steps
from lrtuner.export._module import (
    PLATEAU_IMPORTS,
    TORCH_IMPORTS,
    grad_accum,
    lambda_scheduler,
    module,
    plateau_scheduler,
    summary,
    torch_class,
    written,
)
from lrtuner.export._transformers_native import Native, native, plateau_arguments
from lrtuner.schedules.grammar import Schedule

Arguments = dict[str, Any]

_OWN = {"lr_scheduler_type": "constant", "warmup_steps": 0}
"""What Trainer's own scheduler is set to where another one is given."""


def training_arguments(schedule: Schedule, steps_per_unit: int) -> Arguments:
    """The fields of `TrainingArguments` that a schedule in steps or epochs decides."""
    return {
        "max_steps": schedule.total_steps * steps_per_unit,
        "learning_rate": schedule.peak_lr,
        **_OWN,
        **_accumulation(schedule),
    }


def reactive_arguments(document: ReactiveDocument) -> Arguments:
    """The fields of `TrainingArguments` that a schedule which reacts to a metric decides.

    Trainer calls `eval_loss` what is `val_loss` elsewhere.
    """
    rule, every_step = document.body, {"eval_strategy": "steps", "eval_steps": 1}
    return {
        "learning_rate": document.peak_lr,
        **_OWN,
        **(every_step if document.unit == "step" else {"eval_strategy": "epoch"}),
        "metric_for_best_model": "eval_" + rule.monitor.removeprefix("val_").removeprefix("eval_"),
        "greater_is_better": rule.mode == "max",
        **_accumulation(document),
    }


def _accumulation(schedule: Schedule | ReactiveDocument) -> Arguments:
    if not isinstance(schedule, AnyDocument) or schedule.context is None:
        return {}
    return {"gradient_accumulation_steps": grad_accum(schedule)}


def render(schedule: ScheduleDocument) -> str:
    """The module's source: the rates, `make_scheduler` and TRAINING_ARGUMENTS."""
    epochs = schedule.context if schedule.unit == "epoch" else None
    own = native(schedule)
    return module(
        _doc(schedule, "steps it after every optimizer step, not after every micro-batch"),
        [*_formula.imports(schedule), *TORCH_IMPORTS],
        _formula.step_source(schedule),
        lambda_scheduler("rate_at"),
        _arguments(training_arguments(schedule, epochs.steps_per_epoch if epochs else 1)),
        *([_native(own, schedule.total_steps)] if own else []),
    )


def render_reactive(document: ReactiveDocument) -> str:
    """The module's source: torch's `ReduceLROnPlateau`, and TRAINING_ARGUMENTS."""
    return module(
        _doc(document, f"evaluates once per {document.unit} and steps it with the metric"),
        PLATEAU_IMPORTS,
        plateau_scheduler(document),
        _arguments(reactive_arguments(document)),
        "# Without `optimizers`: Trainer makes the same scheduler by itself.\n"
        + _native_arguments(plateau_arguments(document)),
    )


def _native(own: Native, end: int) -> str:
    return (
        "# Without `optimizers`: Trainer's own scheduler has the same rates up to the last step,\n"
        f"# {end - 1}; from step {end} on it {own.afterwards}.\n" + _native_arguments(own.arguments)
    )


def _arguments(fields: Arguments) -> str:
    lines = _lines({name: value for name, value in fields.items() if name != "learning_rate"})
    return f'TRAINING_ARGUMENTS = {{\n    "learning_rate": PEAK_LR,\n{lines}}}\n'


def _native_arguments(fields: Arguments) -> str:
    return f"NATIVE_TRAINING_ARGUMENTS = {{\n    **TRAINING_ARGUMENTS,\n{_lines(fields)}}}\n"


def _lines(fields: Arguments, indent: str = "    ") -> str:
    return "".join(
        f"{indent}{json.dumps(name)}: {_literal(value, indent)},\n"
        for name, value in fields.items()
    )


def _literal(value: Any, indent: str) -> str:
    if isinstance(value, dict):
        return "{\n" + _lines(value, indent + "    ") + indent + "}"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _doc(document: AnyDocument, stepped: str) -> str:
    return f"""
Learning-rate schedule for transformers: {summary(document)}.

    args = TrainingArguments(..., **TRAINING_ARGUMENTS)
    optimizer = torch.optim.{torch_class(document)}(model.parameters(), lr=PEAK_LR)
    trainer = Trainer(model, args, ..., optimizers=(optimizer, make_scheduler(optimizer)))

Trainer {stepped}.
It saves and loads its state with its own checkpoints.

{written(document)}
"""


EXPORTER = Exporter(
    title="a self-contained module for transformers' Trainer",
    media_type="text/x-python",
    filename="schedule_transformers.py",
    closed_form=render,
    judge=computed_by_steps,
    reactive=render_reactive,
)
