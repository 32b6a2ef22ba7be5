"""The tables: as columns what is queried or locked, everything else as one JSON document per row.

    jobs ─┬─ job_metadata      the user's own labels, one row each, to filter by
          ├─ events            what happened, numbered 1, 2, 3... within the job
          ├─ trials            every training run that was asked for
          ├─ stages            results of finished stages: where another attempt goes on
          ├─ recommendations   the published text, at most one per job
          ├─ webhooks          who is told of a job that is not finished
          └─ deliveries        messages to them, and what became of each; also tests, of no job
    datasets, code             what was uploaded, by the hash of its content
    holders                    which teams have uploaded it
    api_keys                   who may use the service, by the hash of a secret

All times are epoch seconds of the database clock.
"""

import math
from typing import Any

import sqlalchemy as sa

from lrtuner.lifecycle import FINISHED as _FINISHED
from lrtuner.lifecycle import JobStatus
from lrtuner.store.engine import NotStorableError

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: The jobs that are not finished. Spelled out rather than bound, because both databases use the
#: partial index only for a query that contains its condition literally; and negative, so that
#: SQLite does not prefer the index on `status`, which is in another order.
ACTIVE = sa.text("status NOT IN ('cancelled', 'succeeded', 'failed', 'expired')")

#: The messages that are still to be delivered; spelled out for the same reason.
PENDING = sa.text("next_try_at IS NOT NULL")

#: The jobs that a worker has taken at least once, spelled out for the same reason.
STARTED = sa.text("started_at IS NOT NULL")

#: The labels that a version before numbered none has written.
UNNUMBERED = sa.text("job_seq IS NULL")


class PlainText(sa.TypeDecorator[str]):
    """Text that both databases keep: at most `length` characters, no NUL, no lone surrogate."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__()
        self.length = length

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        """Refuse what PostgreSQL would refuse, on SQLite as well."""
        if value is None:
            return None
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise NotStorableError("text must not contain NUL characters or lone surrogates")
        if self.length is not None and len(value) > self.length:
            raise NotStorableError(f"text of {len(value)} characters; at most {self.length} fit")
        return str(value)  # an enum member as its value


class Finite(sa.TypeDecorator[float]):
    """A double that is neither NaN (which SQLite would turn into NULL) nor infinite."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:  # noqa: ARG002
        """Refuse what JSON cannot say."""
        if value is not None and not math.isfinite(value):
            raise NotStorableError(f"{value} is no finite number")
        return value


def _job_id() -> sa.Column[str]:
    """What belongs to a job goes with it; together with the next key column it names the row."""
    return sa.Column(
        "job_id", PlainText(), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )


def _upload() -> tuple[sa.Column[Any], ...]:
    """What is kept of every upload; `seq` is the order of arrival, as for jobs."""
    return (
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("id", PlainText(), nullable=False, unique=True),
        sa.Column("filename", PlainText(200)),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("uploaded_at", Finite(), nullable=False),
    )


#: SQL NULL for a missing document, never the JSON text `null`.
Document = sa.JSON(none_as_null=True)

jobs = sa.Table(
    "jobs",
    metadata,
    # The order of arrival. Not a timestamp: clocks tie and jump.
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("id", PlainText(), nullable=False, unique=True),
    sa.Column("status", PlainText(), nullable=False),
    sa.Column("name", PlainText(200)),
    sa.Column("spec", Document, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),  # lower runs first
    sa.Column("attempt", sa.Integer, nullable=False),  # the fencing token: only ever grows
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("owner", PlainText()),
    sa.Column("lease_expires_at", Finite()),
    sa.Column("not_before", Finite(), nullable=False),
    sa.Column("deadline_at", Finite()),  # it has to be finished by then, or it expires
    sa.Column("event_seq", sa.Integer, nullable=False),  # number of the newest event
    sa.Column("progress", Document),
    sa.Column("error", Document),
    # When the job entered each state for the first time.
    sa.Column("queued_at", Finite(), nullable=False),
    sa.Column("started_at", Finite()),
    sa.Column("cancelling_at", Finite()),
    sa.Column("cancelled_at", Finite()),
    sa.Column("succeeded_at", Finite()),
    sa.Column("failed_at", Finite()),
    sa.Column("expired_at", Finite()),
    sa.Column("pruned_at", Finite()),  # when its evidence was removed
    sa.Column("key_id", PlainText()),  # who submitted it; NULL without a key
    sa.Column("team", PlainText()),  # who may see it; NULL only without a key
    # What its key is allowed, as it was when the job was submitted.
    sa.Column("max_running", sa.Integer),
    # The round of the queue that it belongs to, see `turns`. Versions before it leave it out.
    sa.Column("turn", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    # the queue, and in it that of each key
    sa.Index(None, "priority", "turn", "seq", sqlite_where=ACTIVE, postgresql_where=ACTIVE),
    sa.Index(None, "key_id", "priority", "turn", sqlite_where=ACTIVE, postgresql_where=ACTIVE),
    sa.Index(None, "priority", "turn", sqlite_where=STARTED, postgresql_where=STARTED),
    # the list, all of it and that of each team, by each filter
    sa.Index(None, "status", "seq"),
    sa.Index(None, "name", "seq"),
    sa.Index(None, "team", "seq"),
    sa.Index(None, "team", "status", "seq"),
    sa.Index(None, "team", "name", "seq"),
    sa.Index(None, "key_id", "seq"),
    sqlite_autoincrement=True,  # a number is never used twice, not even after a deletion
)

job_metadata = sa.Table(
    "job_metadata",
    metadata,
    _job_id(),
    sa.Column("key", PlainText(64), primary_key=True),
    sa.Column("value", PlainText(512), nullable=False),  # the limits keep index entries small
    # `jobs.seq`: the newest with a label are found without looking at all that have it. Versions
    # before it leave it out; `retention.number_labels` fills it in.
    sa.Column("job_seq", sa.BigInteger),
    sa.Index(None, "key", "value", "job_seq"),
    sa.Index(None, "job_seq", sqlite_where=UNNUMBERED, postgresql_where=UNNUMBERED),
)

events = sa.Table(
    "events",
    metadata,
    _job_id(),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Finite(), nullable=False),
    sa.Column("kind", PlainText(), nullable=False),
    sa.Column("phase", PlainText()),
    sa.Column("message", PlainText(), nullable=False),
    sa.Column("data", Document, nullable=False),
)

