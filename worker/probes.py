"""Probes: schedules of one kind over a part of the horizon, at a few peaks."""

from collections.abc import Iterator

from lrtuner.budget import probe_steps
from lrtuner.candidates import typical
from lrtuner.job import search_seed
from lrtuner.range_test import Kind, Probe, by_rate, next_rate
from worker.task import Task
from worker.trainer import Trainer, train
from worker.training import full_cost


def probes(
    task: Task | Trainer,
    kind: Kind,
    start: float,
    allowed: float,
    bounds: tuple[float, float] | None = None,
) -> Iterator[Probe]:
    """Train at one peak after another, from `start` on and within `bounds`, for `allowed` FTE.

    Ends when the lowest held-out loss has a higher one on both sides. A peak that diverges is a
    result, too. Whatever the model raises is raised here.

    The seed is that of the search's first runs, so that these can be compared with the probes.
    """
    longest = task.spec.search.longest(task.total_steps)
    steps = probe_steps(allowed, lambda count: full_cost(task, test=False, steps=count), longest)
    seed = search_seed(task.spec.seed)
    done: list[Probe] = []
    left = allowed
    while steps and full_cost(task, test=False, steps=steps) <= left:
        lr = next_rate(by_rate(done), start, bounds)
        if lr is None:
            return
        done.append(probe(task, kind, lr, steps, seed))
        left -= done[-1].cost
        yield done[-1]


def probe(task: Task | Trainer, kind: Kind, lr: float, steps: int, seed: int) -> Probe:
    """Train once over `steps` updates and evaluate."""
    run = train(task, typical(kind, lr, steps).values().tolist(), seed)
    loss = None if run.reason else run.metrics["val_loss"]
    return Probe(kind=kind, lr=lr, steps=steps, seed=seed, loss=loss, cost=run.cost)
