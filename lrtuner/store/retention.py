"""What is tidied up now and then. Evidence does not have to be kept for ever."""

import sqlalchemy as sa

from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import (
    FINISHED,
    TIMESTAMPS,
    UNNUMBERED,
    job_metadata,
    jobs,
    stages,
    trials,
)

MOST_AT_ONCE = 100
"""So many jobs in one transaction: others want to write, too."""


def prune(connection: sa.Connection, *, older_than_seconds: float) -> list[str]:
    """Remove trials and results of stages of jobs that ended longer ago, and return their ids.

    The job, its labels, its events and its recommendation stay. At most `MOST_AT_ONCE` jobs, the
    oldest first; safe to run anywhere, any time.
    """
    ended = sa.func.coalesce(*(jobs.c[TIMESTAMPS[status]] for status in FINISHED))
    query = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.status.in_(FINISHED),
            jobs.c.pruned_at.is_(None),
            ended <= DatabaseClock() - older_than_seconds,
        )
        .order_by(jobs.c.seq)
        .limit(MOST_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    pruned = list(connection.execute(query).scalars())
    if not pruned:
        return []
    for table in (trials, stages):
        connection.execute(sa.delete(table).where(table.c.job_id.in_(pruned)))
    connection.execute(
        sa.update(jobs).where(jobs.c.id.in_(pruned)).values(pruned_at=DatabaseClock())
    )
    return pruned


def number_labels(connection: sa.Connection) -> None:
    """Complete the labels that a service of a version before has written."""
    seq = sa.select(jobs.c.seq).where(jobs.c.id == job_metadata.c.job_id).scalar_subquery()
    connection.execute(sa.update(job_metadata).where(UNNUMBERED).values(job_seq=seq))