trials = sa.Table(
    "trials",
    metadata,
    _job_id(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("phase", PlainText(), nullable=False),
    sa.Column("state", PlainText(), nullable=False),
    sa.Column("value", Finite()),
    sa.Column("cost", Finite()),
    sa.Column("document", Document, nullable=False),
    sa.Column("started_at", Finite(), nullable=False),
    sa.Column("finished_at", Finite()),
)

stages = sa.Table(
    "stages",
    metadata,
    _job_id(),
    sa.Column("stage", PlainText(), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("result", Document, nullable=False),
    sa.Column("finished_at", Finite(), nullable=False),
)

recommendations = sa.Table(
    "recommendations",
    metadata,
    _job_id(),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("document", PlainText(), nullable=False),
    sa.Column("headline", Document),  # of the document, for lists; null for those of before
    sa.Column("published_at", Finite(), nullable=False),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    _job_id(),
    sa.Column("url", PlainText(), nullable=False),
    sa.Column("events", Document, nullable=False),
    sa.Column("secret", PlainText()),  # none: the service's own
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("id", PlainText(), nullable=False, unique=True),
    sa.Column("job_id", PlainText(), sa.ForeignKey("jobs.id", ondelete="CASCADE")),
    sa.Column("team", PlainText(200)),  # of the job, or of who asked for a test
    sa.Column("event", PlainText(), nullable=False),
    sa.Column("url", PlainText(), nullable=False),
    sa.Column("secret", PlainText()),
    sa.Column("status", PlainText(), nullable=False),
    sa.Column("created_at", Finite(), nullable=False),
    sa.Column("next_try_at", Finite()),  # also while it is sent: when the sender's lease runs out
    sa.Column("claims", sa.Integer, nullable=False),  # the fencing token: only ever grows
    sa.Column("num_tries", sa.Integer, nullable=False),  # since it was made or asked for again
    sa.Column("tries", Document, nullable=False),  # the newest, with what was answered
    sa.Index(None, "job_id", "seq"),
    sa.Index(None, "team", "seq"),
    sa.Index(
        "ix_deliveries_pending", "next_try_at", sqlite_where=PENDING, postgresql_where=PENDING
    ),
    sqlite_autoincrement=True,
)

datasets = sa.Table(
    "datasets",
    metadata,
    *_upload(),
    sa.Column("format", PlainText(), nullable=False),
    sa.Column("inspection", Document, nullable=False),
    sqlite_autoincrement=True,
)

code = sa.Table(
    "code",
    metadata,
    *_upload(),
    sa.Column("num_files", sa.Integer, nullable=False),
    sa.Column("unpacked_bytes", sa.BigInteger, nullable=False),
    sa.Column("files", Document, nullable=False),  # [path, bytes] each
    sqlite_autoincrement=True,
)

#: A content is kept once, and seen by each team that has sent it; its name is the sender's own.
holders = sa.Table(
    "holders",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("upload_id", PlainText(), nullable=False),
    sa.Column("team", PlainText(), nullable=False),  # empty: sent without a key
    sa.Column("kind", PlainText(), nullable=False),  # the table it is kept in
    sa.Column("filename", PlainText(200)),
    sa.Column("uploaded_at", Finite(), nullable=False),
    sa.UniqueConstraint("upload_id", "team", "kind"),
    sa.Index(None, "team", "kind", "seq"),
    sqlite_autoincrement=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", PlainText(), primary_key=True),
    sa.Column("name", PlainText(200), nullable=False),
    sa.Column("digest", PlainText(), nullable=False),
    sa.Column("scopes", Document, nullable=False),
    sa.Column("created_at", Finite(), nullable=False),
    sa.Column("expires_at", Finite()),
    sa.Column("revoked_at", Finite()),
    sa.Column("last_used_at", Finite()),
    sa.Column("team", PlainText(200)),
    # Its own quotas; where there is none, the settings decide.
    sa.Column("max_queued", sa.Integer),
    sa.Column("max_running", sa.Integer),
    sa.Column("submits_per_minute", sa.Integer),
)

questions = sa.Table(
    "questions",
    metadata,
    _job_id(),
    sa.Column("question", PlainText(), nullable=False, index=True),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("caller", PlainText(), primary_key=True),  # the id of an API key, or empty
    sa.Column("key", PlainText(255), primary_key=True),
    sa.Column("body", PlainText(), nullable=False),
    # Null within the transaction that reserves the key.
    sa.Column("job_id", PlainText(), sa.ForeignKey("jobs.id", ondelete="CASCADE")),
    sa.Column("cached", sa.Boolean, nullable=False),
    sa.Column("used_at", Finite(), nullable=False, index=True),
)

#: The states that a job never leaves, in an order that is always the same.
FINISHED = sorted(_FINISHED)

#: The column that says when a job entered a state.
TIMESTAMPS = {
    status: "started_at" if status is JobStatus.RUNNING else f"{status}_at" for status in JobStatus
}
