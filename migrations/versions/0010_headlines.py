"""What a list of jobs shows of each recommendation; null for those of before."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("recommendations", sa.Column("headline", sa.JSON()))


def downgrade() -> None:
    # not by batch_alter_table, which would drop the table's trigger with it
    op.drop_column("recommendations", "headline")
