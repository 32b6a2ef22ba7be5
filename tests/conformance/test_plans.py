"""That the frequent statements walk an index, on both databases, whatever is in the tables.

Read off the plans: with a thousand jobs, and on PostgreSQL with its statistics, no frequent
statement scans the table of jobs or labels, and none sorts all that it found.
"""

import contextlib
import re

import pytest
import sqlalchemy as sa

from benchmarks.api.databases import enqueue, fill
from lrtuner.lifecycle import JobStatus
from lrtuner.store import answers, open_database, queue, reading
from lrtuner.store.quotas import Quotas, admit
from lrtuner.store.turns import next_turn

JOBS = 3000

STATEMENTS = {
    "claim": lambda c: queue.claim(c, owner="w", lease_seconds=1.0),
    "turn": lambda c: next_turn(c, key_id="key-1", priority=100),
    "quotas": lambda c: admit(c, "key-1", Quotas(9999, 1, 9)),
    "get": lambda c: reading.get_job(c, "job_2654435761"),
    "whose": lambda c: reading.require_job(c, "job_2654435761", team="team-1"),
    "first page": lambda c: reading.list_jobs(c, limit=20),
    "team": lambda c: reading.list_jobs(c, limit=20, team="team-1"),
    "name": lambda c: reading.list_jobs(c, limit=20, name="model-1"),
    "name of a team": lambda c: reading.list_jobs(c, limit=20, name="model-1", team="team-1"),
    "status": lambda c: reading.list_jobs(c, limit=20, status=[JobStatus.FAILED]),
    "statuses of a team": lambda c: reading.list_jobs(
        c, limit=20, status=[JobStatus.RUNNING, JobStatus.SUCCEEDED], team="team-1"
    ),
    "label": lambda c: reading.list_jobs(c, limit=20, metadata={"branch": "main"}),
    "label of one": lambda c: reading.list_jobs(c, limit=20, metadata={"commit": "7"}),
    "labels": lambda c: reading.list_jobs(
        c, limit=20, metadata={"branch": "main", "commit": "7"}, team="team-1"
    ),
    "cursor": lambda c: reading.list_jobs(c, limit=20, after="am9iczo1MDA"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(request, tmp_path_factory):
    """The URL of a database with thousands of finished jobs, and some that wait."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("large") / "lrtuner.db"
        path.write_bytes(request.getfixturevalue("_sqlite_template").read_bytes())
        url = f"sqlite:///{path}"
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.get_uri(database=request.getfixturevalue("_migrated_databases")())
    fill(url, JOBS)
    enqueue(url, 1000)
    return url


def plans(url, work, without=None):
    """The statements of some work, each with its plan; nothing is changed."""
    found = []

    def explain(inner, _cursor, statement, parameters, _context, _many):
        if statement.startswith(("SELECT", "UPDATE")):
            how = "EXPLAIN QUERY PLAN " if inner.dialect.name == "sqlite" else "EXPLAIN "
            told = inner.connection.cursor()
            told.execute(how + statement, parameters)
            found.append((statement, "\n".join(str(row[-1]) for row in told.fetchall())))

    with contextlib.closing(open_database(url)) as database, database.writing() as connection:
        if without:
            connection.exec_driver_sql(f"DROP INDEX {without}")
        sa.event.listen(connection, "before_cursor_execute", explain)
        work(connection)
        connection.get_transaction().rollback()
    return found


def walks(name, plan):
    """Whether a plan looks at what it needs, and little more."""
    if name == "first page":  # SQLite: in the order of the primary key, until there are enough
        plan = plan.replace("SCAN jobs\n", "")
    scanned = re.findall(r"(?:SCAN|Seq Scan on) (?:jobs|waiting|label\d|job_metadata)\b.*", plan)
    in_order = "USING INDEX ix_jobs_priority_turn_seq"
    is_sorted = "TEMP B-TREE FOR ORDER BY" in plan and "anon_1" not in plan
    large = [rows for rows in re.findall(r"Sort .*rows=(\d+)", plan) if int(rows) > 100]
    return not (is_sorted or large or [scan for scan in scanned if in_order not in scan])


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_index_is_walked(large, name):
    found = plans(large, STATEMENTS[name])
    assert found
    for statement, plan in found:
        assert walks(name, plan), f"{statement}\n{plan}"


@pytest.mark.parametrize("team", [None, "team-1"])
def test_an_answer_is_looked_for_among_those_who_asked(large, team):
    if not large.startswith("sqlite"):
        pytest.skip("it knows how few there are")
    [(_statement, plan)] = plans(large, lambda c: answers.find(c, "q", team=team))
    assert "ix_questions_question" in plan
    assert not re.search("ix_jobs_|Seq Scan on jobs|SCAN jobs", plan), plan


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("claim", "ix_jobs_priority_turn_seq"),
        ("turn", "ix_jobs_priority_turn"),
        ("name", "ix_jobs_name_seq"),
        ("label", "ix_job_metadata_key_value_job_seq"),
    ],
)
def test_a_missing_index_would_be_found(large, name, index):
    """The control of the test above. (PostgreSQL finds other ways through so small a table.)"""
    if name in ("claim", "name") and not large.startswith("sqlite"):
        pytest.skip("it knows that there are few rows to sort")
    found = plans(large, STATEMENTS[name], without=index)
    assert not all(walks(name, plan) for _statement, plan in found), found
