"""How long probes should be, and on how many seeds: what each choice costs and what it gains.

    python -m benchmarks.finder.horizons [--tasks NAME ...] [--horizons H ...] [--seeds N ...]

The probes of our range test, over parts of the full horizon and on one or more seeds, from the same
sweeps. What they suggest is judged as in `python -m benchmarks.finder`, over the same grid.
"""

import argparse
import os
import statistics
from itertools import product
from pathlib import Path

from benchmarks.finder import ours
from benchmarks.finder.report import table
from benchmarks.finder.scoring import SCHEDULES, USUAL, Found, score
from benchmarks.finder.serving import Lengths
from benchmarks.finder.tasks import TASKS, load
from benchmarks.finder.truth import GRID, curves
from lrtuner.job import derived_seed
from lrtuner.range_test import Kind, Probe, by_rate, next_rate
from worker.probes import probe
from worker.task import Task

SWEEP = Lengths(100, 1e-6, 10.0)


def main() -> None:
    """Probe, score, print."""
    asked = _arguments()
    truth = curves(
        asked.tasks, GRID, 3, asked.cache / "truth", asked.processes, schedules=asked.schedules
    )
    instead = {name: min(load(name).spec.optimizer.default_lrs) for name in asked.tasks}
    lines = []
    for horizon, seeds in product(asked.horizons, asked.seeds):
        found = [
            _found(name, horizon, seeds, repetition, asked.schedules)
            for name, repetition in product(asked.tasks, range(asked.repetitions))
        ]
        scores = [score(found, truth, instead, schedule) for schedule in asked.schedules]
        cost = statistics.fmean(one.cost for one in found)
        told = (f"{one.regret:.3f} / {one.worst:.2f}" for one in scores)
        lines.append([f"{horizon:g}", str(seeds), *told, f"{cost:.2f}"])
        print(*lines[-1], sep="   ", flush=True)
    head = [f"{schedule}: regret / worst" for schedule in asked.schedules]
    print(table(["horizon", "seeds", *head, "cost of a kind's probes"], lines))


def _found(name: str, horizon: float, seeds: int, repetition: int, schedules: list[str]) -> Found:
    """The peak for each schedule by probes of its kind; the cost is that of one kind."""
    task = load(name)
    sweeps = [ours.make_sweep(task, repetition, index, SWEEP) for index in range(ours.SWEEPS)]
    swept = ours.read(task, sweeps)
    steps = round(horizon * task.total_steps)
    chosen = [derived_seed(repetition, index) for index in range(seeds)]
    rates, costs = ours.by_schedule(swept), []
    for schedule in schedules:
        kind = ours.KINDS[schedule]
        done, cost = _probes(task, kind, swept.peaks[kind].lr, steps, chosen)
        rates[schedule] = ours.by_schedule(ours.read(task, sweeps, done))[schedule]
        costs.append(cost)
    return Found(name, SWEEP.points, repetition, rates, statistics.fmean(costs))


def _probes(
    task: Task, kind: Kind, start: float, steps: int, seeds: list[int]
) -> tuple[list[Probe], float]:
    """Probes whose loss is the mean over seeds, and what all of them cost."""
    done: list[Probe] = []
    cost = 0.0
    while (lr := next_rate(by_rate(done), start)) is not None:
        each = [probe(task, kind, lr, steps, seed) for seed in seeds]
        losses = [one.loss for one in each if one.loss is not None]
        mean = statistics.fmean(losses) if len(losses) == len(each) else None
        done.append(each[0].model_copy(update={"loss": mean}))
        cost += sum(one.cost for one in each)
    return done, cost


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finder.horizons",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    tasks = list(TASKS)
    add("--tasks", nargs="+", choices=tasks, default=tasks, metavar="NAME", help="default: all")
    horizons = [0.125, 0.25, 0.5, 1.0]
    add("--horizons", nargs="+", type=float, default=horizons, metavar="H", help="parts of a run")
    add("--seeds", nargs="+", type=int, default=[1, 2], metavar="N", help="seeds of each probe")
    add("--repetitions", type=int, default=3, metavar="N", help="of each choice (3)")
    add("--schedules", nargs="+", choices=SCHEDULES, default=list(USUAL), metavar="NAME")
    add("--processes", type=int, metavar="N", default=os.cpu_count(), help="for the grid")
    add("--cache", type=Path, default=Path(".lrtuner/benchmarks"), metavar="FOLDER", help="where")
    return parser.parse_args()


if __name__ == "__main__":
    main()
