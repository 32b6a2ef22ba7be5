"""What our parts cost, each against the plainest way to do the same.

    python -m benchmarks.overhead [--only training|loader|values|slots|ray ...] [--rounds 7]
                                  [--json FILE] [--job FILE.json ...]

training: the trial loop against a training loop as one writes it by hand: same model, same updates.
The reference is plain PyTorch: a DataLoader over a TensorDataset, the job's optimizer, a LambdaLR
with the same rates, `loss.item()` once per update for logging, and a DataLoader over the validation
split for evaluation. Ours is `worker.training.train`, its evaluations included; both evaluate after
the same updates. At most 1.0 is the goal.

loader: one `.step()` of the scheduler that `lrtuner.integrations.torch` makes, against one of
`LambdaLR(optimizer, lambda t: 1.0)`, the cheapest scheduler that torch has, with one and with four
param groups. At most 1.2 is the goal. A schedule in seconds evaluates its formula at every step
instead of looking the rate up.

values: `schedule.values()` for a million steps with a warmup and a cooldown, for every family,
against one cosine over a million steps as one writes it by hand in numpy. In seconds too.

slots: two slots against one, on the CPU: so many times the runs per second, and so many times as
fast a whole job, which one slot trains in its own process. At least 1.6 is the goal of the first,
on two cores that nothing else uses.

ray (not unless asked for): two slots on the Ray cluster at LRTUNER_RAY_ADDRESS against two of this
machine, runs per second. Start a node of it here, see the README; no goal.

Rounds alternate between the two; a ratio is the median over rounds of ours / reference.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.slots import measure_job, measure_ray, measure_throughput
from lrtuner.budget import evaluation_steps
from lrtuner.integrations.torch import scheduler
from lrtuner.job import JobSpec
from lrtuner.schedules.grammar import Schedule
from worker.data import Split
from worker.device import choose_device, prepare
from worker.optimizers import make_optimizer
from worker.task import Task, make_task
from worker.training import train

JOBS = {
    "digits into mlp 256-256, sgd": {
        "model": {"name": "mlp", "args": {"hidden": [256, 256]}},
        "dataset": {"name": "digits"},
        "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
        "training": {"batch_size": 64, "steps": 300},
    },
    "digits into convnet 16-32, adamw": {
        "model": {"name": "convnet"},
        "dataset": {"name": "digits"},
        "optimizer": {"name": "adamw"},
        "training": {"batch_size": 64, "steps": 100},
    },
    "text into gpt 64 x 2, adamw": {
        "model": {"name": "gpt"},
        "dataset": {"name": "python_stdlib_text", "args": {"max_chars": 100_000}},
        "optimizer": {"name": "adamw"},
        "training": {"batch_size": 32, "steps": 60},
    },
}


MILLION = 1_000_000

FAMILIES: dict[str, dict[str, object]] = {
    "constant": {},
    "polynomial": {"decay_steps": "1dur", "power": 2.0},
    "cosine": {"decay_steps": "1dur", "end_factor": 0.01},
    "cosine_restarts": {"first_steps": "0.1dur", "t_mult": 1.5},
    "exponential": {"decay_steps": "0.1dur", "rate": 0.5},
    "step": {"every": "0.1dur", "rate": 0.5},
    "multistep": {"milestones": ["0.3dur", "0.6dur"], "factors": [0.1, 0.01]},
    "inverse_time": {"decay_steps": "0.1dur", "rate": 0.5},
    "inverse_power": {"timescale": "0.1dur"},
    "cyclic": {"up": "0.1dur", "base_factor": 0.1},
    "table": {"values": [1.0 - i / MILLION for i in range(MILLION)]},
}

SCHEDULER_STEPS = 20_000

PARTS = ("training", "loader", "values", "slots")

Row = dict[str, float]


def reference(task: Task, rates: list[float], seed: int) -> float:
    """The loop written by hand; its last validation loss."""
    model = task.model(seed)
    optimizer = make_optimizer(task.spec.optimizer, model.parameters(), lr=1.0)
    follows = LambdaLR(optimizer, rates.__getitem__)
    size = task.batch_size
    loader = DataLoader(_dataset(task.data.train), batch_size=size, shuffle=True, drop_last=True)
    held_out = DataLoader(_dataset(task.data.validation), batch_size=size)
    after = set(evaluation_steps(len(rates), task.batch_size, len(task.data.validation)))
    step, logged, validation = 0, [], float("nan")
    while step < len(rates):
        for inputs, targets in loader:
            optimizer.zero_grad()
            logits = model(inputs)
            loss = nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())
            loss.backward()
            optimizer.step()
            if step + 1 < len(rates):
                follows.step()
            logged.append(loss.item())
            step += 1
            if step in after:
                validation = _validation_loss(model, held_out)
            if step == len(rates):
                break
    return validation


def _dataset(split: Split) -> TensorDataset:
    return TensorDataset(split.inputs, split.targets)


def _validation_loss(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]]) -> float:
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for inputs, targets in loader:
            logits = model(inputs).flatten(0, -2)
            loss = nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum")
            total += loss.item()
            count += targets.numel()
    model.train()
    return total / count


def measure(spec: JobSpec, rounds: int) -> Row:
    """The trial loop of a job."""
    device = choose_device("auto")
    prepare(device)
    task = make_task(spec, device)
    rates = [0.01] * task.total_steps
    row = _compared(partial(train, task, rates), partial(reference, task, rates), rounds)
    return row | {"updates": task.total_steps}


def measure_loader(rounds: int) -> dict[str, Row]:
    """The torch scheduler: microseconds of ours per step, by unit and number of param groups."""
    rows = {}
    for unit, groups in (("step", 1), ("step", 4), ("second", 1), ("second", 4)):
        schedule = _schedule("cosine", unit=unit, total_steps=SCHEDULER_STEPS)
        ours = partial(_step, partial(_ours, schedule), groups)
        row = _compared(ours, partial(_step, _cheapest, groups), rounds)
        row["microseconds"] = row["seconds"] / SCHEDULER_STEPS * 1e6
        rows[f"loader, unit {unit}, {groups} param group{'s' * (groups > 1)}"] = row
    return rows


def measure_values(rounds: int) -> dict[str, Row]:
    """A million rates at once, of every family."""
    rows = {}
    for family in FAMILIES:
        schedule = _schedule(family, unit="step", total_steps=MILLION)
        rows[f"values, {family}"] = _compared(partial(_values, schedule), _cosine_by_hand, rounds)
    return rows


def _schedule(family: str, **rest: object) -> Schedule:
    data = {
        "peak_lr": 0.1,
        "warmup": {"steps": "5%"},
        "body": {"family": family, **FAMILIES[family]},
        "cooldown": {"start": "80%", "steps": "20%"},
        **rest,
    }
    return Schedule.model_validate(data)


def _step(make: Callable[[Optimizer], LRScheduler], groups: int, _: int) -> None:
    parameters = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    made = make(optimizer)
    optimizer.step()  # torch warns where it never was
    for _ in range(SCHEDULER_STEPS):
        made.step()


def _ours(schedule: Schedule, optimizer: Optimizer) -> LRScheduler:
    return scheduler(optimizer, schedule)


def _cheapest(optimizer: Optimizer) -> LRScheduler:
    return LambdaLR(optimizer, lambda _: 1.0)


def _values(schedule: Schedule, _: int) -> None:
    schedule.values()


def _cosine_by_hand(_: int) -> None:
    0.05 * (1.0 + np.cos(np.pi * np.arange(MILLION) / MILLION))


def _compared(ours: Callable[[int], object], theirs: Callable[[int], object], rounds: int) -> Row:
    """Seconds of ours, and the ratios of ours to theirs; the first round warms up."""
    seconds, ratios = [], []
    for number in range(rounds + 1):
        took = {}
        for work in (ours, theirs) if number % 2 else (theirs, ours):  # neither is always first
            began = time.perf_counter()
            work(number)
            took[work] = time.perf_counter() - began
        seconds.append(took[ours])
        ratios.append(took[ours] / took[theirs])
    return {
        "ratio": statistics.median(ratios[1:]),
        "lowest": min(ratios[1:]),
        "highest": max(ratios[1:]),
        "seconds": statistics.median(seconds[1:]),
        "rounds": rounds,
    }


def main() -> None:
    """Run, print the tables, and write the figures where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        choices=(*PARTS, "ray"),
        action="append",
        help="a part to run (default: all but ray)",
    )
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default 7)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--job", type=Path, action="append", default=[], help="a JOB.json to add")
    arguments = parser.parse_args()
    asked, rounds = arguments.only or PARTS, arguments.rounds
    figures: dict[str, Row] = {}
    if "training" in asked:
        jobs = {name: JobSpec.model_validate(job) for name, job in JOBS.items()}
        jobs |= {str(path): JobSpec.model_validate_json(path.read_text()) for path in arguments.job}
        _head("updates")
        for name, spec in jobs.items():
            figures[name] = _shown(name, measure(spec, rounds), "updates", "7.0f")
    if "loader" in asked:
        _head("us/step")
        for name, row in measure_loader(rounds).items():
            figures[name] = _shown(name, row, "microseconds", "7.2f")
    if "values" in asked:
        _head("seconds")
        for name, row in measure_values(rounds).items():
            figures[name] = _shown(name, row, "seconds", "7.3f")
    if "slots" in asked:
        print(f"{'two slots / one':>40}  median  lowest  highest  seconds")
        figures["runs per second"] = _shown(
            "runs per second", measure_throughput(rounds), "seconds", "7.2f"
        )
        figures["a whole job"] = _shown("a whole job", measure_job(rounds), "seconds", "7.2f")
    if "ray" in asked:
        print(f"{'Ray / this machine':>40}  median  lowest  highest  seconds")
        figures["on Ray"] = _shown("runs per second", measure_ray(rounds), "seconds", "7.2f")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _head(last: str) -> None:
    print(f"{'ours / reference':>40}  median  lowest  highest  {last}")


def _shown(name: str, row: Row, last: str, form: str) -> Row:
    ratios = "  ".join(f"{row[key]:6.2f}" for key in ("ratio", "lowest", "highest"))
    print(f"{name:>40}  {ratios}   {row[last]:{form}}", flush=True)
    return row


if __name__ == "__main__":
    main()
