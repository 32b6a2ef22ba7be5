"""How a job changes: one guarded UPDATE, and the event that tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lrtuner.errors import LeaseLostError
from lrtuner.lifecycle import TRANSITIONS, JobStatus, TrialState
from lrtuner.store import deliveries
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import TIMESTAMPS, events, jobs, trials
from lrtuner.webhook import WEBHOOK_EVENTS

# Built once, as it takes longer to build most statements than to run them.
_ADD_EVENT = sa.insert(events).values(at=DatabaseClock())
_TRIALS_IN_FLIGHT = sa.select(trials.c.number, trials.c.document).where(
    trials.c.job_id == sa.bindparam("job_id"), trials.c.state == TrialState.RUNNING
)


@dataclass(frozen=True)
class Claim:
    """The right to work on a job, good until somebody else claims it.

    Attributes:
        attempt: the fencing token. Every claim of the job raises it, and every write checks it.
        lease_seconds: how long each heartbeat or write keeps others away.
        started_at: when the first attempt started, epoch seconds of the database clock.
        elapsed_seconds: database time between `started_at` and this claim.
        rescued: taken over because the lease of the attempt before had run out.
    """

    job_id: str
    attempt: int
    owner: str
    spec: dict[str, Any]
    lease_seconds: float
    started_at: float
    elapsed_seconds: float
    rescued: bool = False


def fenced_update(connection: sa.Connection, claim: Claim, **values: Any) -> int:
    """Change the job row under `claim` and renew the lease; the number of its newest event.

    The UPDATE is check and lock in one: until the transaction ends nobody can take the job over.
    (Reading the attempt first and writing later would let a take-over slip in between.)

    Raises:
        LeaseLostError: the job is not running, or runs as another attempt.
    """
    statement = (
        sa.update(jobs)
        .where(*_held(claim), jobs.c.status == JobStatus.RUNNING)
        .values(lease_expires_at=DatabaseClock() + claim.lease_seconds, **values)
        .returning(jobs.c.event_seq)
    )
    event_seq: int | None = connection.execute(statement).scalar_one_or_none()
    if event_seq is None:
        raise lease_lost(claim)
    return event_seq


def renew(connection: sa.Connection, claim: Claim, *, lease_seconds: float) -> JobStatus:
    """Renew the lease of a running or cancelling job; its status."""
    statement = (
        sa.update(jobs)
        .where(*_held(claim), jobs.c.status.in_([JobStatus.RUNNING, JobStatus.CANCELLING]))
        .values(lease_expires_at=DatabaseClock() + lease_seconds)
        .returning(jobs.c.status)
    )
    status = connection.execute(statement).scalar_one_or_none()
    if status is None:
        raise lease_lost(claim)
    return JobStatus(status)


def move(
    connection: sa.Connection,
    job: Claim | str,
    source: JobStatus,
    target: JobStatus,
    *,
    event: str,
    message: str,
    data: Mapping[str, Any] | None = None,
    where: sa.ColumnElement[bool] | None = None,
    **values: Any,
) -> bool:
    """Take a job from `source` to `target`; False, and nothing written, if it is not there.

    Args:
        job: a claim, under which only its own attempt moves, or the id of any job.
        where: a further condition that the same UPDATE checks.
        values: further columns to set.
    """
    if target not in TRANSITIONS[source]:
        raise ValueError(f"a {source} job cannot become {target}")
    job_id = job if isinstance(job, str) else job.job_id
    conditions = [jobs.c.id == job_id] if isinstance(job, str) else _held(job)
    entered = jobs.c[TIMESTAMPS[target]]
    statement = (
        sa.update(jobs)
        .where(*conditions, jobs.c.status == source, sa.true() if where is None else where)
        .values(
            {
                "status": target,
                entered.name: sa.func.coalesce(entered, DatabaseClock()),
                "event_seq": jobs.c.event_seq + 1,
                "lease_expires_at": jobs.c.lease_expires_at if _is_held(target) else None,
                **values,
            }
        )
        .returning(jobs.c.event_seq)
    )
    seq = connection.execute(statement).scalar_one_or_none()
    if seq is None:
        return False
    write_event(connection, job_id, seq, kind=event, message=message, data=data)
    if target.is_finished:
        _end_trials(connection, job_id, target)
    return True


def write_event(
    connection: sa.Connection,
    job_id: str,
    seq: int,
    *,
    kind: str,
    message: str,
    phase: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Insert event `seq`, a number just counted up in the job row and therefore locked with it.

    What webhooks are told of goes into their outbox in the same transaction.
    """
    event = {"job_id": job_id, "seq": seq, "kind": kind, "phase": phase, "message": message}
    connection.execute(_ADD_EVENT, {**event, "data": dict(data or {})})
    if kind in WEBHOOK_EVENTS:
        deliveries.post(connection, job_id, kind)


def _end_trials(connection: sa.Connection, job_id: str, status: JobStatus) -> None:
    """Nothing of a finished job runs any more; its run in flight, if there is one, failed."""
    error = {"code": "job_ended", "message": f"the job was {status} while it ran"}
    for number, document in connection.execute(_TRIALS_IN_FLIGHT, {"job_id": job_id}).all():
        ended = {**document, "state": TrialState.FAILED.value, "error": error}
        connection.execute(
            sa.update(trials)
            .where(trials.c.job_id == job_id, trials.c.number == number)
            .values(state=TrialState.FAILED, document=ended, finished_at=DatabaseClock())
        )


def lease_lost(claim: Claim) -> LeaseLostError:
    """The error that says which attempt came too late."""
    return LeaseLostError(f"attempt {claim.attempt} no longer owns job {claim.job_id}")


def _held(claim: Claim) -> list[sa.ColumnElement[bool]]:
    return [jobs.c.id == claim.job_id, jobs.c.attempt == claim.attempt]


def _is_held(status: JobStatus) -> bool:
    return status in (JobStatus.RUNNING, JobStatus.CANCELLING)
