"""A small real task: wine into a small mlp, a few dozen updates."""

import hashlib
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lrtuner.evidence import Progress, TrialRecord
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage
from worker.device import prepare
from worker.journal import History
from worker.optimizers import make_optimizer
from worker.pipeline import Pipeline
from worker.task import Task, make_task

CPU = torch.device("cpu")

SMALL: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "args": {"hidden": [16]}},
    "dataset": {"name": "wine"},
    "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
    "training": {"batch_size": 16, "steps": 40},
    "search": {"budget": {"full_runs": 28}, "confirm_pairs": 2},
}


def spec_of(**changes: Any) -> JobSpec:
    return JobSpec.model_validate({**SMALL, **changes})


def task_of(**changes: Any) -> Task:
    return make_task(spec_of(**changes), CPU)


def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
    """The mean cross-entropy, by hand."""
    inputs, targets = batch
    return nn.functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())


def subject(updates: int = 3, **changes: Any) -> tuple[Task, nn.Module, torch.optim.Optimizer]:
    """A model and an optimizer that have trained for some updates: there is state to lose."""
    task = task_of(**changes)
    model = task.model(0)
    optimizer = make_optimizer(task.spec.optimizer, model.parameters(), lr=0.05)
    for batch in task.batches(7, updates):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
    return task, model, optimizer


def fingerprint(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """A hash of everything that a sweep must not change."""
    parts = [
        [(k, v.numpy().tobytes()) for k, v in model.state_dict().items()],
        [None if p.grad is None else p.grad.numpy().tobytes() for p in model.parameters()],
        [m.training for m in model.modules()],
        optimizer.state_dict()["param_groups"],
        [
            (i, k, v.numpy().tobytes() if isinstance(v, torch.Tensor) else v)
            for i, state in optimizer.state_dict()["state"].items()
            for k, v in state.items()
        ],
        random.getstate(),
        np.random.get_state(),
        torch.get_rng_state().numpy().tobytes(),
    ]
    return hashlib.sha256(pickle.dumps(parts)).hexdigest()


class ListJournal:
    """Keeps what a job tells, the way a database would."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.trials: list[TrialRecord] = []
        self.started: list[int] = []
        self.stages: dict[str, dict[str, Any]] = {}
        self.last_progress: Progress | None = None

    def event(self, kind: str, message: str, phase: Stage, data: dict[str, Any]) -> None:
        self.events.append((kind, message))

    def trial_started(self, trial: TrialRecord) -> None:
        self.started.append(trial.number)

    def trial_finished(self, trial: TrialRecord, progress: Progress) -> None:
        self.trials.append(trial)
        self.last_progress = progress

    def stage_finished(self, stage: Stage, result: dict[str, Any]) -> None:
        self.stages[stage.value] = result


def pipeline_of(
    spec: JobSpec, journal: ListJournal, history: History | None = None, **changes: Any
) -> Pipeline:
    return Pipeline(
        job_id=changes.get("job_id", "job_test"),
        spec=spec,
        device=CPU,
        public_url="http://127.0.0.1:8470",
        journal=journal,
        history=history or History(),
        now=lambda: changes.get("now", "2026-01-01T00:00:00Z"),
    )


@pytest.fixture(autouse=True)
def _prepared():
    prepare(CPU)
