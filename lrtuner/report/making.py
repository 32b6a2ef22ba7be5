"""From a job's evidence to its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from lrtuner.agreement import agreements
from lrtuner.document import ScheduleDocument, Verdict
from lrtuner.evidence import TrialRecord
from lrtuner.job import JobSpec
from lrtuner.ledger import ledger
from lrtuner.lifecycle import JobStatus
from lrtuner.pairs import Pairs, difference, paired_runs
from lrtuner.range_test import RangeTestResult
from lrtuner.report.model import (
    Answer,
    Comparison,
    Drift,
    JobFacts,
    Objective,
    RangeTest,
    Report,
    Reproduction,
    Run,
    Warned,
)
from lrtuner.sensitivity import Sensitivity
from lrtuner.words import schedule_rows, title, verdict_rows


@dataclass(frozen=True)
class Evidence:
    """What a job has left so far; `search` and `confirm` are the stored results of its stages."""

    job: JobFacts
    spec: JobSpec
    range_test: RangeTestResult | None = None
    trials: Sequence[TrialRecord] = ()
    search: Mapping[str, Any] = field(default_factory=dict)
    confirm: Mapping[str, Any] = field(default_factory=dict)
    recommendation: ScheduleDocument | None = None
    environment: Mapping[str, Any] | None = None


class _Stage(BaseModel):
    """What a report takes from the result of a stage: whatever of it there is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    warnings: list[Warned] = []
    sensitivity: list[Sensitivity] = []
    drift: Drift | None = None
    verdict: Verdict | None = None


def make_report(evidence: Evidence) -> Report:
    """The report of a job, finished or not."""
    spec, trials, range_test = evidence.spec, evidence.trials, evidence.range_test
    search = _Stage.model_validate(evidence.search)
    confirm = _Stage.model_validate(evidence.confirm)
    document = evidence.recommendation
    verdict = document.verdict if document else confirm.verdict
    metric = spec.objective.metric
    pairs = paired_runs(trials, metric, verdict, document)
    report = Report(
        job=evidence.job,
        state=_state(evidence.job),
        objective=_objective(spec),
        answer=_answer(document) if document else None,
        warnings=_warnings(search, confirm, verdict),
        pairs=pairs,
        range_test=_range_test(range_test) if range_test else None,
        sensitivity=search.sensitivity or _told(verdict),
        drift=search.drift,
        runs=[_run(trial, metric) for trial in trials],
        agreements=agreements(trials, search.drift.alpha if search.drift else 0.0),
        ledger=ledger(range_test, trials, spec.search.budget.full_runs),
        comparisons=_comparisons(trials, pairs),
        reproduction=_reproduction(evidence),
        missing={},
    )
    missing = {name: _missing(name, evidence) for name in _NONE if not getattr(report, name)}
    return report.model_copy(update={"missing": missing})


def _objective(spec: JobSpec) -> Objective:
    target = spec.objective.target
    return Objective(
        metric=spec.objective.metric,
        direction="minimize" if spec.objective.sign > 0 else "maximize",
        target=target.model_dump() if target else None,
    )


def _answer(document: ScheduleDocument) -> Answer:
    told = dict(verdict_rows(document.verdict)) if document.verdict else {}
    return Answer(
        title=title(document),
        words=schedule_rows(document),
        status=told.get("verdict"),
        against=told.get("against"),
        verdict=document.verdict,
        document=document.document,
    )


def _range_test(found: RangeTestResult) -> RangeTest:
    return RangeTest(
        status=found.status,
        message=found.message,
        sweeps=len(found.sweeps),
        probes=len(found.probes),
        cost=found.cost,
        low=found.suggestion.low,
        high=found.suggestion.high,
        source=found.suggestion.source,
        peaks=found.suggestion.peaks,
        repeatable=found.repeatable,
    )


def _told(verdict: Verdict | None) -> list[Sensitivity]:
    """The sensitivity that the verdict carries."""
    found = verdict.lr_sensitivity if verdict else None
    if found is None:
        return []
    changes = {0.5: found.half_peak, 2.0: found.double_peak}
    return [Sensitivity(factor=factor, change=change) for factor, change in changes.items()]


def _run(trial: TrialRecord, metric: str) -> Run:
    return Run(
        **trial.model_dump(include=set(Run.model_fields)),
        family=trial.schedule.body.family,
        peak_lr=trial.schedule.peak_lr,
        horizon=trial.schedule.total_steps,
        test=trial.metrics.get(f"test_{metric.removeprefix('val_')}"),
    )


def _comparisons(trials: Sequence[TrialRecord], pairs: Pairs | None) -> list[Comparison]:
    recommended = {pair.seed: pair.recommended for pair in pairs.pairs} if pairs else {}
    compared = (trial for trial in trials if trial.purpose == "comparison")
    return [_comparison(trial, recommended.get(trial.seed)) for trial in compared]


def _comparison(trial: TrialRecord, recommended: float | None) -> Comparison:
    return Comparison(
        name=trial.shape or trial.arm,
        number=trial.number,
        seed=trial.seed,
        state=trial.state,
        value=trial.value,
        recommended=recommended,
        difference=difference(recommended, trial.value),
        cost=trial.cost,
    )


def _warnings(search: _Stage, confirm: _Stage, verdict: Verdict | None) -> list[Warned]:
    """Each once, wherever it is told."""
    told = [Warned(message=text) for text in verdict.warnings] if verdict else []
    found: dict[str, Warned] = {}
    for warned in [*search.warnings, *confirm.warnings, *told]:
        found.setdefault(warned.message, warned)
    return list(found.values())


def _reproduction(evidence: Evidence) -> Reproduction:
    provenance = evidence.recommendation.provenance if evidence.recommendation else None
    return Reproduction(
        commands=["lrtuner submit job.json --wait --output schedule.json"],
        job=evidence.spec.model_dump(mode="json"),
        seed=evidence.spec.seed,
        environment=dict(evidence.environment) if evidence.environment else None,
        content_hash=provenance.content_hash if provenance else None,
    )


def _state(job: JobFacts) -> str:
    if job.status is JobStatus.SUCCEEDED:
        return "The job has succeeded."
    if not job.status.is_finished:
        return f"The job is {job.status}. This is what there is so far."
    why = f": {job.error.message.rstrip('.')} ({job.error.code})" if job.error else ""
    how = {JobStatus.FAILED: "has failed", JobStatus.CANCELLED: "was cancelled"}
    told = how.get(job.status, "has expired: its deadline passed")
    return f"The job {told}{why}. This is what it had found until then."


_NONE = {
    "answer": "no recommendation",
    "pairs": "no pair on fresh seeds",
    "range_test": "no range test",
    "sensitivity": "no measurement of what a wrong peak costs",
    "runs": "no run",
    "agreements": "no schedule that was run over two horizons",
    "comparisons": "no comparison with other optimizers",
}


def _missing(name: str, evidence: Evidence) -> str:
    """Why that part of the report is empty."""
    search, status = evidence.spec.search, evidence.job.status
    if name == "comparisons" and not search.compare:
        return "None was asked for (search.compare)."
    if search.mode == "range_test" and name not in ("answer", "range_test"):
        return "Only the range test was asked for (search.mode is range_test)."
    if name == "pairs" and not search.confirm_pairs:
        return "None was asked for (search.confirm_pairs is 0)."
    if not status.is_finished:
        return f"There is {_NONE[name]} yet: the job is {status}."
    if status is JobStatus.SUCCEEDED:
        return f"There is {_NONE[name]}."
    return f"There is {_NONE[name]}: the job ended before ({status})."
