"""Whose a job is and whose turn; quotas of keys; uploads by team; indexes for long lists."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ACTIVE = sa.text("status NOT IN ('cancelled', 'succeeded', 'failed', 'expired')")
STARTED = sa.text("started_at IS NOT NULL")
UNNUMBERED = sa.text("job_seq IS NULL")

ADDED = [
    ("jobs", "key_id"),
    ("jobs", "team"),
    ("jobs", "max_running"),
    ("jobs", "turn"),
    ("job_metadata", "job_seq"),
    ("api_keys", "team"),
    ("api_keys", "max_queued"),
    ("api_keys", "max_running"),
    ("api_keys", "submits_per_minute"),
]
INDEXES = [
    ("jobs", ["priority", "turn", "seq"], ACTIVE),
    ("jobs", ["key_id", "priority", "turn"], ACTIVE),
    ("jobs", ["priority", "turn"], STARTED),
    ("jobs", ["team", "seq"], None),
    ("jobs", ["team", "status", "seq"], None),
    ("jobs", ["team", "name", "seq"], None),
    ("jobs", ["key_id", "seq"], None),
    ("job_metadata", ["key", "value", "job_seq"], None),
    ("job_metadata", ["job_seq"], UNNUMBERED),
]
REPLACED = [
    ("jobs", ["priority", "seq"], ACTIVE),
    ("job_metadata", ["key", "value"], None),
]

_HOLD = """INSERT INTO holders (upload_id, team, kind, filename, uploaded_at)
SELECT id, '', '{0}', filename, uploaded_at FROM {0} ORDER BY seq"""


def upgrade() -> None:
    # Only nullable columns and defaults: the previous version goes on inserting without them.
    op.add_column("jobs", sa.Column("key_id", sa.Text()))
    op.add_column("jobs", sa.Column("team", sa.Text()))
    op.add_column("jobs", sa.Column("max_running", sa.Integer()))
    turn = sa.Column("turn", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("jobs", turn)
    op.add_column("job_metadata", sa.Column("job_seq", sa.BigInteger()))
    op.add_column("api_keys", sa.Column("team", sa.Text()))
    op.add_column("api_keys", sa.Column("max_queued", sa.Integer()))
    op.add_column("api_keys", sa.Column("max_running", sa.Integer()))
    op.add_column("api_keys", sa.Column("submits_per_minute", sa.Integer()))
    op.execute(
        "UPDATE job_metadata SET job_seq = (SELECT seq FROM jobs WHERE id = job_metadata.job_id)"
    )
    for index in INDEXES:
        _create(*index)
    for index in REPLACED:
        _drop(*index)
    op.create_table(
        "holders",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text()),
        sa.Column("uploaded_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_holders"),
        sa.UniqueConstraint("upload_id", "team", "kind", name="uq_holders_upload_id_team_kind"),
        sqlite_autoincrement=True,
    )
    _create("holders", ["team", "kind", "seq"])
    # What is there belongs to nobody, as what is sent without a key.
    op.execute(_HOLD.format("datasets"))
    op.execute(_HOLD.format("code"))


def downgrade() -> None:
    op.drop_table("holders")
    for index in REPLACED:
        _create(*index)
    for index in INDEXES:
        _drop(*index)
    # No `batch_alter_table`: it would drop the triggers of the table on SQLite.
    for table, column in ADDED:
        op.drop_column(table, column)


def _create(table: str, columns: list[str], where: sa.TextClause | None = None) -> None:
    op.create_index(
        _name(table, columns), table, columns, sqlite_where=where, postgresql_where=where
    )


def _drop(table: str, columns: list[str], _where: sa.TextClause | None = None) -> None:
    op.drop_index(_name(table, columns), table)


def _name(table: str, columns: list[str]) -> str:
    return f"ix_{table}_{'_'.join(columns)}"
