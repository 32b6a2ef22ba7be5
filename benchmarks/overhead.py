"""The trial loop against a training loop as one writes it by hand: same model, same updates.

    python -m benchmarks.overhead [--rounds 7] [--json FILE] [--job FILE.json ...]

The reference is plain PyTorch: a DataLoader over a TensorDataset, the job's optimizer, a LambdaLR
with the same rates, `loss.item()` once per update for logging, and a DataLoader over the validation
split for evaluation. Ours is `worker.training.train`, its evaluations included; both evaluate after
the same updates. Rounds alternate between the two; the ratio is the median over rounds of ours /
reference. At most 1.0 is the goal.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lrtuner.budget import evaluation_steps
from lrtuner.job import JobSpec
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


def reference(task: Task, rates: list[float], seed: int) -> float:
    """The loop written by hand; its last validation loss."""
    model = task.model(seed)
    optimizer = make_optimizer(task.spec.optimizer, model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rates.__getitem__)
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
                scheduler.step()
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


def measure(spec: JobSpec, rounds: int) -> dict[str, float]:
    """Seconds of both, alternating, and the ratios ours / reference of each round."""
    device = choose_device("auto")
    prepare(device)
    task = make_task(spec, device)
    rates = [0.01] * task.total_steps
    loops = (train, reference)
    ratios = []
    for seed in range(rounds + 1):
        seconds = {}
        for loop in loops if seed % 2 else loops[::-1]:  # neither is always the first
            began = time.perf_counter()
            loop(task, rates, seed)
            seconds[loop] = time.perf_counter() - began
        ratios.append(seconds[train] / seconds[reference])
    ratios = ratios[1:]  # the first round warms up
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "updates": task.total_steps,
        "rounds": rounds,
    }


def main() -> None:
    """Run, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default 7)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--job", type=Path, action="append", default=[], help="a JOB.json to add")
    arguments = parser.parse_args()
    jobs = {name: JobSpec.model_validate(job) for name, job in JOBS.items()}
    jobs |= {str(path): JobSpec.model_validate_json(path.read_text()) for path in arguments.job}
    figures = {}
    print(f"{'ours / reference':>40}  median  lowest  highest  updates")
    for name, spec in jobs.items():
        figures[name] = row = measure(spec, arguments.rounds)
        shown = "  ".join(f"{row[key]:6.2f}" for key in ("ratio", "lowest", "highest"))
        print(f"{name:>40}  {shown}   {row['updates']:6.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
