"""The range test of a job: sweeps on several seeds, then probes, within its share of the budget."""

from collections.abc import Callable, Iterator

from lrtuner.budget import FURTHER_PROBE_SHARE, PROBE_SHARE, SWEEP_SHARE, run_cost, sweep_size
from lrtuner.evidence import Failure
from lrtuner.job import derived_seed, search_seed
from lrtuner.range_test import (
    MIN_POINTS,
    Analysis,
    Kind,
    Probe,
    RangeTestResult,
    Suggestion,
    Sweep,
    analyse,
    plateaus,
    suggest,
    summary,
    sweep_rates,
)
from worker.failure import explained
from worker.feed import Feed
from worker.probes import probes
from worker.runners.runner import InTurn, Runner, Work, in_order
from worker.sizes import Sizes
from worker.sweep import sweep
from worker.task import Task
from worker.trainer import Trainer

CHECK_UPDATES = 3
"""So many updates are made twice, to see whether training can be repeated."""


def run_range_test(
    task: Task | Trainer,
    tell: Callable[[str], None] = lambda _message: None,
    goes_on: Callable[[], bool] = lambda: True,
    runner: Runner | None = None,
) -> RangeTestResult:
    """Sweep, analyse, probe and suggest. What a model raises ends the range test, not the job.

    `tell` is given a sentence after each sweep and each probe; once `goes_on()` is False, nothing
    further is trained. Sweeps are made side by side where a `runner` has several trainers.
    """
    test = _RangeTest(runner or InTurn(task), tell, goes_on)
    try:
        test.check()
        test.sweep()
        test.probe()
    except Exception as error:  # noqa: BLE001 - anything a model may raise
        return test.result(explained(error))
    return test.result(None)


class _RangeTest:
    def __init__(
        self,
        runner: Runner,
        tell: Callable[[str], None],
        goes_on: Callable[[], bool],
    ) -> None:
        self.runner, self.task, self.tell, self.goes_on = runner, runner.trainer, tell, goes_on
        self.spec = self.task.spec
        lr_range = self.spec.search.lr_range
        self.bounds = (lr_range[0], lr_range[1]) if lr_range else None
        self.sweeps: list[Sweep] = []
        self.analyses: list[Analysis] = []
        self.probes: list[Probe] = []
        self.checked = 0
        self.repeatable = True

    def check(self) -> None:
        """Train a few updates twice: whatever differs, no seed determines."""
        seed, lr = search_seed(self.spec.seed), min(self.spec.optimizer.default_lrs)
        first, second = (one_sweep(self.task, [lr] * CHECK_UPDATES, seed) for _ in range(2))
        self.checked = first.updates + second.updates
        self.repeatable = first == second

    def sweep(self) -> None:
        asked = self.spec.range_test
        update_cost = run_cost(1, _num_held_out(self.task), self.task.examples_per_update, 1)
        num_seeds, num_steps = sweep_size(
            (self.spec.search.range_test_runs(SWEEP_SHARE) - self.cost) / update_cost,
            self.task.total_steps,
            asked.num_seeds,
            asked.num_steps,
            MIN_POINTS,
        )
        rates = sweep_rates(asked.min_lr, asked.max_lr, num_steps, asked.spacing)
        sweeps = [_swept(rates, derived_seed(self.spec.seed, "sweep", i)) for i in range(num_seeds)]
        for found in in_order(self.runner, sweeps, self.goes_on):
            self.sweeps.append(found)
            self.analyses.append(analyse(found))
            self.tell(f"sweep {len(self.sweeps)} of {num_seeds} done: {self.analyses[-1].status}")

    def probe(self) -> None:
        for kind in sorted(self.spec.range_test.probes, key=_after_decaying):
            self._probe(kind)

    def _probe(self, kind: Kind) -> None:
        if not self.goes_on():
            return
        start = self._suggestion().peaks[kind].lr
        for probe in probes(self.task, kind, start, self._allowed(), self.bounds):
            self.probes.append(probe)
            ended = "diverged" if probe.loss is None else f"held-out loss {probe.loss:.4g}"
            self.tell(f"probe of {kind}, {probe.steps} updates, peak {probe.lr:g}: {ended}")
            if not self.goes_on():
                return

    def _allowed(self) -> float:
        """What the probes of one kind may cost."""
        search = self.spec.search
        if search.mode == "full" and not self.probes:
            return search.range_test_runs(PROBE_SHARE)
        return search.range_test_runs(FURTHER_PROBE_SHARE) - self.cost

    @property
    def cost(self) -> float:
        """In full-training equivalents, so far."""
        task = self.task
        updates = self.checked + sum(one.updates for one in self.sweeps)
        evaluated = updates * _num_held_out(task)
        swept = run_cost(updates, evaluated, task.examples_per_update, task.total_steps)
        return swept + sum(probe.cost for probe in self.probes)

    def result(self, failure: Failure | None) -> RangeTestResult:
        status, message = summary(self.analyses, self.probes)
        return RangeTestResult(
            status="failed" if failure else status,
            message=f"{failure.code}: {failure.message}" if failure else message,
            sweeps=self.sweeps,
            analyses=self.analyses,
            probes=self.probes,
            suggestion=self._suggestion(),
            cost=self.cost,
            repeatable=self.repeatable,
        )

    def _suggestion(self) -> Suggestion:
        probed = plateaus(self.probes, self.task.total_steps)
        return suggest(self.analyses, self.spec.optimizer.default_lrs, self.bounds, probed)


def _after_decaying(kind: Kind) -> bool:
    """Sorts decay to zero first: that is what is recommended, and what others start from."""
    return kind != "decaying"


def _swept(rates: list[float], seed: int) -> Work[Sweep]:
    def on(trainer: Task | Trainer) -> Iterator[Sweep]:
        yield one_sweep(trainer, rates, seed)

    return Work(on)


def one_sweep(task: Task | Trainer, rates: list[float], seed: int) -> Sweep:
    """Sweep a fresh model through the rates, as the job trains."""
    if not isinstance(task, Task):
        return task.one_sweep(rates, seed)
    model = task.model(seed)
    optimizer = task.optimizer(model, lr=rates[0])
    count = _num_held_out(task)
    return sweep(
        model,
        optimizer,
        Feed(task, seed, task.grad_accum * len(rates)),
        task.precise_loss,
        rates,
        seed=seed,
        accumulate=task.grad_accum,
        scaler=task.scaler(),
        held_out=task.held_out(seed, count) if count else None,
    )


def _num_held_out(task: Sizes) -> int:
    return min(task.spec.range_test.held_out, len(task.data.validation))
