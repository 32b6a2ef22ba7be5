"""Answers that are there already: which job asked which question, by its hash.

Statements are built once, as every submit needs them and building takes longer than the database.
"""

import functools
from typing import Any

import sqlalchemy as sa

from lrtuner.lifecycle import JobStatus
from lrtuner.store.tables import jobs, questions

_REMEMBER = sa.insert(questions)


def remember(connection: sa.Connection, job_id: str, question: str) -> None:
    """Write down what a job asks."""
    connection.execute(_REMEMBER, {"job_id": job_id, "question": question})


def find(connection: sa.Connection, question: str, *, team: str | None = None) -> str | None:
    """The newest job that has answered the question, None if none has.

    Args:
        team: whose jobs may answer; None: those of all.
    """
    asked = {"question": question} if team is None else {"question": question, "team": team}
    query = _answered(of_one_team=team is not None)
    job_id: str | None = connection.execute(query, asked).scalar_one_or_none()
    return job_id


@functools.cache
def _answered(*, of_one_team: bool) -> sa.Select[Any]:
    may_answer = jobs.c.status == JobStatus.SUCCEEDED
    if of_one_team:
        may_answer = sa.and_(may_answer, jobs.c.team == sa.bindparam("team"))
    # Expressions, of which there is no index: SQLite would rather look at all jobs that succeeded,
    # newest first, than at those few that ask this.
    return (
        sa.select(jobs.c.id)
        .join(questions, questions.c.job_id == jobs.c.id)
        .where(
            questions.c.question == sa.bindparam("question"),
            sa.case((may_answer, 1), else_=0) == 1,
        )
        .order_by((jobs.c.seq + 0).desc())
        .limit(1)
    )
