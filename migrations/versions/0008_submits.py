"""Idempotency keys, and what each job asks."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_idempotency_keys_job_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_idempotency_keys_used_at", "idempotency_keys", ["used_at"])
    op.create_table(
        "questions",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_questions"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_questions_job_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_questions_question", "questions", ["question"])


def downgrade() -> None:
    op.drop_table("questions")
    op.drop_table("idempotency_keys")
