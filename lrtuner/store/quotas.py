"""Quotas: how much one API key may ask for."""

from dataclasses import dataclass, replace

import sqlalchemy as sa

from lrtuner.errors import QuotaError
from lrtuner.lifecycle import JobStatus
from lrtuner.store.engine import DatabaseClock, one_at_a_time
from lrtuner.store.keys import KeyRow
from lrtuner.store.tables import ACTIVE, jobs

WINDOW_SECONDS = 60.0

FULL_QUEUE_SECONDS = 30.0
"""When to ask again where only the end of a job makes room."""


@dataclass(frozen=True)
class Quotas:
    """What one key may do; None: as much as it likes.

    Attributes:
        max_queued: most of its jobs that wait at the same time.
        max_running: most of its jobs that are with a worker at the same time.
        submits_per_minute: most of its jobs that are accepted in any 60 seconds.
    """

    max_queued: int | None = None
    max_running: int | None = None
    submits_per_minute: int | None = None

    def of(self, key: KeyRow | None) -> "Quotas":
        """Those of a key: its own ones where it has them."""
        own = {name: getattr(key, name, None) for name in self.__dataclass_fields__}
        return replace(self, **{name: most for name, most in own.items() if most is not None})


def admit(connection: sa.Connection, key_id: str | None, quotas: Quotas) -> None:
    """Make sure that a key may submit another job; until the transaction ends no other one does.

    Without a key it is all jobs without one that count.

    Raises:
        QuotaError: it may not, for now.
    """
    one_at_a_time(connection, f"submit {key_id}")
    _check_rate(connection, key_id, quotas.submits_per_minute)
    _check_queue(connection, key_id, quotas.max_queued)


def _check_rate(connection: sa.Connection, key_id: str | None, most: int | None) -> None:
    if most is None:
        return
    # The oldest of the last `most` jobs must have left the window.
    ordered = sa.select(jobs.c.queued_at).where(jobs.c.key_id == key_id).order_by(jobs.c.seq.desc())
    oldest = ordered.offset(most - 1).limit(1).scalar_subquery()
    rest = connection.execute(sa.select(oldest + WINDOW_SECONDS - DatabaseClock())).scalar_one()
    if rest is not None and rest > 0:
        raise QuotaError(
            f"{most} jobs were submitted within a minute, as many as {_whose(key_id)} may",
            retry_seconds=rest,
        )


def _check_queue(connection: sa.Connection, key_id: str | None, most: int | None) -> None:
    if most is None:
        return
    query = sa.select(sa.func.count()).where(
        ACTIVE, jobs.c.key_id == key_id, jobs.c.status == JobStatus.QUEUED
    )
    if connection.execute(query).scalar_one() >= most:
        raise QuotaError(
            f"{most} jobs are waiting, as many as {_whose(key_id)} may have; "
            "wait until some have started, or cancel some",
            retry_seconds=FULL_QUEUE_SECONDS,
        )


def _whose(key_id: str | None) -> str:
    return "all without a key together" if key_id is None else f"the key {key_id}"
