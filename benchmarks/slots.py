"""What two slots give against one: trial throughput, and the wall time of a whole job."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any

import torch

from lrtuner.evidence import Progress, TrialRecord
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage
from worker.journal import History
from worker.pipeline import Pipeline
from worker.remote import RemoteTask
from worker.rules import Rules
from worker.runners.local import local
from worker.runners.pool import Pool
from worker.runners.runner import InTurn, Runner, Work
from worker.runners.slot import Slot
from worker.serve import ordered
from worker.settings import Settings
from worker.task import Task
from worker.trainer import Trainer, train
from worker.training import Run

CPU = torch.device("cpu")
RUNS = 8

JOB = {
    "model": {"name": "mlp", "args": {"hidden": [256, 256]}},
    "dataset": {"name": "digits"},
    "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
    "training": {"batch_size": 64, "steps": 600},
    "search": {"budget": {"full_runs": 30}},
}


def measure_throughput(rounds: int) -> dict[str, float]:
    """Runs per second of two slots over those of one: the same runs, the slots already started."""
    spec = JobSpec.model_validate(JOB)
    start = partial(RemoteTask, spec, partial(Slot, ordered(spec)))
    with start() as first:
        one, two = InTurn(first), Pool(first, start, 2)
        try:
            _trained(two)  # starts the second one
            return _times_as_fast(partial(_trained, one), partial(_trained, two), rounds)
        finally:
            two.close()


def measure_ray(rounds: int) -> dict[str, float]:
    """Runs per second of two slots on a Ray cluster over two of this machine, all started."""
    from worker.runners import cluster, ray  # noqa: PLC0415 - an extra

    spec = JobSpec.model_validate(JOB)
    cluster.connect(Settings().ray_address)
    with (
        local(Rules(), spec, CPU, 2) as here,
        ray.on_cluster(Rules(), spec, CPU, 2) as there,
    ):
        assert here, "two slots are processes of their own"
        for runner in (here, there):
            _trained(runner)
        return _times_as_fast(partial(_trained, here), partial(_trained, there), rounds)


def measure_job(rounds: int) -> dict[str, float]:
    """The wall time of a whole job in one slot over that in two, starting them included."""
    spec = JobSpec.model_validate(JOB)
    return _times_as_fast(partial(_job, spec, 1), partial(_job, spec, 2), rounds)


def _trained(runner: Runner) -> None:
    rates = [0.01] * runner.trainer.total_steps

    def on(trainer: Task | Trainer, seed: int) -> Iterator[Run]:
        yield train(trainer, rates, seed)

    works = deque(Work(partial(on, seed=seed)) for seed in range(RUNS))
    for _ in runner.make(works):
        pass


def _job(spec: JobSpec, slots: int) -> None:
    with local(Rules(), spec, CPU, slots) as runner:
        pipeline = Pipeline(
            job_id="benchmark",
            spec=spec,
            device=CPU,
            public_url="http://127.0.0.1",
            journal=_Unheard(),
            history=History(),
            now=lambda: datetime.now(UTC).isoformat(),
            runner=runner,
        )
        pipeline.run()


def _times_as_fast(
    one: Callable[[], None], two: Callable[[], None], rounds: int
) -> dict[str, float]:
    """Seconds of one slot over those of two, in rounds that alternate."""
    ratios, seconds = [], []
    for number in range(rounds):
        took = {}
        for work in (one, two) if number % 2 else (two, one):  # neither is always first
            began = time.perf_counter()
            work()
            took[work] = time.perf_counter() - began
        ratios.append(took[one] / took[two])
        seconds.append(took[two])
    return {
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "seconds": median(seconds),
        "rounds": rounds,
    }


class _Unheard:
    """A journal that nobody reads."""

    def event(self, kind: str, message: str, phase: Stage, data: dict[str, Any]) -> None:
        """See `Journal`."""

    def trial_started(self, trial: TrialRecord) -> None:
        """See `Journal`."""

    def trial_finished(self, trial: TrialRecord, progress: Progress) -> None:
        """See `Journal`."""

    def stage_finished(self, stage: Stage, result: dict[str, Any]) -> None:
        """See `Journal`."""
