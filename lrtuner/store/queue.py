"""The job queue: one function per verb, for use inside a transaction of the caller.

Nothing here commits: a verb and whatever its caller writes beside it become visible together or not
at all. Run verbs inside `Database.writing()`.
"""

import base64
import functools
import secrets
from typing import Any

import sqlalchemy as sa

from lrtuner.errors import ConflictError, NotFoundError
from lrtuner.lifecycle import JobStatus
from lrtuner.store.attempt import confirm_cancelled, fail, heartbeat, release, retry, succeed
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.records import (
    add_event,
    fence,
    finish_stage,
    finish_trial,
    set_progress,
    start_trial,
)
from lrtuner.store.tables import ACTIVE, events, job_metadata, jobs
from lrtuner.store.transitions import Claim, move, write_event
from lrtuner.store.turns import has_room, next_turn, running_by_key, whose

__all__ = [
    "Claim",
    "add_event",
    "cancel",
    "claim",
    "confirm_cancelled",
    "enqueue",
    "fail",
    "fence",
    "finish_stage",
    "finish_trial",
    "heartbeat",
    "reap",
    "release",
    "retry",
    "set_progress",
    "start_trial",
    "succeed",
]


def enqueue(
    connection: sa.Connection,
    *,
    spec: dict[str, Any],
    name: str | None,
    metadata: dict[str, str],
    priority: int = 100,
    max_attempts: int = 3,
    deadline_seconds: float | None = None,
    key_id: str | None = None,
    team: str | None = None,
    max_running: int | None = None,
) -> str:
    """Accept a job; its id.

    Lower `priority` runs first. Among equals the keys take turns, one job each; the jobs of one key
    run in order of arrival.

    Args:
        deadline_seconds: what is not finished by then expires.
        key_id: the API key that submitted it; without one, all those without one take turns as one.
        team: who may see it beside those who may see all.
        max_running: it waits while so many jobs of its key are running.
    """
    job_id = "job_" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
    seq = connection.execute(
        sa.insert(jobs)
        .values(
            id=job_id,
            status=JobStatus.QUEUED,
            name=name,
            spec=spec,
            priority=priority,
            attempt=0,
            max_attempts=max_attempts,
            not_before=0.0,
            deadline_at=None if deadline_seconds is None else DatabaseClock() + deadline_seconds,
            event_seq=1,
            queued_at=DatabaseClock(),
            key_id=key_id,
            team=team,
            max_running=max_running,
            turn=next_turn(connection, key_id=key_id, priority=priority),
        )
        .returning(jobs.c.seq)
    ).scalar_one()
    if metadata:
        of_job = {"job_id": job_id, "job_seq": seq}
        rows = [{**of_job, "key": key, "value": text} for key, text in metadata.items()]
        connection.execute(sa.insert(job_metadata), rows)
    write_event(connection, job_id, 1, kind="job.queued", message="Waiting for a worker")
    return job_id


def claim(connection: sa.Connection, *, owner: str, lease_seconds: float) -> Claim | None:
    """Take the next job that waits, or that a worker has stopped renewing; None if there is none.

    The status of a job whose worker died stays `running`: only its `attempt` grows.

    Args:
        owner: this start of the worker process: a fresh random id, never a host name.
        lease_seconds: how long others stay away without a heartbeat.
    """
    row = _taken(connection, owner=owner, lease_seconds=lease_seconds)
    if row is None:
        return None
    first = row.attempt == 1
    rescued = not first and _last_change(connection, row.id) not in _HANDED_BACK
    write_event(
        connection,
        row.id,
        row.event_seq,
        kind="job.started" if first else "job.rescued",
        message=_how_it_began(row.attempt, rescued=rescued),
        data={"attempt": row.attempt, "rescued": rescued},
    )
    return Claim(
        job_id=row.id,
        attempt=row.attempt,
        owner=owner,
        spec=row.spec,
        lease_seconds=lease_seconds,
        started_at=row.started_at,
        elapsed_seconds=row.elapsed_seconds,
        rescued=rescued,
    )


def _taken(connection: sa.Connection, *, owner: str, lease_seconds: float) -> sa.Row[Any] | None:
    """The next job, now running."""
    while True:
        found = connection.execute(_next()).one_or_none()
        if found is None:
            return None
        if _may_run(connection, found):
            taken = {"found": found.seq, "by": owner, "lease_seconds": lease_seconds}
            return connection.execute(_take(), taken).one()


