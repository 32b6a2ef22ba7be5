"""The queries behind the API. Run them inside `Database.reading()`; none of them locks anything."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lrtuner.errors import InvalidInputError, NotFoundError
from lrtuner.headline import Headline, headline
from lrtuner.lifecycle import JobStatus, Stage, TrialState
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import (
    TIMESTAMPS,
    events,
    job_metadata,
    jobs,
    recommendations,
    stages,
    trials,
)

#: Pairs of ids and numbers in one query: SQLite takes 32,766 variables.
_PAIRS_AT_ONCE = 1000


@dataclass(frozen=True)
class JobState:
    """What of a job changes while it lives; two that are equal show the same job.

    `event_seq` is the number of its newest event.
    """

    status: JobStatus
    event_seq: int
    progress: dict[str, Any] | None


@dataclass(frozen=True)
class JobRow:
    """A job as others see it.

    Attributes:
        attempts: how often a worker has taken it.
        timestamps: `queued_at`, `started_at`, ...: when it first entered each state, epoch seconds
            of the database clock, None for states it never was in.
        deadline_at: when it expires, None if never.
        pruned_at: when its trials and stages were removed, None while they are there.
        verdict: what its recommendation says in short, None if there is none.
        event_seq: the number of its newest event.
    """

    id: str
    status: JobStatus
    name: str | None
    spec: dict[str, Any]
    metadata: dict[str, str]
    priority: int
    attempts: int
    max_attempts: int
    timestamps: dict[str, float | None]
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    deadline_at: float | None
    pruned_at: float | None
    verdict: Headline | None
    event_seq: int

    @property
    def state(self) -> JobState:
        """What of it changes while it lives."""
        return JobState(self.status, self.event_seq, self.progress)


@dataclass(frozen=True)
class Page:
    """Some jobs, and the cursor that continues behind them; None on the last page."""

    items: list[JobRow]
    next_cursor: str | None


@dataclass(frozen=True)
class EventRow:
    """Something that happened to a job; `seq` counts 1, 2, 3... within the job, without gaps."""

    seq: int
    at: float
    kind: str
    phase: str | None
    message: str
    data: dict[str, Any]


@dataclass(frozen=True)
class TrialRow:
    """One training run; `attempt` is the attempt that ran it, `cost` counts full trainings."""

    number: int
    attempt: int
    phase: str
    state: TrialState
    value: float | None
    cost: float | None
    document: dict[str, Any]
    started_at: float
    finished_at: float | None


def get_job(connection: sa.Connection, job_id: str) -> JobRow:
    """The job.

    Raises:
        NotFoundError: there is no such job.
    """
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise _missing(job_id)
    return _job_rows(connection, [row])[0]


def require_job(connection: sa.Connection, job_id: str, *, team: str | None) -> None:
    """Make sure that a job is one of a team's, or with None that there is one.

    Raises:
        NotFoundError: it is not, or there is none of that id: nothing tells which.
    """
    query = sa.select(jobs.c.seq).where(jobs.c.id == job_id)
    query = query if team is None else query.where(jobs.c.team == team)
    if connection.execute(query).one_or_none() is None:
        raise _missing(job_id)


def list_jobs(
    connection: sa.Connection,
    *,
    after: str | None = None,
    limit: int,
    status: list[JobStatus] | None = None,
    name: str | None = None,
    metadata: dict[str, str] | None = None,
    team: str | None = None,
) -> Page:
    """Jobs that match every given filter, newest first.

    Pages that follow each other's cursors show every job once, however many arrive meanwhile.

    Args:
        after: `next_cursor` of the page before.
        metadata: labels that the job must carry, each with exactly this value.
        team: whose jobs; None: those of all.

    Raises:
        InvalidInputError: `after` is no cursor of ours.
    """
    conditions = []
    if team is not None:
        conditions.append(jobs.c.team == team)
    if name is not None:
        conditions.append(jobs.c.name == name)
    before = None if after is None else _read_cursor(after)
    if status == []:
        return Page([], None)
    newest = [
        _newest([*conditions, *each], metadata or {}, before=before, limit=limit + 1)
        for each in ([[jobs.c.status == one] for one in status] if status else [[]])
    ]
    found = sa.union_all(*newest).subquery()
    query = sa.select(jobs).where(jobs.c.seq.in_(sa.select(found.c.seq)))
    rows = connection.execute(query.order_by(jobs.c.seq.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(_job_rows(connection, shown), _cursor(shown[-1].seq) if more else None)


@dataclass(frozen=True)
class QueueState:
    """How many jobs there are in each state, and how long the oldest of those that wait does."""

    jobs: dict[JobStatus, int]
    oldest_seconds: float


def queue_state(connection: sa.Connection) -> QueueState:
    """How full the queue is. A job that was handed back waits from when it may run again."""
    counted = sa.select(jobs.c.status, sa.func.count()).group_by(jobs.c.status)
    # max() of two columns has another name in each database
    ready = sa.case(
        (jobs.c.not_before > jobs.c.queued_at, jobs.c.not_before), else_=jobs.c.queued_at
    )
    waiting = sa.select(DatabaseClock() - sa.func.min(ready)).where(
        jobs.c.status == JobStatus.QUEUED
    )
    oldest = connection.execute(waiting).scalar_one()
    return QueueState(
        jobs={JobStatus(status): number for status, number in connection.execute(counted)},
        oldest_seconds=max(0.0, oldest or 0.0),
    )


def list_events(
    connection: sa.Connection, job_id: str, *, after: int = 0, limit: int
) -> list[EventRow]:
    """Events with a number above `after`, oldest first; none for an unknown job."""
    query = (
        sa.select(*(events.c[name] for name in EventRow.__dataclass_fields__))
        .where(events.c.job_id == job_id, events.c.seq > after)
        .order_by(events.c.seq)
        .limit(limit)
    )
    return [EventRow(*row) for row in connection.execute(query)]


def job_states(connection: sa.Connection, job_ids: Sequence[str]) -> dict[str, JobState]:
    """The states of many jobs by id; unknown ones are missing."""
    columns = (jobs.c.id, jobs.c.status, jobs.c.event_seq, jobs.c.progress)
    found = {}
    for first in range(0, len(job_ids), _PAIRS_AT_ONCE):
        some = job_ids[first : first + _PAIRS_AT_ONCE]
        for row in connection.execute(sa.select(*columns).where(jobs.c.id.in_(some))):
            found[row.id] = JobState(JobStatus(row.status), row.event_seq, row.progress)
    return found


def events_by_number(
    connection: sa.Connection, wanted: Sequence[tuple[str, int]]
) -> list[tuple[str, EventRow]]:
    """Events of many jobs, named by job and number, each with its job; in order within a job."""
    columns = (events.c[name] for name in EventRow.__dataclass_fields__)
    query = sa.select(events.c.job_id, *columns).order_by(events.c.job_id, events.c.seq)
    found = []
    for first in range(0, len(wanted), _PAIRS_AT_ONCE):
        some = wanted[first : first + _PAIRS_AT_ONCE]
        named = query.where(sa.tuple_(events.c.job_id, events.c.seq).in_(some))
        found += [(row[0], EventRow(*row[1:])) for row in connection.execute(named)]
    return found


def last_event(connection: sa.Connection, job_id: str, kind: str) -> EventRow | None:
    """The latest event of that kind, None if there is none."""
    query = (
        sa.select(*(events.c[name] for name in EventRow.__dataclass_fields__))
        .where(events.c.job_id == job_id, events.c.kind == kind)
        .order_by(events.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else EventRow(*row)


def list_trials(
    connection: sa.Connection, job_id: str, *, after: int = -1, limit: int
) -> list[TrialRow]:
    """Trials with a number above `after` (they count from 0), in order; none for an unknown job."""
    query = (
        sa.select(*(trials.c[name] for name in TrialRow.__dataclass_fields__))
        .where(trials.c.job_id == job_id, trials.c.number > after)
        .order_by(trials.c.number)
        .limit(limit)
    )
    rows = (row._asdict() for row in connection.execute(query))
    return [TrialRow(**row | {"state": TrialState(row["state"])}) for row in rows]


def get_stage(connection: sa.Connection, job_id: str, stage: Stage) -> dict[str, Any] | None:
    """The stored result of a stage, None while it is not finished."""
    query = sa.select(stages.c.result).where(stages.c.job_id == job_id, stages.c.stage == stage)
    result: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return result


def list_stages(connection: sa.Connection, job_id: str) -> dict[str, dict[str, Any]]:
    """The results of all finished stages by name, in the order of `Stage`."""
    query = sa.select(stages.c.stage, stages.c.result).where(stages.c.job_id == job_id)
    found = {row.stage: row.result for row in connection.execute(query)}
    return {stage.value: found[stage] for stage in Stage if stage in found}


def get_recommendation(connection: sa.Connection, job_id: str) -> str | None:
    """The recommendation exactly as it was published, None if there is none (yet)."""
    query = sa.select(recommendations.c.document).where(recommendations.c.job_id == job_id)
    document: str | None = connection.execute(query).scalar_one_or_none()
    return document


def _missing(job_id: str) -> NotFoundError:
    return NotFoundError(f"there is no job {job_id}")


def _job_rows(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[JobRow]:
    labels = _labels(connection, [row.id for row in rows])
    succeeded = [row.id for row in rows if row.status == JobStatus.SUCCEEDED]
    verdicts = _headlines(connection, succeeded) if succeeded else {}
    return [
        JobRow(
            id=row.id,
            status=JobStatus(row.status),
            name=row.name,
            spec=row.spec,
            metadata=labels[row.id],
            priority=row.priority,
            attempts=row.attempt,
            max_attempts=row.max_attempts,
            timestamps={column: row._mapping[column] for column in TIMESTAMPS.values()},
            progress=row.progress,
            error=row.error,
            deadline_at=row.deadline_at,
            pruned_at=row.pruned_at,
            verdict=verdicts.get(row.id),
            event_seq=row.event_seq,
        )
        for row in rows
    ]


def _headlines(connection: sa.Connection, job_ids: list[str]) -> dict[str, Headline | None]:
    mine = recommendations.c.job_id
    query = sa.select(mine, recommendations.c.headline).where(mine.in_(job_ids))
    stored: dict[str, Any] = {row.job_id: row.headline for row in connection.execute(query)}
    found = {i: Headline.model_validate(told) for i, told in stored.items() if told is not None}
    # Those that a version before this one published are read from the whole document.
    if missing := [job_id for job_id in stored if job_id not in found]:
        query = sa.select(mine, recommendations.c.document).where(mine.in_(missing))
        return found | {i: headline(text) for i, text in connection.execute(query)}
    return {**found}


def _labels(connection: sa.Connection, job_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    query = sa.select(job_metadata.c.job_id, job_metadata.c.key, job_metadata.c.value).where(
        job_metadata.c.job_id.in_(job_ids)
    )
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    # Sorted here: the order of text in the database depends on its collation.
    for job_id, key, value in sorted(tuple(row) for row in connection.execute(query)):
        labels[job_id][key] = value
    return labels


def _newest(
    conditions: list[sa.ColumnElement[bool]],
    labels: dict[str, str],
    *,
    before: int | None,
    limit: int,
) -> sa.Select[Any]:
    """The numbers of the newest jobs that match: for each status a walk along one index.

    (Several statuses in one condition would be collected and sorted, or every job looked at.)
    """
    order: sa.ColumnElement[int] = jobs.c.seq
    chosen: sa.FromClause = jobs
    for number, (key, value) in enumerate(labels.items()):
        label = job_metadata.alias(f"label{number}")
        if number == 0:
            order = label.c.job_seq
        same = label.c.job_seq == jobs.c.seq
        chosen = chosen.join(label, sa.and_(same, label.c.key == key, label.c.value == value))
    found = sa.select(order.label("seq")).select_from(chosen).where(*conditions)
    if before is not None:
        found = found.where(order < before)
    walk = found.order_by(order.desc()).limit(limit).subquery()
    return sa.select(walk.c.seq)


def _cursor(seq: int) -> str:
    return base64.urlsafe_b64encode(f"jobs:{seq}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> int:
    try:
        padded = text + "=" * (-len(text) % 4)
        seq = int(base64.urlsafe_b64decode(padded).removeprefix(b"jobs:"))
    except (ValueError, binascii.Error):
        seq = -1
    # Only what we would write ourselves: decoders and int() let much else pass.
    if not 0 < seq < 2**63 or _cursor(seq) != text:
        raise InvalidInputError("after is not a cursor that this service gave out")
    return seq
