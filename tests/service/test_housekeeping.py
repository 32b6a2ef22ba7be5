"""Deadlines, priorities and retention as clients see them."""

import asyncio

import pytest

from lrtuner.lifecycle import JobStatus, Stage
from lrtuner.store import queue
from service import housekeeping
from service.settings import Settings
from tests.conformance.test_deadlines import age, move_deadline


def test_jobs_of_a_higher_priority_run_first_and_equal_ones_in_order(client, store):
    order = ["low", "normal", "high", "normal", "high"]
    ids = [client.submit(priority=p, name=str(i)).json()["id"] for i, p in enumerate(order)]
    claimed = [store.claim().job_id for _ in order]
    assert [ids.index(job_id) for job_id in claimed] == [2, 4, 1, 3, 0]


def test_a_deadline_is_shown_and_kept_by_the_api_alone(client, store):
    job = client.submit(deadline_minutes=5).json()
    assert job["deadline_at"] > job["queued_at"]
    move_deadline(store, job["id"], -1)
    housekeeping.tidy_up(store.database, None)
    job = client.get(job["links"]["self"]).json()
    assert (job["status"], job["error"]["code"]) == ("expired", "expired")
    assert job["finished_at"] == job["expired_at"] is not None


@pytest.mark.parametrize("value", [0, -1, 1e9])
def test_a_deadline_that_cannot_be_is_refused(client, value):
    [entry] = client.submit(deadline_minutes=value).json()["errors"]
    assert entry["field"] == "deadline_minutes"


def test_what_was_removed_is_gone_and_the_config_is_not(client, store, published, leave):
    job_id = client.submit().json()["id"]
    claim = store.claim()
    leave(claim)
    store.do(queue.succeed, claim, recommendation=published)
    own = f"/v1/jobs/{job_id}"
    gone = ["trials", "range-test", "report.html", "report.json", "plots/trials.svg"]
    assert 410 not in {client.get(f"{own}/{name}").status_code for name in gone}
    age(store, job_id, 2 * 86_400)
    housekeeping.tidy_up(store.database, 1.0)
    for name in gone:
        answer = client.get(f"{own}/{name}")
        assert answer.status_code == 410
        assert answer.json()["code"] == "pruned"
    assert client.get(f"{own}/recommendation").status_code == 200
    assert client.get(f"{own}/events").json()["items"]
    assert client.get(own).json()["evidence_pruned_at"] is not None


def test_housekeeping_goes_on_after_an_error(store, monkeypatch):
    done = []

    def fails_at_first(database, days):
        done.append(days)
        if len(done) == 1:
            raise RuntimeError

    monkeypatch.setattr(housekeeping, "tidy_up", fails_at_first)

    async def until_twice():
        house = asyncio.create_task(
            housekeeping.keep_house(store.database, Settings(retention_days=7), pause=0.0)
        )
        while len(done) < 2:
            await asyncio.sleep(0)
        house.cancel()
        with pytest.raises(asyncio.CancelledError):
            await house

    asyncio.run(asyncio.wait_for(until_twice(), 30))
    assert done[:2] == [7, 7]


def test_a_job_that_runs_out_of_time_is_told_so(client, store):
    job_id = client.submit(deadline_minutes=5).json()["id"]
    claim = store.claim()
    store.do(queue.finish_stage, claim, stage=Stage.RANGE_TEST, result={"lrs": []})
    move_deadline(store, job_id, -1)
    housekeeping.tidy_up(store.database, None)
    assert store.job(job_id).status is JobStatus.EXPIRED
    assert client.get(f"/v1/jobs/{job_id}/range-test").status_code == 200  # is kept
    answer = client.get(f"/v1/jobs/{job_id}/recommendation")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
