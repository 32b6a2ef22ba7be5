"""Answers that are there already: which job asked which question, by its hash."""

import sqlalchemy as sa

from lrtuner.lifecycle import JobStatus
from lrtuner.store.tables import jobs, questions


def remember(connection: sa.Connection, job_id: str, question: str) -> None:
    """Write down what a job asks."""
    connection.execute(sa.insert(questions).values(job_id=job_id, question=question))


def find(connection: sa.Connection, question: str, *, team: str | None = None) -> str | None:
    """The newest job that has answered the question, None if none has.

    Args:
        team: whose jobs may answer; None: those of all.
    """
    may_answer = jobs.c.status == JobStatus.SUCCEEDED
    if team is not None:
        may_answer = sa.and_(may_answer, jobs.c.team == team)
    # Expressions, of which there is no index: SQLite would rather look at all jobs that succeeded,
    # newest first, than at those few that ask this.
    query = (
        sa.select(jobs.c.id)
        .join(questions, questions.c.job_id == jobs.c.id)
        .where(questions.c.question == question, sa.case((may_answer, 1), else_=0) == 1)
        .order_by((jobs.c.seq + 0).desc())
        .limit(1)
    )
    job_id: str | None = connection.execute(query).scalar_one_or_none()
    return job_id
