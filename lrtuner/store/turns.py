"""Whose turn it is: what keeps one API key from holding up the others.

Fair queueing in rounds. A job gets its round, `turn`, when it is submitted: of each key there is at
most one in a round, and a round begins when the one before it was claimed. So between two keys that
always have waiting jobs the numbers of claims differ by at most 2 over any stretch of time, however
many each of them submits; and a key alone has its jobs in order of arrival. A job that is handed
back, or rescued, keeps its turn, which makes it one of the next.

(Start-time fair queueing, Goyal, Vin and Cheng 1996, where every job is of length 1 and the virtual
time is the round of the job that was claimed last.)
"""

from typing import Any

import sqlalchemy as sa

from lrtuner.lifecycle import JobStatus
from lrtuner.store.engine import one_at_a_time
from lrtuner.store.tables import ACTIVE, STARTED, jobs

_BUSY = (JobStatus.RUNNING, JobStatus.CANCELLING)


def next_turn(connection: sa.Connection, *, key_id: str | None, priority: int) -> int:
    """The round of the next job of a key: after the one that is on, and after its own that wait.

    Until the end of the transaction no other job of this key can be submitted.
    """
    one_at_a_time(connection, f"submit {key_id}")
    now = _largest(STARTED, jobs.c.priority == priority)
    own = _largest(ACTIVE, jobs.c.key_id == key_id, jobs.c.priority == priority)
    found = connection.execute(sa.select(now, own)).one()
    return 1 + max(turn or 0 for turn in found)


def whose(key_id: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The key, to compare with; that of all jobs without one is empty."""
    return sa.func.coalesce(key_id, sa.literal_column("''"))


def running_by_key() -> sa.Subquery:
    """Of each key (`whose`), how many jobs (`running`) are with a worker."""
    key = whose(jobs.c.key_id)
    return (
        sa.select(key.label("whose"), sa.func.count().label("running"))
        .where(jobs.c.status.in_(_BUSY))
        .group_by(key)
        .subquery("busy")
    )


def has_room(connection: sa.Connection, *, key_id: str | None, max_running: int) -> bool:
    """Whether one more job of a key may run; if so, no other one starts before this one has."""
    with connection.begin_nested() as step:
        one_at_a_time(connection, f"run {key_id}")
        query = sa.select(sa.func.count()).where(jobs.c.status.in_(_BUSY), jobs.c.key_id == key_id)
        if connection.execute(query).scalar_one() < max_running:
            return True
        step.rollback()  # the lock, too: two that go on to each other's keys would wait for ever
    return False


def _largest(*conditions: Any) -> sa.ScalarSelect[Any]:
    ordered = sa.select(jobs.c.turn).where(*conditions).order_by(jobs.c.turn.desc())
    return ordered.limit(1).scalar_subquery()
