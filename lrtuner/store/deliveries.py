"""Messages to webhooks: written with what they tell of, sent later, kept with what was answered.

A message is a row of the transaction that changes the job: either both are there or neither. A
process takes it for as long as sending may last; what it does not report on by then is taken, and
sent, again, under the same id.
"""

import base64
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from lrtuner.errors import NotFoundError
from lrtuner.lifecycle import FINISHED
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import PENDING, deliveries, jobs, webhooks
from lrtuner.webhook import Receiver, Webhook

Status = Literal["pending", "delivered", "failed"]

TEST_EVENT = "webhook.test"

KEPT_TRIES = 20
"""So many tries of a message are kept, the newest."""

MOST_AT_ONCE = 1000
"""So many old messages are looked at in one transaction: others want to write, too."""

_LAST_EVENTS = {f"job.{status}" for status in FINISHED}

# Built once: every change of a job asks for it.
_WEBHOOK = (
    sa.select(webhooks, jobs.c.team)
    .join(jobs, jobs.c.id == webhooks.c.job_id)
    .where(webhooks.c.job_id == sa.bindparam("job_id"))
)


@dataclass(frozen=True)
class DeliveryRow:
    """A message as others see it; `tries` holds what `record` was told, the newest last.

    Attributes:
        next_try_at: when it is sent again, or taken to be lost by who sends it now; None when it is
            delivered or given up.
        num_tries: how often it was sent since it was made, or asked for again.
    """

    seq: int
    id: str
    job_id: str | None
    event: str
    url: str
    status: Status
    created_at: float
    next_try_at: float | None
    num_tries: int
    tries: list[dict[str, Any]]


@dataclass(frozen=True)
class Taken:
    """The right to send a message, good until somebody else takes it; `claim` is the fence."""

    seq: int
    id: str
    job_id: str | None
    event: str
    url: str
    secret: str | None = field(repr=False)
    created_at: float
    num_tries: int
    claim: int


def subscribe(connection: sa.Connection, job_id: str, webhook: Webhook) -> None:
    """From now on tell `webhook` of the events of that job that it asks for."""
    statement = sa.insert(webhooks).values(
        job_id=job_id, url=webhook.url, events=list(webhook.events), secret=webhook.secret
    )
    connection.execute(statement)


def post(connection: sa.Connection, job_id: str, event: str) -> None:
    """Write the message that tells the job's webhook of `event`, if there is one that asks for it.

    After the last event of a job its webhook is forgotten, and with it the secret.
    """
    webhook = connection.execute(_WEBHOOK, {"job_id": job_id}).one_or_none()
    if webhook is None:
        return
    if event in webhook.events:
        whose = {"job_id": job_id, "team": webhook.team}
        _add(connection, event, **whose, url=webhook.url, secret=webhook.secret)
    if event in _LAST_EVENTS:
        _unsubscribe(connection, job_id)


def post_test(connection: sa.Connection, receiver: Receiver, *, team: str | None = None) -> str:
    """Write a message that tells of nothing, for a team; its id."""
    whose = {"job_id": None, "team": team}
    return _add(connection, TEST_EVENT, **whose, url=receiver.url, secret=receiver.secret)


def is_due(connection: sa.Connection) -> bool:
    """Whether `take` would find something; it locks nothing."""
    return connection.execute(_due().limit(1)).first() is not None


def take(connection: sa.Connection, *, limit: int, lease_seconds: float) -> list[Taken]:
    """Take messages to send, those that have waited longest first; nobody else gets them meanwhile.

    What `record` is not told of within `lease_seconds` can be taken again.
    """
    query = _due().order_by(deliveries.c.next_try_at).limit(limit)
    found = list(connection.execute(query.with_for_update(skip_locked=True)).scalars())
    if not found:
        return []
    statement = (
        sa.update(deliveries)
        .where(deliveries.c.seq.in_(found))
        .values(
            next_try_at=DatabaseClock() + lease_seconds,
            claims=deliveries.c.claims + 1,
        )
        .returning(
            deliveries.c.seq,
            deliveries.c.id,
            deliveries.c.job_id,
            deliveries.c.event,
            deliveries.c.url,
            deliveries.c.secret,
            deliveries.c.created_at,
            deliveries.c.num_tries,
            deliveries.c.claims,
        )
    )
    return sorted((Taken(*row) for row in connection.execute(statement)), key=lambda t: t.seq)


