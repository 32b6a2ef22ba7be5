"""A worker that lost its job can change nothing, on every database."""

import importlib
import inspect
import pkgutil
import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

import lrtuner.store
import worker
from lrtuner.errors import LeaseLostError
from lrtuner.lifecycle import JobStatus, Stage, TrialState
from lrtuner.store import queue, reading, transitions
from lrtuner.store.tables import jobs, metadata, trials

TRIAL = {"number": 0, "phase": "search", "document": {}}
FINISHED = {"number": 0, "state": TrialState.COMPLETE, "value": 1.0, "cost": 1.0, "document": {}}

#: Every write that a worker can try, by name: (verb, its arguments).
WRITES = {
    "fence": (queue.fence, {}),
    "add_event": (queue.add_event, {"kind": "k", "phase": None, "message": "", "data": {}}),
    "start_trial": (queue.start_trial, TRIAL),
    "finish_trial": (queue.finish_trial, FINISHED),
    "finish_stage": (queue.finish_stage, {"stage": Stage.SEARCH, "result": {}}),
    "set_progress": (queue.set_progress, {"progress": {}}),
    "succeed": (queue.succeed, {"recommendation": "{}"}),
    "fail": (queue.fail, {"error": {}}),
    "retry": (queue.retry, {"error": {}, "delay_seconds": 0.0}),
    "release": (queue.release, {}),
}
VERBS = WRITES | {
    "heartbeat": (queue.heartbeat, {"lease_seconds": 60.0}),
    "confirm_cancelled": (queue.confirm_cancelled, {}),
}


def contents(store):
    """Every row of every table."""

    def dump(connection):
        tables = metadata.sorted_tables
        return {
            table.name: connection.execute(sa.select(table).order_by(*table.primary_key)).all()
            for table in tables
        }

    return store.read(dump)


def taken_over(store, claim):
    store.expire_lease(claim.job_id)
    assert store.claim(owner="other").attempt == claim.attempt + 1


def taken_over_and_cancelling(store, claim):
    taken_over(store, claim)
    store.do(queue.cancel, claim.job_id)


def handed_back(store, claim):
    store.do(queue.release, claim)


def retried(store, claim):
    store.do(queue.retry, claim, error={}, delay_seconds=0.0)


def reaped(store, claim):
    mine = jobs.update().where(jobs.c.id == claim.job_id)
    store.do(lambda connection: connection.execute(mine.values(max_attempts=1)))
    store.expire_lease(claim.job_id)
    assert store.do(queue.reap) == [claim.job_id]


def cancelled(store, claim):
    store.do(queue.cancel, claim.job_id)
    store.do(queue.confirm_cancelled, claim)


def succeeded(store, claim):
    store.do(queue.succeed, claim, recommendation="{}")


def cancelling(store, claim):
    store.do(queue.cancel, claim.job_id)


LOSSES = [taken_over, taken_over_and_cancelling, handed_back, retried, reaped, cancelled, succeeded]


def takes_a_claim(function):
    hints = getattr(function, "__annotations__", {})
    return any("Claim" in str(hint) for name, hint in hints.items() if name != "return")


def test_every_verb_of_a_worker_is_listed():
    """Whatever public function of the store takes a claim is a way for a worker to write."""
    found = set()
    for module in pkgutil.iter_modules(lrtuner.store.__path__):
        loaded = importlib.import_module(f"lrtuner.store.{module.name}")
        found |= {
            name
            for name, function in inspect.getmembers(loaded, inspect.isfunction)
            if takes_a_claim(function) and not name.startswith("_")
        }
    behind_the_verbs = {"fenced_update", "renew", "move", "lease_lost"}
    assert found - behind_the_verbs == set(VERBS)
    assert set(VERBS) <= set(queue.__all__)


def test_a_worker_writes_by_these_verbs_alone():
    sources = Path(worker.__file__).parent.rglob("*.py")
    text = "\n".join(source.read_text() for source in sources)
    named = set(re.findall(r"\bqueue\.([a-z_]+)", text))
    assert named <= set(VERBS) | {"claim", "reap"}
    imported = re.findall(r"^\s*from lrtuner\.store(\S*) import (.+)$", text, re.MULTILINE)
    allowed = {"Claim", "Database", "open_database", "queue", "reading", "is_migrated"}
    assert {name.strip() for _, names in imported for name in names.split(",")} <= allowed
    assert "import lrtuner.store" not in text


def claim_with_a_trial(store):
    """A claim under which every verb has something to do."""
    store.enqueue()
    claim = store.claim()
    store.do(queue.start_trial, claim, **TRIAL)
    return claim


@pytest.mark.parametrize("name", VERBS)
def test_a_zombie_writes_nothing(store, name):
    verb, arguments = VERBS[name]
    # The worker of a cancelling job may do nothing but heartbeat and confirm.
    for lose in [*LOSSES, cancelling] if name in WRITES else LOSSES:
        claim = claim_with_a_trial(store)
        lose(store, claim)
        before = contents(store)
        with pytest.raises(LeaseLostError, match=claim.job_id):
            store.do(verb, claim, **arguments)
        assert contents(store) == before, lose.__name__
        store.do(end_all)


