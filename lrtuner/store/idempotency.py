"""Idempotency keys: a request that is sent again makes no second job."""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import idempotency_keys

KEPT_SECONDS = 86_400.0
"""How long a key stands for its job."""

_INSERT: dict[str, Callable[[sa.Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


@dataclass(frozen=True)
class Earlier:
    """The request that came with the key before.

    Attributes:
        body: the hash of its body.
        job_id: the job that it was answered with.
        cached: whether that job was there already, as the answer to the same question.
    """

    body: str
    job_id: str
    cached: bool


def reserve(connection: sa.Connection, *, caller: str, key: str, body: str) -> Earlier | None:
    """Take the key for a request; what it was taken for within the last day, if it was.

    A request with the same key that is under way in another transaction is waited for. After None,
    `settle` the key in the same transaction; one that is rolled back leaves it free.
    """
    mine = (idempotency_keys.c.caller == caller, idempotency_keys.c.key == key)
    connection.execute(sa.delete(idempotency_keys).where(*mine, _is_old()))
    insert = _INSERT[connection.dialect.name](idempotency_keys)
    taken = connection.execute(
        insert.values(caller=caller, key=key, body=body, cached=False, used_at=DatabaseClock())
        .on_conflict_do_nothing()
        .returning(idempotency_keys.c.key)
    )
    if taken.one_or_none() is not None:
        return None
    columns = (idempotency_keys.c[name] for name in Earlier.__dataclass_fields__)
    return Earlier(*connection.execute(sa.select(*columns).where(*mine)).one())


def settle(
    connection: sa.Connection, *, caller: str, key: str, job_id: str, cached: bool = False
) -> None:
    """Say which job a reserved key stands for."""
    connection.execute(
        sa.update(idempotency_keys)
        .where(idempotency_keys.c.caller == caller, idempotency_keys.c.key == key)
        .values(job_id=job_id, cached=cached)
    )


def forget_old(connection: sa.Connection) -> None:
    """Remove the keys that stand for nothing any more."""
    connection.execute(sa.delete(idempotency_keys).where(_is_old()))


def _is_old() -> sa.ColumnElement[bool]:
    return idempotency_keys.c.used_at <= DatabaseClock() - KEPT_SECONDS
