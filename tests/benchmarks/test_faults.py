"""Jobs under random kills end as if nothing had happened; and the search for faults finds them."""

import os
import subprocess
import sys
from unittest.mock import Mock

import pytest
import sqlalchemy as sa

from benchmarks.faults import findings, processes, running
from benchmarks.faults.__main__ import main
from benchmarks.faults.injecting import DECK, DECK_OF_NODES
from benchmarks.faults.running import GUARDS, Outcome, Plan, run, told
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.store import queue
from lrtuner.store.tables import events, recommendations, trials
from tests.conformance.test_transitions import without_triggers
from tests.conftest import POSTGRESQL_IS_SLOW

KILLS = 10


@POSTGRESQL_IS_SLOW
def test_under_kills_and_stops_nothing_is_lost_and_every_answer_is_the_same(database_url, tmp_path):
    messages = []
    plan = Plan(KILLS, workers=2, pause=2.0, jobs=("short, sgd", "short, adamw"))
    outcome = run(plan, database_url, tmp_path, messages.append)
    assert outcome.faultless, told(outcome)
    assert not outcome.untested, told(outcome)
    directed = [text for text in messages if text.startswith("for ")]  # where chance spared a guard
    assert sum(outcome.faults.values()) == KILLS + len(directed)
    assert len(messages) == 1 + sum(outcome.faults.values())
    assert outcome.recovery


# --- the controls: what is wrong is found -------------------------------------------------------

DOCUMENT = '{"provenance": {"job_id": "%s", "created_at": "2026-01-01T00:00:00Z"}}'


@pytest.fixture
def ended(store):
    """A job that two attempts brought to its end."""
    job_id = store.enqueue(name="a")
    first = store.claim()
    store.do(queue.start_trial, first, number=0, phase="search", document={})
    finish = {"number": 0, "state": TrialState.COMPLETE, "value": 1.0, "cost": 1.0, "document": {}}
    store.do(queue.finish_trial, first, **finish)
    tell = {"kind": "trial.finished", "phase": "search", "message": "", "data": {"number": 0}}
    store.do(queue.add_event, first, **tell)
    store.expire_lease(job_id)
    second = store.claim()
    store.do(queue.finish_stage, second, stage=Stage.SEARCH, result={})
    store.do(queue.succeed, second, recommendation=DOCUMENT % job_id)
    return job_id


def kept(store):
    [job] = findings.read(store.database)
    return job


def test_a_job_that_two_attempts_ended_is_in_order(store, ended):
    job = kept(store)
    assert (job.stale_writes(), job.publications(), job.attempt) == ([], 1, 2)
    assert (job.name, job.status) == ("a", "succeeded")
    assert job.text == DOCUMENT.replace("2026-01-01T00:00:00Z", "TIME") % "ID"
    assert findings.unfinished(store.database) == 0
    assert findings.held(store.database) == {}


STALE = {
    "a trial of a dead attempt": sa.update(trials).values(finished_at=trials.c.finished_at + 1e3),
    "a trial of an attempt to come": sa.update(trials).values(attempt=2),
    "a trial of no attempt": sa.update(trials).values(attempt=9),
    "an event twice": sa.update(events)
    .where(events.c.seq == 4)
    .values(kind="trial.finished", data={"number": 0}),
    "an event of another attempt": sa.update(events)
    .where(events.c.seq == 5)
    .values(data={"attempt": 1}),
    "a hole in the events": sa.delete(events).where(events.c.seq == 3),
    "an attempt that never began": sa.delete(events).where(events.c.kind == "job.rescued"),
}


@pytest.mark.parametrize("name", STALE)
def test_a_row_that_does_not_fit_is_found(store, ended, name):
    store.do(lambda connection: connection.execute(STALE[name]))
    assert kept(store).stale_writes() != []


def test_an_event_after_the_end_and_a_second_publication_are_found(store, ended):
    row = {"job_id": ended, "at": 9e9, "kind": "job.succeeded", "message": "", "data": {}}
    store.do(lambda c: c.execute(events.insert().values(seq=6, **row)))
    assert kept(store).publications() == 2
    assert any("after the end" in text for text in kept(store).stale_writes())


def test_a_recommendation_of_a_dead_attempt_is_found(store, ended):
    store.do(without_triggers)  # nothing else lets it be changed
    store.do(lambda c: c.execute(recommendations.update().values(attempt=1)))
    assert any("recommendation" in text for text in kept(store).stale_writes())


def test_what_carries_the_mark_is_found_and_ended(tmp_path):
    fleet = processes.Fleet.__new__(processes.Fleet)
    fleet.mark = "LRTUNER_FAULTS_MARK=0123456789abcdef"
    command = [sys.executable, "-c", "print(1, flush=True); input()"]
    marked = os.environ | dict([fleet.mark.split("=")])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(command, env=marked, **pipes) as orphan,
        subprocess.Popen(command, **pipes) as stranger,
    ):
        for process in (orphan, stranger):
            process.stdout.readline()
        assert fleet.marked() == {orphan.pid}
        assert fleet.orphans(patience=0.0) == {orphan.pid}
        assert orphan.wait(10) == -9
        assert fleet.orphans(patience=0.0) == set()
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_any_finding_counts_and_so_does_a_guard_that_never_acted():
    nothing = {"lost": [], "published_twice": [], "stale_writes": [], "orphans": []}
    nothing |= {"different": [], "bad_ends": []}
    rest = {"guards": {"rescued": 1}, "faults": {"kill worker": 3}}
    rest |= {"jobs": 1, "attempts": 2, "seconds": 1.0, "recovery": [1.0, 3.0, 2.0]}
    good = Outcome(**nothing, **rest)
    assert good.faultless
    assert good.untested == []
    assert (good.at(0.5), good.at(0.95)) == (2.0, 3.0)
    assert "2.00 leases (median), 3.00 (95 %), 3 times" in told(good)
    for name in nothing:
        assert not Outcome(**nothing | {name: [1]}, **rest).faultless
    assert Outcome(**nothing, **rest | {"guards": {"rescued": 0}}).untested == ["rescued"]


def test_a_guard_that_chance_has_spared_gets_its_fault_until_it_acts(monkeypatch):
    acted = dict.fromkeys(GUARDS, 1) | {"lease refusals": 0}
    asked, messages = [], []

    def inject_one(kind):
        asked.append(kind)
        acted["lease refusals"] = int(len(asked) == 2)

    injector = Mock(inject_one=inject_one)
    monkeypatch.setattr(running, "_SECONDS_TO_ACT", 0.0)
    monkeypatch.setattr(running, "_guards", lambda *_: acted)
    monkeypatch.setattr(running.findings, "read", lambda _database: [])
    running._spare_no_guard(injector, messages.append)
    assert asked == ["stop worker", "stop worker"]
    assert messages == ["for lease refusals: stop worker"] * 2


def test_every_guard_has_a_fault_that_is_dealt():
    assert set(GUARDS.values()) <= set(DECK) & set(DECK_OF_NODES)
    assert sum(DECK.values()) == sum(DECK_OF_NODES.values()) == KILLS


@pytest.mark.parametrize(
    "arguments", [["--runner", "ray"], ["--kills", "0"], ["--database", "mysql"]]
)
def test_what_cannot_be_run_is_said(arguments, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.faults.__main__._has_ray", lambda: False)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
