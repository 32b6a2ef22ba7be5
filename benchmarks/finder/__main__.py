"""Our learning-rate finder beside fastai's, Lightning's, torch-lr-finder's and ignite's.

    python -m benchmarks.finder [--quick] [--tasks NAME ...] [--job FILE.json ...] [--json FILE]
    python -m benchmarks.finder --tasks --job benchmarks/finder/held_out/*.json

Every finder sweeps the same tasks on the same seeds, from 1e-6 to 10, in 60, 100 and 300 updates.
Its suggestions are judged by the test loss that whole trainings really reach, under a constant
rate, a one-cycle, and a cosine with warmup (with --schedules also step and cyclic). Where a
finder's default range is another, suggestions from that range, with 100 updates, are a row of their
own. Fixed rates are rows too, and the centre of the grid itself: it is above 1 by noise alone. The
cost of a suggestion is in whole trainings.

The jobs in benchmarks/finder/held_out were not looked at when our finder was made.

The first run makes an environment for each other finder and trains the grid of rates; --cache keeps
both. Sweeps are never kept: all finders run again each time, one after the other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.finder.environments import PEERS, ROOT, python_of
from benchmarks.finder.report import tables
from benchmarks.finder.scoring import SCHEDULES, USUAL, Curve, Found
from benchmarks.finder.serving import Lengths, Request
from benchmarks.finder.tasks import TASKS, load
from benchmarks.finder.truth import GRID, curves

LOW, HIGH = 1e-6, 10.0
"""The range that all sweep."""

OWN_POINTS = 100
OWN_RANGES = {"fastai": (1e-7, 10.0), "lightning": (1e-8, 1.0), "torch_lr_finder": (1e-7, 10.0)}
"""Where a finder sweeps when not told otherwise; torch-lr-finder's as in its README."""

QUICK = {"tasks": ["mlp-sgd", "gru"], "points": [60, 100], "seeds": 2, "grid_seeds": 1, "rounds": 2}


def main() -> None:
    """Run, print the tables, and write everything where asked."""
    asked = _arguments()
    tasks = [*asked.tasks, *map(str, asked.job)]
    grid = GRID[::4] if asked.quick else GRID
    truth = curves(
        tasks, grid, asked.grid_seeds, asked.cache / "truth", asked.processes, asked.schedules
    )
    default_lrs = {task: load(task).spec.optimizer.default_lrs for task in tasks}
    rows = _fixed(default_lrs) | _centres(truth, len(grid) * asked.grid_seeds)
    replies = {}
    for finder in ["ours", *asked.peers]:
        replies[finder] = _ask(finder, tasks, asked)
        rows |= _rows(finder, replies[finder]["found"])
    times = {finder: reply["time"] for finder, reply in replies.items()}
    instead = {task: min(lrs) for task, lrs in default_lrs.items()}
    print(tables(rows, truth, instead, times))
    if asked.json:
        curve = {task: {s: asdict(c) for s, c in by.items()} for task, by in truth.items()}
        asked.json.write_text(json.dumps({"truth": curve, "finders": replies}, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = ", ".join(TASKS)
    add("--tasks", nargs="*", choices=TASKS, metavar="NAME", help=f"of {names} (default: all)")
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
        "--schedules",
        nargs="+",
        choices=SCHEDULES,
        default=list(USUAL),
        metavar="NAME",
        help=f"of {', '.join(SCHEDULES)} (default: {', '.join(USUAL)})",
    )
    add(
        "--peers",
        nargs="*",
        choices=PEERS,
        metavar="NAME",
        default=list(PEERS),
        help=f"of {', '.join(PEERS)}",
    )
    add("--points", nargs="+", type=int, metavar="N", help="lengths of sweeps (60 100 300)")
    add("--seeds", type=int, metavar="N", help="sweeps of each length (5)")
    add("--grid-seeds", type=int, metavar="N", help="trainings at each rate of the grid (3)")
    add("--rounds", type=int, metavar="N", help="rounds of the timing (7)")
    add("--processes", type=int, metavar="N", default=os.cpu_count(), help="for the grid")
    add("--cache", type=Path, default=Path(".lrtuner/benchmarks"), metavar="FOLDER", help="where")
    add("--json", type=Path, metavar="FILE", help="write all suggestions and curves to this file")
    add("--quick", action="store_true", help="a small run, to see that it works")
    asked = parser.parse_args()
    usual = {"tasks": list(TASKS), "points": [60, 100, 300], "seeds": 5, "grid_seeds": 3}
    for name, value in (QUICK if asked.quick else usual | {"rounds": 7}).items():
        if getattr(asked, name) is None:
            setattr(asked, name, value)
    return asked


def _ask(finder: str, tasks: Sequence[str], asked: argparse.Namespace) -> dict[str, Any]:
    """Let the finder's process answer, on one thread and without progress bars."""
    lengths = [Lengths(points, LOW, HIGH) for points in asked.points]
    if finder in OWN_RANGES:
        lengths.append(Lengths(OWN_POINTS, *OWN_RANGES[finder]))
    request = Request(tasks, lengths, asked.seeds, asked.rounds, Lengths(OWN_POINTS, LOW, HIGH))
    is_peer = finder in PEERS
    python = python_of(finder, asked.cache / "venvs") if is_peer else Path(sys.executable)
    module = f"benchmarks.finder.{'peers.' if is_peer else ''}{finder}"
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    print(f"asking {finder}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "request.json"), Path(folder, "reply.json")
        question.write_text(json.dumps(asdict(request)))
        subprocess.run(
            [python.absolute(), "-m", module, question, answer],
            check=True,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
        )
        reply: dict[str, Any] = json.loads(answer.read_text())
    return reply


def _rows(finder: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, list[Found]]:
    """Suggestions by finder and rule; those from its own range apart."""
    rows: dict[str, list[Found]] = {}
    for answer in answers:
        where = "" if (answer["low"], answer["high"]) == (LOW, HIGH) else ", own range"
        for rule, rates in answer["rates"].items():
            cost = answer["costs"].get(rule, 0.0)
            found = Found(answer["task"], answer["points"], answer["seed"], rates, cost)
            rows.setdefault(f"{finder} {rule}{where}", []).append(found)
    return rows


def _fixed(default_lrs: Mapping[str, Sequence[float]]) -> dict[str, list[Found]]:
    """The optimizer's usual rates as if a finder had said them."""
    return {
        f"fixed, the {name}": [
            Found(task, 0, 0, dict.fromkeys(SCHEDULES, pick(lrs)))
            for task, lrs in default_lrs.items()
        ]
        for name, pick in (("lower", min), ("higher", max))
    }


def _centres(truth: Mapping[str, Mapping[str, Curve]], cost: int) -> dict[str, list[Found]]:
    """The middle of the grid's own good rates, as if a finder had trained all of it."""
    found = [
        Found(task, 0, 0, {name: curve.centre for name, curve in curves.items()}, cost)
        for task, curves in truth.items()
    ]
    return {"the whole grid's centre": found}


if __name__ == "__main__":
    main()
