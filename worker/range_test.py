"""The range test of a job: sweeps on several seeds, analysed, within its share of the budget."""

from collections.abc import Callable

from lrtuner.budget import RANGE_TEST_SHARE, sweep_size
from lrtuner.job import derived_seed
from lrtuner.range_test import (
    MIN_POINTS,
    RangeTestResult,
    Sweep,
    analyse,
    suggest,
    summary,
    sweep_rates,
)
from worker.failure import explained
from worker.optimizers import make_optimizer
from worker.sweep import sweep
from worker.task import Task, loss_of


def run_range_test(
    task: Task, on_sweep: Callable[[int, int], None] = lambda _done, _count: None
) -> RangeTestResult:
    """Sweep, analyse and suggest. What a model raises ends the sweeps, not the job.

    `on_sweep(done, count)` is called after each sweep.
    """
    spec = task.spec
    asked = spec.range_test
    share = 1.0 if spec.search.mode == "range_test" else RANGE_TEST_SHARE
    num_seeds, num_steps = sweep_size(
        share * spec.search.budget.full_runs,
        task.total_steps,
        asked.num_seeds,
        asked.num_steps,
        MIN_POINTS,
    )
    sweeps: list[Sweep] = []
    failure = None
    try:
        for index in range(num_seeds):
            rates = sweep_rates(asked.min_lr, asked.max_lr, num_steps)
            sweeps.append(_one_sweep(task, rates, derived_seed(spec.seed, "sweep", index)))
            on_sweep(len(sweeps), num_seeds)
    except Exception as error:  # noqa: BLE001 - anything a model may raise
        failure = explained(error)
    analyses = [analyse(one) for one in sweeps]
    status, message = summary(analyses)
    lr_range = spec.search.lr_range
    bounds = (lr_range[0], lr_range[1]) if lr_range else None
    return RangeTestResult(
        status="failed" if failure else status,
        message=f"{failure.code}: {failure.message}" if failure else message,
        sweeps=sweeps,
        analyses=analyses,
        suggestion=suggest(analyses, spec.optimizer.default_lrs, bounds),
        cost=sum(one.updates for one in sweeps) / task.total_steps,
    )


def _one_sweep(task: Task, rates: list[float], seed: int) -> Sweep:
    model = task.model(seed)
    optimizer = make_optimizer(task.spec.optimizer, model.parameters(), lr=rates[0])
    return sweep(model, optimizer, task.batches(seed, len(rates)), loss_of, rates, seed=seed)