def _may_run(connection: sa.Connection, found: sa.Row[Any]) -> bool:
    if found.max_running is None or found.status == JobStatus.RUNNING:
        return True
    # Workers that look at the same moment do not see what the others are about to take.
    return has_room(connection, key_id=found.key_id, max_running=found.max_running)


@functools.cache
def _next() -> sa.Select[Any]:
    """The job to take next, locked.

    It and what follows are built once: that takes longer than the database does to answer.
    """
    busy = running_by_key()
    return (
        sa.select(jobs.c.seq, jobs.c.status, jobs.c.key_id, jobs.c.max_running)
        .select_from(jobs.outerjoin(busy, busy.c.whose == whose(jobs.c.key_id)))
        .where(
            ACTIVE,
            jobs.c.attempt < jobs.c.max_attempts,
            sa.or_(
                jobs.c.max_running.is_(None),
                jobs.c.status == JobStatus.RUNNING,  # a rescue makes it no more
                jobs.c.max_running > sa.func.coalesce(busy.c.running, 0),
            ),
            # One expression rather than an OR, so that SQLite walks the index of active jobs in
            # order instead of collecting and sorting them all.
            sa.case(
                (jobs.c.status == JobStatus.QUEUED, jobs.c.not_before),
                (jobs.c.status == JobStatus.RUNNING, jobs.c.lease_expires_at),
            )
            <= DatabaseClock(),
            sa.func.coalesce(jobs.c.deadline_at > DatabaseClock(), sa.true()),
        )
        .order_by(jobs.c.priority, jobs.c.turn, jobs.c.seq)
        .limit(1)
        # SQLite has no FOR UPDATE and needs none: there is only one writer at a time.
        .with_for_update(skip_locked=True, of=jobs)
    )


@functools.cache
def _take() -> sa.UpdateBase:
    return (
        sa.update(jobs)
        .where(jobs.c.seq == sa.bindparam("found"))
        .values(
            status=JobStatus.RUNNING,
            attempt=jobs.c.attempt + 1,
            owner=sa.bindparam("by"),
            lease_expires_at=DatabaseClock() + sa.bindparam("lease_seconds", type_=sa.Double),
            started_at=sa.func.coalesce(jobs.c.started_at, DatabaseClock()),
            event_seq=jobs.c.event_seq + 1,
        )
        .returning(
            jobs.c.id,
            jobs.c.attempt,
            jobs.c.spec,
            jobs.c.started_at,
            (DatabaseClock() - jobs.c.started_at).label("elapsed_seconds"),
            jobs.c.event_seq,
        )
    )


_HANDED_BACK = ("job.released", "job.retried")
_MOST_ENDS = 10


def _last_change(connection: sa.Connection, job_id: str) -> str | None:
    """The kind of the event before the newest that tells of a change of hands."""
    kinds = ("job.started", "job.rescued", *_HANDED_BACK)
    query = (
        sa.select(events.c.kind)
        .where(events.c.job_id == job_id, events.c.kind.in_(kinds))
        .order_by(events.c.seq.desc())
        .limit(1)
    )
    kind: str | None = connection.execute(query).scalar_one_or_none()
    return kind


def _how_it_began(attempt: int, *, rescued: bool) -> str:
    if attempt == 1:
        return "A worker started"
    took_over = f"A worker took over, attempt {attempt}"
    return (
        f"Attempt {attempt - 1} was lost: its worker went silent. {took_over}"
        if rescued
        else took_over
    )


def cancel(connection: sa.Connection, job_id: str) -> JobStatus:
    """Ask a job to stop; its status then: `cancelled` at once if it waits, else `cancelling`.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: the job has finished in another way.
    """
    # The lock keeps the status as it was read until the transaction ends.
    query = sa.select(jobs.c.status).where(jobs.c.id == job_id).with_for_update()
    status = connection.execute(query).scalar_one_or_none()
    match status:
        case None:
            raise NotFoundError(f"there is no job {job_id}")
        case JobStatus.QUEUED:
            _cancelled(connection, job_id, JobStatus.QUEUED, message="Cancelled before it started")
            return JobStatus.CANCELLED
        case JobStatus.RUNNING:
            move(
                connection,
                job_id,
                JobStatus.RUNNING,
                JobStatus.CANCELLING,
                event="job.cancelling",
                message="Asked to stop",
            )
            return JobStatus.CANCELLING
        case JobStatus.CANCELLING | JobStatus.CANCELLED:
            return JobStatus(status)
        case _:
            raise ConflictError(f"job {job_id} is {status} and cannot be cancelled")


