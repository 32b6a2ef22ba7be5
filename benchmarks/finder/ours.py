"""Our range test: from one sweep, like the others, and from three, as a job runs it."""

from collections.abc import Sequence

from benchmarks.finder import serving
from benchmarks.finder.serving import Swept, serve
from lrtuner.job import derived_seed
from lrtuner.range_test import Sweep, analyse, suggest, summary, sweep_rates
from worker.optimizers import make_optimizer
from worker.sweep import sweep
from worker.task import Task, loss_of

SWEEPS = 3

KINDS = {"constant": "constant", "one_cycle": "one_cycle", "cosine": "decaying"}
"""Which of our suggestions is for which schedule."""


def ours(task: Task, seed: int, n: int, sweeps: int = SWEEPS) -> dict[str, float]:
    """The peak rate for each schedule, from `sweeps` sweeps of `n` updates."""
    lengths = serving.Lengths(n, task.spec.range_test.min_lr, task.spec.range_test.max_lr)
    return _rates(task, [_sweep(task, seed, index, lengths) for index in range(sweeps)])


def find(asked: serving.Sweep) -> Swept:
    """One sweep; the rule that needs more makes them when it is called."""
    task, seed, lengths = asked.task, asked.seed, asked.lengths
    first = _sweep(task, seed, 0, lengths)
    status, _ = summary([analyse(first)])

    def three() -> dict[str, float]:
        others = [_sweep(task, seed, index, lengths) for index in range(1, SWEEPS)]
        return _rates(task, [first, *others])

    rules = {"1 sweep": lambda: _rates(task, [first]), "3 sweeps": three}
    return Swept(first.lrs, first.losses, first.updates, rules, status)


def _sweep(task: Task, seed: int, index: int, lengths: serving.Lengths) -> Sweep:
    chosen = derived_seed(seed, "sweep", index)
    rates = sweep_rates(lengths.low, lengths.high, lengths.points)
    model = task.model(chosen)
    optimizer = make_optimizer(task.spec.optimizer, model.parameters(), lr=rates[0])
    batches = task.batches(chosen, len(rates))
    return sweep(model, optimizer, batches, loss_of, rates, seed=chosen)


def _rates(task: Task, sweeps: Sequence[Sweep]) -> dict[str, float]:
    found = suggest([analyse(one) for one in sweeps], task.spec.optimizer.default_lrs)
    return {schedule: found.peaks[kind].lr for schedule, kind in KINDS.items()}


if __name__ == "__main__":
    serve(find, ["1 sweep", "3 sweeps"])
