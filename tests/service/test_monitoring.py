"""What Prometheus reads of the API."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import jobs


def scraped(client):
    """Each sample's value by its name and labels, as Prometheus would read them."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_jobs_are_counted_by_status(client, store):
    found = scraped(client)
    assert {status: found["lrtuner_jobs", status] for status in JobStatus} == dict.fromkeys(
        JobStatus, 0
    )
    assert found["lrtuner_queue_age_seconds",] == 0
    for _ in range(3):
        client.submit()
    store.claim()
    found = scraped(client)
    assert found["lrtuner_jobs", "queued"] == 2
    assert found["lrtuner_jobs", "running"] == 1
    assert found["lrtuner_database_up",] == 1


def test_the_age_of_the_queue_is_that_of_its_oldest_job_that_could_run(client, store):
    old, new = (client.submit().json()["id"] for _ in range(2))
    older = jobs.update().where(jobs.c.id == old).values(queued_at=DatabaseClock() - 500)
    store.do(lambda connection: connection.execute(older))
    assert scraped(client)["lrtuner_queue_age_seconds",] == pytest.approx(500, abs=60)
    claim = store.claim()
    assert claim.job_id == old
    store.do(queue.retry, claim, error={}, delay_seconds=-20.0)  # ready for 20 seconds
    assert scraped(client)["lrtuner_queue_age_seconds",] == pytest.approx(20, abs=15)
    store.do(queue.cancel, old)
    assert scraped(client)["lrtuner_queue_age_seconds",] < 15
    assert new


def test_requests_are_counted_by_route_and_never_by_what_is_in_it(sqlite_client):
    sqlite_client.get("/v1/jobs/job_1", documented=False)
    sqlite_client.get("/v1/jobs/job_2", documented=False)
    sqlite_client.get("/nothing/there", documented=False)
    found = scraped(sqlite_client)
    assert found["lrtuner_http_requests_total", "GET", "/v1/jobs/{job_id}", "404"] == 2
    assert found["lrtuner_http_requests_total", "any", "unmatched", "404"] == 1
    assert found["lrtuner_http_request_seconds_count", "GET", "/v1/jobs/{job_id}"] == 2
    assert not any("job_1" in part for sample in found for part in sample)


def test_two_apps_in_one_process_count_for_themselves(start):
    first, second = start(), start()
    first.get("/healthz")
    assert ("lrtuner_http_requests_total", "GET", "/healthz", "200") not in scraped(second)
    assert ("lrtuner_http_requests_total", "GET", "/healthz", "200") in scraped(first)


def test_a_database_that_is_not_migrated_is_told_and_the_rest_is_there(start, tmp_path):
    found = scraped(start(database_url=f"sqlite:///{tmp_path / 'empty.db'}"))
    assert found["lrtuner_database_up",] == 0
    assert not any(name == "lrtuner_jobs" for name, *_ in found)
