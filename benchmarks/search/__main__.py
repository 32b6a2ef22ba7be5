"""Our search beside Optuna's, at equal training steps, and beside a fine grid as the oracle.

    python -m benchmarks.search [--quick] [--tasks NAME ...] [--job FILE.json ...] [--budget 10]
                                [--repetitions 10] [--json FILE]
    python -m benchmarks.search --tasks --job my-job.json

Every search gets the same budget in full-training equivalents, everything charged, on real tasks:
ours is a job's whole pipeline, range test, confirmation and all; the peers are in
`benchmarks.search.peers`, over the same space of schedules and around the optimizer's usual rates.
A repetition is another seed of everything.

What each picks is then trained on 5 seeds that nobody selected on, and so is the pick of the oracle
(`benchmarks.search.oracle`). The regret of a pick is the mean over those seeds of ln(its validation
loss / the oracle's); runs that diverge count as chance. Test losses stand beside.

The grid and the peers' trainings are kept in --cache, so an interrupted run goes on where it
stopped. Ours trains again each time.
"""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, replace
from multiprocessing.pool import Pool
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.finder.tasks import TASKS, load
from benchmarks.search import oracle
from benchmarks.search.attempts import (
    STRATEGIES,
    GridTraining,
    Place,
    attempts,
    measured,
    oracle_cost,
    trainings_of,
)
from benchmarks.search.peers import lr_range
from benchmarks.search.report import Judged, tables
from lrtuner.job import MIN_FULL_RUNS

USUAL = (
    "mlp-sgd",
    "deep-adamw",
    "mlp-rmsprop",
    "finetune-cnn",
    "cnn-plain",
    "lstm-clipped",
    "transformer",
)
"""Of every kind of model and optimizer some that take about a second."""

FRESH_SEEDS = 5

QUICK = {"tasks": ["mlp-rmsprop"], "budget": 4.0, "repetitions": 2}

_REPORT_SECONDS = 30

T = TypeVar("T")


def main() -> None:
    """Run, print the tables, and write everything where asked."""
    asked = _arguments()
    places = [Place(task, asked.cache) for task in [*asked.tasks, *map(str, asked.job)]]
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        judged = [_with_oracle(place, pool, asked.quick) for place in places]
        wanted = attempts(places, asked.strategies, asked.repetitions, asked.budget, FRESH_SEEDS)
        made = pool.imap_unordered(methodcaller("made"), wanted)
        picked = list(_told("searches", wanted, made))
    by_strategy = sorted(picked, key=lambda p: (STRATEGIES.index(p.strategy), p.repetition))
    judged = [replace(one, picked=[p for p in by_strategy if p.task == one.task]) for one in judged]
    print(tables(judged, asked.budget))
    if asked.json:
        asked.json.write_text(json.dumps(_all(judged, asked.budget), indent=1) + "\n")


def _with_oracle(place: Place, pool: Pool, quick: bool) -> Judged:
    """The task with its oracle, trained by the pool, and its losses on fresh seeds."""

    def losses(wanted: Sequence[oracle.Training]) -> Sequence[float]:
        runs = [GridTraining(place, training) for training in wanted]
        return list(_told(f"oracle of {place.task}", runs, pool.imap(methodcaller("loss"), runs)))

    trainings = trainings_of(place)
    shapes = oracle.QUICK_SHAPES if quick else oracle.SHAPES
    best = oracle.search(losses, trainings.task.total_steps, lr_range(trainings.task), shapes)
    fresh = measured(best.schedule, trainings, FRESH_SEEDS)
    return Judged(place.task, best, oracle_cost(best, trainings), fresh, [])


def _told(what: str, wanted: Sized, made: Iterable[T]) -> Iterator[T]:
    """What is made, with a line now and then on how far it is."""
    began = reported = time.monotonic()
    print(f"{what}: {len(wanted)}", flush=True)
    for done, one in enumerate(made, start=1):
        yield one
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            left = (reported - began) / done * (len(wanted) - done)
            print(f"  {done} of {len(wanted)}, about {left / 60:.0f} minutes left", flush=True)


def _all(judged: Sequence[Judged], budget: float) -> dict[str, Any]:
    return {
        "budget": budget,
        "tasks": {
            one.task: {
                "oracle": {
                    **asdict(one.oracle),
                    "schedule": one.oracle.schedule.document,
                    "cost": one.oracle_cost,
                    "fresh": asdict(one.fresh),
                },
                "searches": {name: asdict(row) for name, row in one.rows.items()},
                "picks": [asdict(pick) for pick in one.picked],
            }
            for one in judged
        },
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = ", ".join(TASKS)
    add(
        "--tasks",
        nargs="*",
        choices=TASKS,
        metavar="NAME",
        help=f"of {names} (default: {', '.join(USUAL)})",
    )
    add(
        "--job",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="a JOB.json to add; may be given again",
    )
    add(
        "--strategies",
        nargs="*",
        choices=STRATEGIES,
        metavar="NAME",
        default=list(STRATEGIES),
        help=f"of {'; '.join(STRATEGIES)} (default: all)",
    )
    budget = "full-training equivalents for each search, 3 or more (10)"
    add("--budget", type=_budget, metavar="B", help=budget)
    add("--repetitions", type=int, metavar="N", help="of each search (10)")
    add("--processes", type=int, metavar="N", default=2, help="at once (2)")
    cache = Path(".lrtuner/benchmarks/search")
    add("--cache", type=Path, default=cache, metavar="FOLDER", help="where trainings are kept")
    add("--json", type=Path, metavar="FILE", help="write all picks and losses to this file")
    add("--quick", action="store_true", help="a small run, to see that it works")
    asked = parser.parse_args()
    for file in asked.job:
        metric = load(str(file)).spec.objective.metric
        if metric != "val_loss":
            parser.error(f"{file}: regrets are of val_loss, and its objective is {metric}")
    usual = {"tasks": list(USUAL), "budget": 10.0, "repetitions": 10}
    for name, value in (QUICK if asked.quick else usual).items():
        if getattr(asked, name) is None:
            setattr(asked, name, value)
    return asked


def _budget(text: str) -> float:
    budget = float(text)
    if not MIN_FULL_RUNS <= budget < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: it must be {MIN_FULL_RUNS} or more")
    return budget


if __name__ == "__main__":
    main()
