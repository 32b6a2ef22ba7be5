"""What a job may become, and that a recommendation never changes, kept by the database itself.

On SQLite a migration that rebuilds `jobs` or `recommendations` (`batch_alter_table`) drops these
triggers with the old table: such a migration has to create them again.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: `lrtuner.lifecycle.TRANSITIONS` as it was when this was written.
TRANSITIONS = [
    "queued -> running",
    "queued -> cancelled",
    "queued -> failed",
    "queued -> expired",
    "running -> queued",
    "running -> cancelling",
    "running -> succeeded",
    "running -> failed",
    "running -> expired",
    "cancelling -> cancelled",
]

_ALLOWED = ", ".join(f"'{pair}'" for pair in TRANSITIONS)

#: Name of the trigger: (the change that it watches, when it refuses, what it says).
_TRIGGERS = {
    "jobs_change_as_allowed": (
        "UPDATE OF status ON jobs",
        f"NEW.status <> OLD.status AND OLD.status || ' -> ' || NEW.status NOT IN ({_ALLOWED})",
        "a job cannot change from this status to that one",
    ),
    "attempts_only_grow": (
        "UPDATE OF attempt ON jobs",
        "NEW.attempt < OLD.attempt",
        "the attempt of a job is its fencing token and never shrinks",
    ),
    "recommendations_stay": (
        "UPDATE ON recommendations",
        "1 = 1",
        "a published recommendation never changes",
    ),
}


def upgrade() -> None:
    if _is_postgresql():
        op.execute(
            "CREATE FUNCTION lrtuner_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE check_violation USING MESSAGE = TG_ARGV[0]; END'"
        )
    for name, (change, condition, message) in _TRIGGERS.items():
        refuse = (
            f"EXECUTE FUNCTION lrtuner_refuse('{message}')"
            if _is_postgresql()
            else f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {change} FOR EACH ROW WHEN ({condition}) {refuse}"
        )


def downgrade() -> None:
    for name, (change, _, _) in _TRIGGERS.items():
        table = change.rpartition(" ")[2]
        op.execute(
            f"DROP TRIGGER {name} ON {table}" if _is_postgresql() else f"DROP TRIGGER {name}"
        )
    if _is_postgresql():
        op.execute("DROP FUNCTION lrtuner_refuse()")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"
