"""How it is kept: the only code that speaks SQL.

    engine       which databases there are, and how to open one
    tables       what is kept
    queue        the verbs that change a job: enqueue, claim, heartbeat, succeed, cancel, reap...
    turns        whose job is next
    quotas       how much one key may ask for
    reading      the queries behind the API
    uploads      what was uploaded: datasets and code
    deliveries   messages to webhooks: an outbox, and what became of each
    keys         who may use the service
    idempotency  requests that are sent again
    answers      questions that were answered before
    retention    evidence that is kept no longer
    level        what schema a database has
    migrate      bring a database to this version's schema
    doctor       what is wrong with it, if anything is

Behind `queue` stand `transitions` (the guarded update every verb is made of), `attempt` (what a
worker does to its job) and `records` (what it writes down: trials, stages, events).

Transactions belong to the caller:

    database = open_database("sqlite:///jobs.db")
    with database.writing() as connection:
        claim = queue.claim(connection, owner=owner, lease_seconds=30.0)
"""

from lrtuner.store.engine import Database, open_database
from lrtuner.store.reading import EventRow, JobRow, JobState, Page, TrialRow
from lrtuner.store.transitions import Claim

__all__ = [
    "Claim",
    "Database",
    "EventRow",
    "JobRow",
    "JobState",
    "Page",
    "TrialRow",
    "open_database",
]