def record(
    connection: sa.Connection,
    taken: Taken,
    tried: dict[str, Any],
    *,
    status: Status,
    delay_seconds: float | None = None,
    forget_webhook: bool = False,
) -> bool:
    """Report on a try; False, and nothing written, if somebody else has taken the message since.

    Args:
        tried: what is kept of the try; `at` is added.
        status: `pending` if it is tried again, after `delay_seconds`.
        forget_webhook: nothing more of this job is sent there.
    """
    mine = [deliveries.c.seq == taken.seq, deliveries.c.claims == taken.claim]
    query = sa.select(deliveries.c.tries, DatabaseClock()).where(*mine).with_for_update()
    found = connection.execute(query).one_or_none()
    if found is None:
        return False
    before, now = found
    statement = (
        sa.update(deliveries)
        .where(*mine)
        .values(
            status=status,
            next_try_at=None if delay_seconds is None else DatabaseClock() + delay_seconds,
            num_tries=deliveries.c.num_tries + 1,
            tries=[*before, {"at": now, **tried}][-KEPT_TRIES:],
        )
    )
    connection.execute(statement)
    if forget_webhook and taken.job_id is not None:
        _unsubscribe(connection, taken.job_id)
    return True


def redeliver(connection: sa.Connection, delivery_id: str) -> None:
    """Send a message again, now, under its own id, and with all retries if that fails.

    Raises:
        NotFoundError: there is none of that id.
    """
    statement = (
        sa.update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(status="pending", next_try_at=DatabaseClock(), num_tries=0)
    )
    if not connection.execute(statement).rowcount:
        raise _missing(delivery_id)


def get_delivery(
    connection: sa.Connection, delivery_id: str, *, team: str | None = None
) -> DeliveryRow:
    """The message.

    Args:
        team: whose it has to be; None: anybody's.

    Raises:
        NotFoundError: there is none of that id, or it is not the team's: nothing tells which.
    """
    query = _of(team, _select().where(deliveries.c.id == delivery_id))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise _missing(delivery_id)
    return DeliveryRow(*row)


def list_deliveries(
    connection: sa.Connection,
    *,
    before: int | None,
    limit: int,
    job_id: str | None = None,
    team: str | None = None,
) -> list[DeliveryRow]:
    """Messages of a team, or of all, newest first; with `before` those whose `seq` is below it."""
    query = _of(team, _select().order_by(deliveries.c.seq.desc()).limit(limit))
    if before is not None:
        query = query.where(deliveries.c.seq < before)
    if job_id is not None:
        query = query.where(deliveries.c.job_id == job_id)
    return [DeliveryRow(*row) for row in connection.execute(query)]


def count_pending(connection: sa.Connection) -> int:
    """How many messages are still to be delivered."""
    query = sa.select(sa.func.count()).select_from(deliveries).where(PENDING)
    return connection.execute(query).scalar_one()


def prune(connection: sa.Connection, *, older_than_seconds: float) -> int:
    """Remove messages that were made longer ago and are not to be delivered any more; how many."""
    # Of the oldest only: looking at them all, again and again, takes the longer the more there are.
    oldest = sa.select(deliveries).order_by(deliveries.c.seq).limit(MOST_AT_ONCE).subquery()
    old = sa.select(oldest.c.seq).where(
        oldest.c.next_try_at.is_(None), oldest.c.created_at < DatabaseClock() - older_than_seconds
    )
    found = list(connection.execute(old).scalars())
    if not found:
        return 0
    # The condition once more: one of them may have been asked for again meanwhile.
    statement = sa.delete(deliveries).where(
        deliveries.c.seq.in_(found), deliveries.c.next_try_at.is_(None)
    )
    return connection.execute(statement).rowcount


def _add(connection: sa.Connection, event: str, **values: Any) -> str:
    delivery_id = "msg_" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
    statement = sa.insert(deliveries).values(
        id=delivery_id,
        event=event,
        status="pending",
        created_at=DatabaseClock(),
        next_try_at=DatabaseClock(),
        claims=0,
        num_tries=0,
        tries=[],
        **values,
    )
    connection.execute(statement)
    return delivery_id


def _unsubscribe(connection: sa.Connection, job_id: str) -> None:
    connection.execute(sa.delete(webhooks).where(webhooks.c.job_id == job_id))


def _due() -> sa.Select[Any]:
    return sa.select(deliveries.c.seq).where(PENDING, deliveries.c.next_try_at <= DatabaseClock())


def _select() -> sa.Select[Any]:
    return sa.select(*(deliveries.c[name] for name in DeliveryRow.__dataclass_fields__))


def _of(team: str | None, query: sa.Select[Any]) -> sa.Select[Any]:
    return query if team is None else query.where(deliveries.c.team == team)


def _missing(delivery_id: str) -> NotFoundError:
    return NotFoundError(f"there is no delivery {delivery_id}")
