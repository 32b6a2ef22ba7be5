"""A self-contained PyTorch module: the formula in plain Python behind a `LambdaLR`."""

import math
from typing import Any

import numpy as np

from lrtuner.document import ExportFidelity, ScheduleDocument
from lrtuner.export._base import Exporter
from lrtuner.schedules.curves import COOLDOWNS, WARMUPS

EXACT_WITHIN = 1e-12
"""Rounding of the same formula by another library, relative to the peak."""

_SAMPLES = 20_000

_MODULE = '''"""Learning-rate schedule for PyTorch: {summary}.

    optimizer = torch.optim.{optimizer}(model.parameters(), lr=PEAK_LR)
    scheduler = make_scheduler(optimizer)
    for batch in batches:
        ...
        optimizer.step()
        scheduler.step()      # once per optimizer step: not per epoch, not per micro-batch

The rate is a function of the number of optimizer steps. After step {total_steps} it is held.
Written by lrtuner{origin}.
"""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

PEAK_LR = {peak_lr!r}
TOTAL_STEPS = {total_steps!r}


def learning_rate(step: int) -> float:
    """The rate that update number `step`, counted from 0, is made with."""
{body}


def make_scheduler(optimizer: Optimizer) -> LambdaLR:
    """Attach the schedule. Rates of several param groups keep their ratios; the largest peaks."""
    largest = max(group["lr"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        # the base of LambdaLR is a ratio here, so that the rate itself is not rounded again
        group["initial_lr"] = group["lr"] = group["lr"] / largest if largest else 1.0
    return LambdaLR(optimizer, learning_rate)
'''


def render(schedule: ScheduleDocument) -> str:
    """The module's source."""
    provenance = schedule.provenance
    return _MODULE.format(
        summary=f"{schedule.body.family}, {schedule.total_steps} steps, peak {schedule.peak_lr:g}",
        optimizer=_CLASSES.get(schedule.optimizer.name, "SGD") if schedule.optimizer else "SGD",
        origin=f" {provenance.tool_version}, job {provenance.job_id}" if provenance else "",
        peak_lr=schedule.peak_lr,
        total_steps=schedule.total_steps,
        body=_body(schedule),
    )


def fidelity(schedule: ScheduleDocument) -> ExportFidelity:
    """Run the rendered formula beside the evaluator: over every step, or a sample of 20,000."""
    namespace: dict[str, Any] = {"math": math}
    source = "def learning_rate(step):\n" + _body(schedule).replace(
        "PEAK_LR", repr(schedule.peak_lr)
    )
    exec(source, namespace)  # noqa: S102 - our own formula, built from numbers
    learning_rate = namespace["learning_rate"]
    end = schedule.total_steps + 2  # past the end as well
    steps = np.unique(np.linspace(0, end, min(end + 1, _SAMPLES)).astype(np.int64))
    rates = np.array([learning_rate(int(step)) for step in steps])
    error = float(np.max(np.abs(rates - schedule(steps))) / schedule.peak_lr)
    return ExportFidelity(
        fidelity="exact" if error <= EXACT_WITHIN else "approximate", max_rel_error=error
    )


def _body(schedule: ScheduleDocument) -> str:
    lines = [f"t = float(min(step, {schedule.hold_step}))"]
    warmup, cooldown, start = schedule.warmup, schedule.cooldown, 0.0
    if warmup:
        start = warmup.steps
        s = warmup.start_factor
        lines += [
            f"if t < {start!r}:  # warmup",
            f"    u = t / {start!r}",
            f"    return PEAK_LR * ({s!r} + {1.0 - s!r} * ({WARMUPS[warmup.curve].expression}))",
        ]
    lines += [
        f"tau = t - {start!r} + {schedule.body.offset!r}",
        f"v = {schedule.body.expression()}",
    ]
    if cooldown:
        e, fall = cooldown.end_factor, COOLDOWNS[cooldown.curve].expression
        lines += [
            f"if t >= {cooldown.start!r}:  # cooldown",
            f"    u = min((t - {cooldown.start!r}) / {cooldown.steps!r}, 1.0)",
            f"    v = {e!r} + (v - {e!r}) * ({fall})",
        ]
    lines.append(f"return PEAK_LR * max(v, {schedule.min_factor!r})")
    return "\n".join("    " + line for line in lines)


_CLASSES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}

EXPORTER = Exporter(
    title="a self-contained PyTorch module with the schedule as a LambdaLR",
    media_type="text/x-python",
    filename="schedule_torch.py",
    render=render,
    fidelity=fidelity,
)
