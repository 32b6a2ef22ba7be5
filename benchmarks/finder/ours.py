"""Our range test: one sweep as the others make it, three sweeps, and with the probes of a job."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.finder import serving
from benchmarks.finder.serving import Costly, Swept, serve
from benchmarks.finder.serving import Suggestion as Suggested
from lrtuner.job import derived_seed
from lrtuner.range_test import (
    Kind,
    Probe,
    Suggestion,
    Sweep,
    analyse,
    plateaus,
    suggest,
    summary,
    sweep_rates,
)
from worker.probes import probes
from worker.range_test import CHECK_UPDATES, one_sweep
from worker.task import Task

SWEEPS = 3

ALLOWED = 30.0
"""What the probes may cost, in whole trainings: a job's usual budget. They end by themselves."""

KINDS: dict[str, Kind] = {
    "constant": "constant",
    "one_cycle": "one_cycle",
    "cosine": "decaying",
    "step": "step",
    "cyclic": "cyclic",
}
"""Which of our suggestions is for which schedule."""


def find(asked: serving.Sweep) -> Swept:
    """One sweep; the rules that need more make it when they are called."""
    task, seed, lengths = asked.task, asked.seed, asked.lengths
    sweeps = [make_sweep(task, seed, 0, lengths)]
    status, _ = summary([analyse(sweeps[0])])

    def three() -> Costly:
        while len(sweeps) < SWEEPS:
            sweeps.append(make_sweep(task, seed, len(sweeps), lengths))
        updates = sum(one.updates for one in sweeps[1:])
        return Costly(by_schedule(read(task, sweeps)), updates / task.total_steps)

    def probed() -> Costly:
        cost = three().cost
        seeded = replace(task, spec=task.spec.model_copy(update={"seed": seed}))
        done: list[Probe] = []
        for kind in task.spec.range_test.probes:
            start = read(task, sweeps, done).peaks[kind].lr
            done += probes(seeded, kind, start, ALLOWED)
        cost += sum(one.cost for one in done)
        cost += 2 * CHECK_UPDATES / task.total_steps  # a job sees first whether training repeats
        return Costly(by_schedule(read(task, sweeps, done)), cost)

    rules: dict[str, Callable[[], Suggested | Costly]] = {
        "probed": probed,
        "3 sweeps": three,
        "1 sweep": lambda: by_schedule(read(task, sweeps[:1])),
    }
    first = sweeps[0]
    return Swept(first.lrs, first.losses, first.updates, rules, status)


def make_sweep(task: Task, seed: int, index: int, lengths: serving.Lengths) -> Sweep:
    """One of the sweeps of a job with that seed."""
    chosen = derived_seed(seed, "sweep", index)
    rates = sweep_rates(lengths.low, lengths.high, lengths.points)
    return one_sweep(task, rates, chosen)


def read(task: Task, sweeps: Sequence[Sweep], done: Sequence[Probe] = ()) -> Suggestion:
    """What follows from sweeps and probes."""
    return suggest(
        [analyse(one) for one in sweeps],
        task.spec.optimizer.default_lrs,
        probed=plateaus(done, task.total_steps),
    )


def by_schedule(found: Suggestion) -> dict[str, float]:
    """The peak for each schedule that is judged."""
    return {schedule: found.peaks[kind].lr for schedule, kind in KINDS.items()}


if __name__ == "__main__":
    serve(find, ["probed", "3 sweeps", "1 sweep"])