#: Where a zombie leaves its mark when nothing fences it: the tables that its write changes.
STALE = {
    "fence": {"jobs"},
    "heartbeat": {"jobs"},
    "set_progress": {"jobs"},
    "add_event": {"jobs", "events"},
    "start_trial": {"jobs", "trials"},
    "finish_trial": {"jobs", "trials"},
    "finish_stage": {"jobs", "stages"},
    "succeed": {"jobs", "events", "trials", "recommendations"},
    "fail": {"jobs", "events", "trials"},
    "retry": {"jobs", "events"},
    "release": {"jobs", "events"},
    "confirm_cancelled": {"jobs", "events", "trials"},
}


@pytest.mark.parametrize("name", VERBS)
def test_without_the_fence_the_zombie_writes(store, name, monkeypatch):
    """The control: the attempt in the UPDATE, and nothing else, is what refuses its write."""
    verb, arguments = VERBS[name]
    claim = claim_with_a_trial(store)
    if name == "confirm_cancelled":
        taken_over_and_cancelling(store, claim)
    else:
        taken_over(store, claim)
    before = contents(store)
    monkeypatch.setattr(transitions, "_held", lambda claim: [jobs.c.id == claim.job_id])
    store.do(verb, claim, **arguments)
    after = contents(store)
    assert {table for table in after if after[table] != before[table]} == STALE[name]
    if name == "succeed":
        [published] = after["recommendations"]
        assert (published.attempt, store.job(claim.job_id).attempts) == (1, 2)


def test_each_write_works_for_the_owner(store):
    """The control: the refusals come from the lost lease and from nothing else."""
    for verb, arguments in WRITES.values():
        claim = claim_with_a_trial(store)
        before = contents(store)
        store.do(verb, claim, **arguments)
        assert contents(store) != before
        store.do(end_all)


def end_all(connection):
    connection.execute(jobs.delete())


# --- the race: a take-over between check and write ----------------------------------------------


def race(database, store, write):
    """A zombie reads that it owns the job; the job is taken over; the zombie writes."""
    job_id = store.enqueue()
    zombie = store.claim(owner="zombie", lease_seconds=-1)
    with database.writing() as connection:
        attempt = connection.scalar(sa.select(jobs.c.attempt).where(jobs.c.id == job_id))
        assert attempt == zombie.attempt
        assert store.claim(owner="other").attempt == 2
        write(connection, zombie)


def unfenced(connection, claim):
    row = {"job_id": claim.job_id, "attempt": claim.attempt, "state": "running", "started_at": 0.0}
    connection.execute(trials.insert().values(row | TRIAL))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_take_over_between_check_and_write_is_refused(database, store):
    with pytest.raises(LeaseLostError):
        race(
            database, store, lambda connection, claim: queue.start_trial(connection, claim, **TRIAL)
        )
    assert contents(store)["trials"] == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_race_is_real(database, store):
    """The control: without the fence the very same sequence stores the row of a dead attempt."""
    race(database, store, unfenced)
    (trial,) = contents(store)["trials"]
    assert (trial.attempt, store.job(trial.job_id).attempts) == (1, 2)


def test_nobody_takes_over_while_the_owner_writes(database, store):
    """Also after the lease: on SQLite others wait, on PostgreSQL they pass over the locked row."""
    job_id = store.enqueue()
    owner = store.claim(lease_seconds=-1)
    with database.writing() as connection:
        queue.fence(connection, owner)
        if connection.dialect.name == "sqlite":
            other = sqlite3.connect(database.url.database, timeout=0, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()
        else:
            assert store.claim() is None
        queue.start_trial(connection, owner, **TRIAL)
    assert len(store.read(reading.list_trials, job_id, after=-1, limit=10)) == 1
    assert store.claim().attempt == 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_reaper_passes_over_a_job_whose_worker_writes(database, store):
    job_id = store.enqueue(max_attempts=1)
    owner = store.claim(lease_seconds=-1)
    with database.writing() as connection:
        queue.fence(connection, owner)
        assert store.do(queue.reap) == []
    assert store.do(queue.reap) == [job_id]


def test_a_cancel_that_waits_for_the_worker_acts_on_what_it_left(database, store):
    """The job is handed back while the cancel waits: it is then cancelled, not `cancelling`."""
    job_id = store.enqueue()
    claim = store.claim()
    with ThreadPoolExecutor(1) as pool:
        with database.writing() as connection:
            queue.release(connection, claim)
            answer = pool.submit(store.do, queue.cancel, job_id)
            wait_for_a_waiting_writer(database)
        assert answer.result(timeout=30) is JobStatus.CANCELLED
    assert store.job(job_id).status is JobStatus.CANCELLED


def wait_for_a_waiting_writer(database):
    if database.url.get_backend_name() == "sqlite":
        return  # cannot be seen from outside, and does not matter: nothing is read before the lock
    query = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 20
    while True:
        with database.reading() as connection:
            if connection.scalar(query):
                return
        assert time.monotonic() < deadline
