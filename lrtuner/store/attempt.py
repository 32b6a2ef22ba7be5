"""What an attempt does to its own job: stay alive, finish it, or hand it back."""

from typing import Any

import sqlalchemy as sa

from lrtuner.headline import headline
from lrtuner.lifecycle import JobStatus
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import jobs, recommendations
from lrtuner.store.transitions import Claim, lease_lost, move, renew


def heartbeat(connection: sa.Connection, claim: Claim, *, lease_seconds: float) -> JobStatus:
    """Renew the lease; `cancelling` means stop and `confirm_cancelled`.

    Raises:
        LeaseLostError: the job is finished, was handed back, or runs as another attempt.
    """
    return renew(connection, claim, lease_seconds=lease_seconds)


def succeed(connection: sa.Connection, claim: Claim, *, recommendation: str) -> None:
    """Publish the recommendation, kept character by character, and finish the job.

    Raises:
        LeaseLostError: the job is not running, or runs as another attempt.
    """
    _finish(connection, claim, JobStatus.SUCCEEDED, message="The recommendation is published")
    found = headline(recommendation)
    connection.execute(
        sa.insert(recommendations).values(
            job_id=claim.job_id,
            attempt=claim.attempt,
            document=recommendation,
            headline=found and found.model_dump(mode="json"),
            published_at=DatabaseClock(),
        )
    )


def fail(connection: sa.Connection, claim: Claim, *, error: dict[str, Any]) -> None:
    """Finish the job as failed: another attempt would fail in the same way.

    The event repeats the error's `message`, if it has one.

    Raises:
        LeaseLostError: the job is not running, or runs as another attempt.
    """
    _finish(
        connection,
        claim,
        JobStatus.FAILED,
        message=error.get("message", "The job failed"),
        error=error,
    )


def retry(
    connection: sa.Connection, claim: Claim, *, error: dict[str, Any], delay_seconds: float
) -> None:
    """Hand the job back for another attempt after `delay_seconds`; the last attempt fails it.

    Raises:
        LeaseLostError: the job is not running, or runs as another attempt.
    """
    requeued = move(
        connection,
        claim,
        JobStatus.RUNNING,
        JobStatus.QUEUED,
        event="job.retried",
        message=f"Attempt {claim.attempt} broke off; another one follows",
        data={"attempt": claim.attempt, "error": error, "delay_seconds": delay_seconds},
        where=jobs.c.attempt < jobs.c.max_attempts,
        owner=None,
        not_before=DatabaseClock() + delay_seconds,
    )
    if not requeued:
        fail(connection, claim, error=error)


def release(
    connection: sa.Connection,
    claim: Claim,
    *,
    message: str = "The worker shut down; another one goes on",
) -> None:
    """Hand the job back for a reason that is not the job's; the attempt is not charged.

    Raises:
        LeaseLostError: the job is not running, or runs as another attempt.
    """
    released = move(
        connection,
        claim,
        JobStatus.RUNNING,
        JobStatus.QUEUED,
        event="job.released",
        message=message,
        data={"attempt": claim.attempt},
        owner=None,
        max_attempts=jobs.c.max_attempts + 1,  # `attempt` is the fencing token and never shrinks
    )
    if not released:
        raise lease_lost(claim)


def confirm_cancelled(connection: sa.Connection, claim: Claim) -> None:
    """Tell that nothing of a cancelling job runs any more.

    Raises:
        LeaseLostError: the job is not cancelling, or belongs to another attempt.
    """
    moved = move(
        connection,
        claim,
        JobStatus.CANCELLING,
        JobStatus.CANCELLED,
        event="job.cancelled",
        message="Stopped on request",
    )
    if not moved:
        raise lease_lost(claim)


def _finish(
    connection: sa.Connection, claim: Claim, target: JobStatus, *, message: str, **values: Any
) -> None:
    moved = move(
        connection,
        claim,
        JobStatus.RUNNING,
        target,
        event=f"job.{target}",
        message=message,
        data={"attempt": claim.attempt, **values},
        **values,
    )
    if not moved:
        raise lease_lost(claim)