def reap(connection: sa.Connection) -> list[str]:
    """End the jobs that no worker will end, and return their ids; safe to run anywhere, any time.

    A job whose deadline has passed becomes `expired`, also under a worker, whose next write is then
    refused. One whose attempts are used up becomes `failed`. A cancelling job whose worker is gone
    becomes `cancelled` rather than being run again.
    """
    overdue = sa.and_(
        jobs.c.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]),
        jobs.c.deadline_at <= DatabaseClock(),
    )
    exhausted = sa.and_(
        jobs.c.attempt >= jobs.c.max_attempts,
        sa.or_(jobs.c.status == JobStatus.QUEUED, _abandoned(jobs, JobStatus.RUNNING)),
    )
    deserted = _abandoned(jobs, JobStatus.CANCELLING)
    # SKIP LOCKED: another reaper has the row, or its worker is writing and thus alive.
    query = (
        sa.select(jobs.c.id, jobs.c.status, jobs.c.attempt, sa.func.coalesce(overdue, sa.false()))
        .where(ACTIVE, sa.or_(overdue, exhausted, deserted))
        .order_by(jobs.c.seq)
        .with_for_update(skip_locked=True)
    )
    reaped = []
    for job_id, status, attempt, late in connection.execute(query).all():
        if late:
            ended = _expire(connection, job_id, JobStatus(status), where=overdue)
        elif status == JobStatus.CANCELLING:
            message = "Cancelled; its worker is gone"
            ended = _cancelled(connection, job_id, JobStatus.CANCELLING, message, where=deserted)
        else:
            ended = _give_up(connection, job_id, JobStatus(status), attempt, where=exhausted)
        if ended:
            reaped.append(job_id)
    return reaped


def _abandoned(table: sa.FromClause, status: JobStatus) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.status == status, table.c.lease_expires_at <= DatabaseClock())


def _cancelled(
    connection: sa.Connection,
    job_id: str,
    source: JobStatus,
    message: str,
    where: sa.ColumnElement[bool] | None = None,
) -> bool:
    return move(
        connection,
        job_id,
        source,
        JobStatus.CANCELLED,
        event="job.cancelled",
        message=message,
        where=where,
    )


def _expire(
    connection: sa.Connection, job_id: str, source: JobStatus, where: sa.ColumnElement[bool]
) -> bool:
    message = "The deadline passed before there was a recommendation"
    error = {"code": "expired", "message": message}
    return move(
        connection,
        job_id,
        source,
        JobStatus.EXPIRED,
        event="job.expired",
        message=message,
        data={"error": error},
        where=where,
        error=error,
    )


def _give_up(
    connection: sa.Connection,
    job_id: str,
    source: JobStatus,
    attempts: int,
    where: sa.ColumnElement[bool],
) -> bool:
    ended = "; ".join(_ends(connection, job_id, attempts))
    error = {
        "code": "max_attempts",
        "message": f"{attempts} attempts ended without a result: {ended}",
    }
    return move(
        connection,
        job_id,
        source,
        JobStatus.FAILED,
        event="job.failed",
        message=f"Gave up after {attempts} attempts",
        data={"attempt": attempts, "error": error},
        where=where,
        error=error,
    )


def _ends(connection: sa.Connection, job_id: str, attempts: int) -> list[str]:
    """What became of each attempt, in words; of many, of the last ones."""
    query = sa.select(events.c.kind, events.c.data).where(
        events.c.job_id == job_id, events.c.kind.in_(_HANDED_BACK)
    )
    told = {data["attempt"]: (kind, data) for kind, data in connection.execute(query).all()}
    first = max(1, attempts - _MOST_ENDS + 1)
    return [f"{n} {_end(*told.get(n, (None, {})))}" for n in range(first, attempts + 1)]


def _end(kind: str | None, data: dict[str, Any]) -> str:
    if kind is None:
        return "was lost with its worker"
    if kind == "job.released":
        return "was handed back at a shutdown"
    return f"broke off ({data['error'].get('message', 'no reason given')})"
