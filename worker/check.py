"""`python -m worker.check JOB.json`: what a job would do, from three updates; JSON on stdout."""

import argparse
import math
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lrtuner import __version__
from lrtuner.budget import evaluation_steps
from lrtuner.errors import JobFailedError, LRTunerError
from lrtuner.job import JobSpec, search_seed
from lrtuner.jsontext import dumps
from worker.device import choose_device, prepare
from worker.failure import explained
from worker.feed import Feed
from worker.find import INVALID, add_arguments, read
from worker.range_test import one_sweep
from worker.settings import Settings
from worker.task import Task, evaluation_mode, make_task
from worker.training import finite_or_none, full_cost
from worker.updates import Updates

UPDATES = 3
FAILED = 1

FEW_EXAMPLES = 100
"""With fewer of them for validation the noise between runs is often larger than what separates
schedules."""

_MEBIBYTE = 1024 * 1024


def main() -> int:
    """Check the job in a file: the result on stdout; 1 if it cannot work, 2 if it is not valid."""
    parser = argparse.ArgumentParser(prog="python -m worker.check", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    try:
        found = checked(read(arguments.job, arguments.code), Settings().device, arguments.code)
        sys.stdout.write(dumps(found, indent=2) + "\n")
    except JobFailedError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        sys.stdout.write("-\n")
        return FAILED
    except LRTunerError as error:
        sys.stderr.write(f"{error}\n")
        return INVALID
    return 0


def checked(spec: JobSpec, device_name: str, code: Path | None = None) -> dict[str, Any]:
    """What the job would do, how long and with how much memory, as plain data.

    Times are of this machine, seconds. Of the budget they are those of whole runs one after
    another; what runs share is trained once, so it may take less.

    Raises:
        JobFailedError: it cannot work.
    """
    device = choose_device(device_name)
    prepare(device)
    began = time.monotonic()
    task = make_task(spec, device, code)
    build_seconds = time.monotonic() - began
    try:
        trial = _tried(task)
    except LRTunerError:
        raise
    except Exception as error:
        told = explained(error)
        raise JobFailedError(f"{told.code}: {told.message}") from error
    evaluations = evaluation_steps(
        task.total_steps,
        task.examples_per_update,
        task.examples_per_evaluation,
        to_target=spec.objective.target is not None,
    )
    run_seconds = (
        task.total_steps * trial.update_seconds + len(evaluations) * trial.evaluation_seconds
    )
    whole = full_cost(task, test=False, target=spec.objective.target)
    budget = spec.search.budget
    budget_seconds = budget.full_runs / whole * run_seconds
    if budget.max_minutes is not None:
        budget_seconds = min(budget_seconds, 60.0 * budget.max_minutes)
    repeatable = _same(trial, task, make_task(spec, device, code))
    return {
        "kind": "check",
        "tool_version": __version__,
        "device": str(device),
        "examples": {
            "train": len(task.data.train),
            "validation": len(task.data.validation),
            "test": len(task.data.test),
        },
        "batch_size": task.batch_size,
        "examples_per_update": task.examples_per_update,
        "steps_per_epoch": task.steps_per_epoch,
        "total_steps": task.total_steps,
        "evaluations": len(evaluations),
        "parameters": {"all": trial.parameters, "trained": trial.trained},
        "losses": [finite_or_none(loss) for loss in trial.losses],
        "metrics": {name: finite_or_none(value) for name, value in trial.metrics.items()},
        "examples_per_second": task.examples_per_update / trial.update_seconds,
        "full_runs": budget.full_runs,
        "seconds": {
            "build": build_seconds,
            "update": trial.update_seconds,
            "evaluation": trial.evaluation_seconds,
            "full_run": run_seconds,
            "budget": budget_seconds,
        },
        "peak_memory_mb": _peak_memory(device),
        "repeatable": repeatable,
        "warnings": [*_warnings(task, trial), *([] if repeatable else [_NOT_REPEATABLE])],
    }


@dataclass
class _Trial:
    """What three updates and an evaluation showed."""

    lr: float
    parameters: int
    trained: int
    losses: list[float] = field(default_factory=list)
    before: float = math.nan
    after: float = math.nan
    metrics: dict[str, float] = field(default_factory=dict)
    update_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    without_gradient: list[str] = field(default_factory=list)


def _tried(task: Task) -> _Trial:
    seed, lr = search_seed(task.spec.seed), min(task.spec.optimizer.default_lrs)
    model = task.model(seed)
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    trial = _Trial(lr, sum(n for n, _ in counts), sum(n for n, trains in counts if trains))

    def look() -> torch.Tensor:
        named = model.named_parameters()
        trial.without_gradient = [n for n, p in named if p.requires_grad and p.grad is None]
        return torch.zeros(())

    optimizer = task.optimizer(model, lr)
    updates = Updates(
        model, optimizer, task.precise_loss, task.grad_accum, task.scaler(), look=look
    )
    feed = Feed(task, seed, UPDATES * task.grad_accum)
    first = next(task.batches(seed, 1))
    trial.before = _loss(task, model, first)
    for _ in range(UPDATES):
        began = time.monotonic()
        made = updates.make(lr, feed)
        trial.losses.append(made[0].item() if made else math.nan)
        # the last one counts: in the first memory is found, and kernels are
        trial.update_seconds = time.monotonic() - began
    trial.after = _loss(task, model, first)
    began = time.monotonic()
    with task.autocast():
        trial.metrics = task.evaluate(model, task.data.validation)
    trial.evaluation_seconds = time.monotonic() - began
    return trial


def _loss(task: Task, model: nn.Module, batch: Any) -> float:
    with evaluation_mode(model):
        return task.precise_loss(model, batch).item()


def _same(trial: _Trial, task: Task, again: Task) -> bool:
    """Whether two builds are the same data and train to the same losses."""
    rates, seed = [trial.lr] * UPDATES, search_seed(task.spec.seed)
    same_data = task.data.digest() == again.data.digest()
    return same_data and one_sweep(task, rates, seed) == one_sweep(again, rates, seed)


_NOT_REPEATABLE = (
    "two builds with the same seed differ: draw what is random from the global generators of "
    "Python, NumPy or torch, or from one with context.seed; pairs of runs will be noisier"
)


def _warnings(task: Task, trial: _Trial) -> list[str]:
    found = []
    if not len(task.data.test):
        found.append("there is no test split: final runs are measured on the validation split only")
    count = len(task.data.validation)
    if count < FEW_EXAMPLES:
        found.append(f"{count} validation examples: noise may hide what separates schedules")
    if not all(map(math.isfinite, trial.losses)):
        found.append(f"the loss is not finite in {UPDATES} updates at a rate of {trial.lr:g}")
    elif trial.after >= trial.before:
        found.append(
            f"the loss of the first batch did not fall in {UPDATES} updates at a rate of "
            f"{trial.lr:g}: {trial.before:.4g}, then {trial.after:.4g}"
        )
    if trial.without_gradient:
        names = ", ".join(trial.without_gradient[:5])
        found.append(f"{len(trial.without_gradient)} parameters get no gradient: {names}")
    return found


def _peak_memory(device: torch.device) -> float:
    """MiB: of the GPU what tensors took, else of the process, the libraries included."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / _MEBIBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MEBIBYTE if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    sys.exit(main())
