"""When a job expires, and when its evidence was removed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deadline_at", sa.Double()))
    op.add_column("jobs", sa.Column("pruned_at", sa.Double()))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.drop_column("pruned_at")
        table.drop_column("deadline_at")
