"""The test loss that each peak rate really leads to: whole trainings on a grid of rates.

Results are kept as they come, a line each, in a file named after everything they depend on; an
interrupted grid goes on where it stopped.
"""

import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch.optim.lr_scheduler import OneCycleLR

from benchmarks.finder.scoring import USUAL, Curve
from benchmarks.finder.tasks import digest, load, trained

GRID = [10 ** (-5 + i / 4) for i in range(25)]
"""Four rates per decade, 1e-5 to 10."""

WARMUP = 0.05
"""The share of a cosine schedule that rises linearly."""

CYCLES = 3
"""How often a cyclic schedule goes from a tenth of its peak to the peak and back, linearly."""

SMALLEST_LOSS = 1e-6
"""Stands for a loss of zero, which has no logarithm."""

_REPORT_SECONDS = 30


class Run(NamedTuple):
    """One training."""

    task: str
    schedule: str
    lr: float
    seed: int


def curves(
    tasks: Sequence[str],
    grid: Sequence[float],
    seeds: int,
    folder: Path,
    processes: int,
    schedules: Sequence[str] = USUAL,
) -> dict[str, dict[str, Curve]]:
    """The curve of each task and schedule; trains what `folder` lacks, and keeps it there."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {task: folder / f"{digest(load(task))}.jsonl" for task in tasks}
    losses = {run: loss for task, file in files.items() for run, loss in _kept(task, file)}
    wanted = (
        Run(task, schedule, lr, seed)
        for seed, task, schedule, lr in product(range(seeds), tasks, schedules, grid)
    )
    lacking = [run for run in wanted if run not in losses]
    if lacking:
        _train(lacking, losses, files, processes)
    return {
        task: {
            schedule: Curve(
                grid,
                [
                    statistics.fmean(losses[Run(task, schedule, lr, s)] for s in range(seeds))
                    for lr in grid
                ],
            )
            for schedule in schedules
        }
        for task in tasks
    }


def final_loss(run: Run) -> float:
    """The test loss after one whole training.

    Never more than chance, log(classes): whoever sees a diverged run throws it away.
    """
    task = load(run.task)
    chance = math.log(task.data.num_outputs)
    model = trained(task, rates(run.schedule, run.lr, task.total_steps), run.seed)
    if model is None:
        return chance
    loss = task.evaluate(model, task.data.test)["loss"]
    return max(min(loss, chance), SMALLEST_LOSS) if math.isfinite(loss) else chance


def rates(schedule: str, peak: float, steps: int) -> list[float]:
    """The rate of every update under one of `SCHEDULES`; `one_cycle` is torch's."""
    return [peak * factor for factor in _FACTORS[schedule](steps)]


def _constant(steps: int) -> list[float]:
    return [1.0] * steps


def _cosine(steps: int) -> list[float]:
    """A linear warmup, then to zero."""
    warmup = max(1, round(WARMUP * steps))
    rising = [(step + 1) / warmup for step in range(warmup)]
    left = steps - warmup
    return rising + [0.5 * (1 + math.cos(math.pi * step / left)) for step in range(left)]


def _step(steps: int) -> list[float]:
    """A tenth from the half on, a hundredth from three quarters on."""
    return [1.0 if t < steps / 2 else 0.1 if t < 0.75 * steps else 0.01 for t in range(steps)]


def _cyclic(steps: int) -> list[float]:
    half = steps / (2 * CYCLES)
    return [0.1 + 0.9 * (1 - abs((step / half) % 2 - 1)) for step in range(steps)]


@cache
def _one_cycle(steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = OneCycleLR(optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False)
    factors = []
    for _ in range(steps):
        factors.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        if len(factors) < steps:
            schedule.step()
    return factors


_FACTORS: dict[str, Callable[[int], list[float]]] = {
    "constant": _constant,
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "step": _step,
    "cyclic": _cyclic,
}


def _train(
    runs: list[Run], losses: dict[Run, float], files: dict[str, Path], processes: int
) -> None:
    began = reported = time.monotonic()
    print(f"training {len(runs)} times for the grid, {processes} at once", flush=True)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, (run, loss) in enumerate(pool.imap_unordered(_with_loss, runs), start=1):
            losses[run] = loss
            with files[run.task].open("a") as file:
                file.write(json.dumps([run.schedule, run.lr, run.seed, loss]) + "\n")
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                left = (reported - began) / done * (len(runs) - done)
                print(f"  {done} done, about {left / 60:.0f} minutes left; {run.task}", flush=True)


def _with_loss(run: Run) -> tuple[Run, float]:
    return run, final_loss(run)


def _kept(task: str, file: Path) -> list[tuple[Run, float]]:
    if not file.exists():
        return []
    lines = map(json.loads, file.read_text().splitlines())
    return [(Run(task, *parts), loss) for *parts, loss in lines]
