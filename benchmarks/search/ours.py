"""Our search: a job's own pipeline, from the range test to the verdict, that nobody watches."""

from dataclasses import replace
from typing import Any

from benchmarks.search.scoring import Pick
from lrtuner.evidence import Progress, TrialRecord
from lrtuner.lifecycle import Stage
from worker.journal import History
from worker.pipeline import Pipeline
from worker.task import Task


def ours(task: Task, budget: float, seed: int) -> Pick:
    """What a job on this task recommends, given a budget in full-training equivalents."""
    asked = task.spec.search.budget.model_copy(update={"full_runs": budget})
    search = task.spec.search.model_copy(update={"budget": asked})
    spec = task.spec.model_copy(update={"search": search, "seed": seed})
    pipeline = Pipeline(
        job_id="job_benchmark",
        spec=spec,
        device=task.device,
        public_url="http://127.0.0.1:8470",
        journal=_Silent(),
        history=History(),
        now=lambda: "2000-01-01T00:00:00Z",
        task=replace(task, spec=spec),
    )
    recommended = pipeline.run()
    assert recommended.provenance is not None
    return Pick(recommended, recommended.provenance.budget.spent)


class _Silent:
    """A journal that keeps nothing."""

    def event(self, kind: str, message: str, phase: Stage, data: dict[str, Any]) -> None:
        """Nobody reads it."""

    def trial_started(self, trial: TrialRecord) -> None:
        """Nobody resumes it."""

    def trial_finished(self, trial: TrialRecord, progress: Progress) -> None:
        """Nobody follows it."""

    def stage_finished(self, stage: Stage, result: dict[str, Any]) -> None:
        """Nobody resumes it."""
