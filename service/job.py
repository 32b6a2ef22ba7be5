"""A job as the API shows it."""

import time
from typing import Any

from pydantic import BaseModel, Field

from lrtuner.headline import Headline
from lrtuner.lifecycle import JobStatus
from lrtuner.store import JobRow
from service.pages import utc_or_none
from service.problem import KINDS, RETRY_SECONDS, ProblemError

_SLOWEST_POLL = 15


class Links(BaseModel):
    """Where the rest of a job is."""

    self: str
    events: str
    trials: str
    range_test: str
    recommendation: str
    report: str
    schedule_plot: str
    cancel: str


class Job(BaseModel):
    """A job: what was asked, where it is in its life, and where its results are."""

    id: str
    status: JobStatus
    name: str | None
    spec: dict[str, Any] = Field(description="What was asked, defaults spelled out.")
    metadata: dict[str, str] = Field(description="Your own labels, never interpreted.")
    attempts: int = Field(description="How often a worker has taken the job.")
    queued_at: str | None = Field(description="One time per state: when it first entered it.")
    started_at: str | None
    cancelling_at: str | None
    cancelled_at: str | None
    succeeded_at: str | None
    failed_at: str | None
    expired_at: str | None
    finished_at: str | None = Field(description="When the job entered its last state.")
    deadline_at: str | None = Field(description="When the job expires if it has no result yet.")
    evidence_pruned_at: str | None = Field(
        description="When its trials and range test were removed; the recommendation is kept."
    )
    progress: dict[str, Any] | None = Field(
        description="`phase`, `trials_finished`, `budget_spent` of `budget`, and the `best` value."
    )
    error: dict[str, Any] | None = Field(
        description="Why the job failed, as a problem: `type`, `title`, `detail`, `code`."
    )
    verdict: Headline | None = Field(
        description="What the recommendation says in short; null while there is none."
    )
    links: Links


def job_resource(row: JobRow, public_url: str) -> Job:
    """The job as the API shows it."""
    times = {name: utc_or_none(seconds) for name, seconds in row.timestamps.items()}
    return Job(
        id=row.id,
        status=row.status,
        name=row.name,
        spec=row.spec,
        metadata=row.metadata,
        attempts=row.attempts,
        **times,
        finished_at=times[f"{row.status}_at"] if row.status.is_finished else None,
        deadline_at=utc_or_none(row.deadline_at),
        evidence_pruned_at=utc_or_none(row.pruned_at),
        progress=row.progress,
        error=row.error and job_problem(row.error),
        verdict=row.verdict,
        links=job_links(row.id, public_url),
    )


def job_links(job_id: str, public_url: str) -> Links:
    """Where the rest of a job is."""
    own = f"{public_url}/v1/jobs/{job_id}"
    return Links(
        self=own,
        events=f"{own}/events",
        trials=f"{own}/trials",
        range_test=f"{own}/range-test",
        recommendation=f"{own}/recommendation",
        report=f"{own}/report.html",
        schedule_plot=f"{own}/plots/schedule.svg",
        cancel=f"{own}/cancel",
    )


def seconds_to_wait(row: JobRow) -> int:
    """When to look again: soon after the start, then more and more rarely."""
    age = time.time() - (row.timestamps["queued_at"] or 0.0)
    return max(1, min(_SLOWEST_POLL, int(age / 20)))


def check_evidence(row: JobRow) -> None:
    """Refuse what is shown of evidence that was removed.

    Raises:
        ProblemError: it was.
    """
    if row.pruned_at is not None:
        when = utc_or_none(row.pruned_at)
        told = f"The evidence of job {row.id} was removed at {when} (LRTUNER_RETENTION_DAYS)"
        raise ProblemError("pruned", f"{told}; its recommendation is kept.")


def not_ready(row: JobRow, what: str) -> ProblemError:
    """The answer to a request for a result that the job does not have."""
    if row.status.is_finished:
        return ProblemError("not_ready", f"Job {row.id} is {row.status} and has no {what}.")
    return ProblemError(
        "not_ready",
        f"Job {row.id} is {row.status} and has no {what} yet.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def job_problem(error: dict[str, Any]) -> dict[str, Any]:
    """A stored failure (`code`, `message`) as a problem."""
    code = str(error.get("code", "job_failed"))
    title = KINDS[code].title if code in KINDS else "The job failed"
    rest = {key: value for key, value in error.items() if key not in ("code", "message")}
    detail = error.get("message", title)
    return {"type": f"/problems/{code}", "title": title, "detail": detail, "code": code, **rest}
