"""A small real task: wine into a small mlp, a few dozen updates."""

from typing import Any

import pytest
import torch

from lrtuner.evidence import Progress, TrialRecord
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage
from worker.device import prepare
from worker.journal import History
from worker.pipeline import Pipeline
from worker.task import Task, make_task

CPU = torch.device("cpu")

SMALL: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "args": {"hidden": [16]}},
    "dataset": {"name": "wine"},
    "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
    "training": {"batch_size": 16, "steps": 40},
    "search": {"budget": {"full_runs": 24}, "confirm_pairs": 2},
}


def spec_of(**changes: Any) -> JobSpec:
    return JobSpec.model_validate({**SMALL, **changes})


def task_of(**changes: Any) -> Task:
    return make_task(spec_of(**changes), CPU)


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
