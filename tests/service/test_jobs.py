import re
import secrets
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrtuner.job import JobSpec
from lrtuner.lifecycle import FINISHED, JobStatus
from lrtuner.store import queue
from lrtuner.store.tables import recommendations
from service.openapi import EXAMPLE_JOB, SMALLEST_JOB
from tests.searched import recommendation

TIMES = [
    "queued_at",
    "started_at",
    "cancelling_at",
    "cancelled_at",
    "succeeded_at",
    "failed_at",
    "expired_at",
]


@pytest.mark.parametrize("body", [SMALLEST_JOB, EXAMPLE_JOB], ids=["smallest", "every field"])
def test_submitted_job_is_answered_and_stored(client, store, body):
    answer = client.post_json(body)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert job["status"] == "queued"
    assert job["name"] == body.get("name")
    assert job["metadata"] == body.get("metadata", {})
    assert job["attempts"] == 0
    assert [name for name in TIMES if job[name]] == ["queued_at"]
    assert job["finished_at"] is job["progress"] is job["error"] is None
    stored = store.job(job["id"])
    assert JobSpec.model_validate(stored.spec) == JobSpec.model_validate(body)
    assert client.get(answer.headers["Location"]).json() == job


def test_times_are_utc_with_milliseconds(sqlite_client):
    job = sqlite_client.submit().json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["queued_at"])
    age = datetime.now(UTC) - datetime.fromisoformat(job["queued_at"])
    assert abs(age.total_seconds()) < 60


def test_baseline_survives_with_its_schema_reference(sqlite_client):
    baseline = {
        "$schema": "https://example.org/v1/schema/schedule-1.0.json",
        "total_steps": 380,
        "peak_lr": 0.1,
        "body": {"family": "constant"},
        "checksum_points": [[0, 0.1], [379, 0.1]],
    }
    job = sqlite_client.submit(baseline=baseline).json()
    assert job["spec"]["baseline"]["$schema"] == baseline["$schema"]
    assert JobSpec.model_validate(job["spec"]).baseline is not None


def test_damaged_baseline_is_refused(sqlite_client):
    baseline = {
        "total_steps": 380,
        "peak_lr": 0.1,
        "body": {"family": "constant"},
        "checksum_points": [[0, 0.2]],
    }
    answer = sqlite_client.submit(baseline=baseline)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_schedule"
    assert answer.json()["errors"][0]["pointer"] == "/baseline"


def test_job_is_answered_only_after_the_commit(sqlite_client, monkeypatch):
    def broken(connection, job_id):
        raise RuntimeError("between insert and commit")

    with monkeypatch.context() as patch:
        patch.setattr("service.routes.jobs.reading.get_job", broken)
        assert sqlite_client.submit().status_code == 500
    assert sqlite_client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.EXPIRED}))
def test_job_in_every_status(client, store, status):
    job_id, _ = store.job_in(status)
    answer = client.get(f"/v1/jobs/{job_id}")
    job = answer.json()
    assert job["status"] == status
    finished = status in FINISHED
    assert (job["finished_at"] is not None) == finished
    assert job["finished_at"] == (job[f"{status}_at"] if finished else None)
    assert ("Retry-After" in answer.headers) == (not finished)
    assert (job["error"] is not None) == (status is JobStatus.FAILED)


def test_failure_is_shown_as_a_problem(client, store):
    job_id = store.enqueue()
    store.do(queue.fail, store.claim(), error={"code": "nothing_trained", "message": "All lost."})
    assert client.get(f"/v1/jobs/{job_id}").json()["error"] == {
        "type": "/problems/nothing_trained",
        "title": "Every trial diverged or failed",
        "detail": "All lost.",
        "code": "nothing_trained",
    }


def test_unchanged_job_is_not_sent_again(client, store):
    job_id = store.enqueue()
    url = f"/v1/jobs/{job_id}"
    etag = client.get(url).headers["ETag"]
    again = client.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    store.claim()
    changed = client.get(url, headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["status"]) == (200, "running")


def test_unknown_job_is_404(client):
    for job_id in ["job_unknown", "job%00", "%ED%A0%80", "a" * 65, "ä", "a b", "'"]:
        for path in ("", "/events", "/trials", "/range-test", "/recommendation"):
            assert client.get(f"/v1/jobs/{job_id}{path}").status_code == 404
        assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 404


@pytest.mark.parametrize(
    ("before", "status_code", "after"),
    [
        ("queued", 202, "cancelled"),
        ("running", 202, "cancelling"),
        ("cancelling", 200, "cancelling"),
        ("cancelled", 200, "cancelled"),
        ("succeeded", 409, "succeeded"),
        ("failed", 409, "failed"),
    ],
)
def test_cancel(client, store, before, status_code, after):
    job_id, _ = store.job_in(JobStatus(before))
    answer = client.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == status_code
    if status_code == 409:
        assert answer.json()["code"] == "conflict"
        assert before in answer.json()["detail"]
    else:
        assert answer.json()["status"] == after
    assert store.job(job_id).status == after


def test_filters(client, store):
    running = store.enqueue(name="a", metadata={"team": "x", "k[0]": "1"})
    store.claim()
    queued = store.enqueue(name="b", metadata={"team": "x"})
    other = store.enqueue(name="a", metadata={"team": "y"})

    def found(query):
        return {job["id"] for job in client.get(f"/v1/jobs{query}").json()["items"]}

    assert found("") == {running, queued, other}
    assert found("?status=running") == {running}
    assert found("?status=running&status=queued") == {running, queued, other}
    assert found("?name=a") == {running, other}
    assert found("?metadata[team]=x") == {running, queued}
    assert found("?metadata[team]=x&name=b") == {queued}
    assert found("?metadata%5Bk%5B0%5D%5D=1") == {running}
    assert found("?metadata[team]=z") == set()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limt=1", "limt"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=1.5", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=", "limit"),
        ("status=done", "status"),
        ("name=", "name"),
        ("name=%00", "name"),
        ("metadata[a]=%00", "metadata[a]"),
        ("metadata[a]=1&metadata[a]=2", "metadata[a]"),
        ("metadata[]=1", "metadata[]"),
        ("metadata=1", "metadata"),
        ("metadata[a%00]=1", "metadata[a\x00]"),
        ("%ED%A0%80=1", "\ufffd\ufffd\ufffd"),
    ],
)
def test_bad_query_is_refused_with_the_parameter(sqlite_client, query, field):
    answer = sqlite_client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    [entry] = answer.json()["errors"]
    assert (entry["field"], entry["pointer"]) == (field, None)
    assert entry["message"].startswith(field)


def test_bad_cursor_is_400(client, store):
    job_id = store.enqueue()
    for cursor in ["", "-1", "1.0", "xx", "%00", "am9iczox=", "%ED%A0%80", "9" * 400, "2147483648"]:
        for path in ("", f"/{job_id}/events", f"/{job_id}/trials"):
            answer = client.get(f"/v1/jobs{path}?after={cursor}")
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pages=st.lists(st.tuples(st.integers(1, 7), st.integers(0, 2)), max_size=12))
def test_pages_show_every_job_once_while_others_arrive(client, store, pages):
    name = secrets.token_hex(8)  # the database is the same for every example
    expected = [store.enqueue(name=name) for _ in range(12)][::-1]
    seen, url = [], f"/v1/jobs?name={name}&limit=5"
    for limit, arriving in [*pages, *[(3, 1)] * 12]:
        answer = client.get(re.sub(r"limit=\d+", f"limit={limit}", url))
        page = answer.json()
        seen += [job["id"] for job in page["items"]]
        assert page["has_more"] == (page["next_after"] is not None) == ("Link" in answer.headers)
        for _ in range(arriving):
            store.enqueue(name=name)
        if not page["has_more"]:
            break
        assert len(page["items"]) == limit
        [url] = re.findall(r'^<(.+)>; rel="next"$', answer.headers["Link"])
        assert f"after={page['next_after']}" in url
    assert seen == expected


def test_the_link_keeps_the_filters(client, store):
    wanted = [store.enqueue(metadata={"a b": "x&y"}) for _ in range(3)]
    store.enqueue()
    url, seen = "/v1/jobs?limit=1&status=queued&metadata[a b]=x%26y", []
    while url:
        answer = client.get(url)
        seen += [job["id"] for job in answer.json()["items"]]
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert seen == wanted[::-1]


def test_links_start_with_the_public_url(start, sqlite_url):
    client = start(database_url=sqlite_url, public_url="https://lr.example.org/api/")
    answer = client.submit()
    job_id = answer.json()["id"]
    assert answer.headers["Location"] == f"https://lr.example.org/api/v1/jobs/{job_id}"
    assert set(answer.json()["links"]) == {
        "self",
        "events",
        "trials",
        "range_test",
        "recommendation",
        "report",
        "schedule_plot",
        "cancel",
    }


# What was found ---------------------------------------------------------------------------------


def finished(store, text, **job):
    """The id of a job that published `text`."""
    job_id = store.enqueue(**job)
    store.do(queue.succeed, store.claim(), recommendation=text)
    return job_id


def test_a_job_has_its_verdict_in_short_once_it_succeeded(client, store):
    config = recommendation()
    waiting = client.submit().json()
    assert waiting["verdict"] is None
    store.do(queue.cancel, waiting["id"])
    job_id = finished(store, config.text())
    verdict = client.get(f"/v1/jobs/{job_id}").json()["verdict"]
    assert verdict == {
        "status": "confirmed",
        "metric": "val_loss",
        "difference": -0.032,
        "ci95": [-0.03396, -0.03004],
        "pairs": 5,
        "peak_lr": 0.1,
        "family": "cosine",
        "title": "cosine, peak 0.1, 80 steps",
        "content_hash": config.provenance.content_hash,
    }


def test_one_query_tells_what_the_jobs_of_a_name_found(client, store):
    text = recommendation().text()
    names = ["a", "b", "a"]
    commits = [{"commit": f"c{i}"} for i in range(3)]
    ids = [
        finished(store, text, name=name, metadata=commit)
        for name, commit in zip(names, commits, strict=True)
    ]
    store.enqueue(name="a")
    items = client.get("/v1/jobs?name=a").json()["items"]
    found = [(job["metadata"].get("commit"), job["verdict"] and job["id"]) for job in items]
    assert found == [(None, None), ("c2", ids[2]), ("c0", ids[0])]
    [only] = client.get("/v1/jobs", params={"name": "a", "metadata[commit]": "c0"}).json()["items"]
    assert only["verdict"]["family"] == "cosine"


def change(store, job_id, **values):
    """Publish anew: what was published cannot be changed."""

    def write(connection):
        row = connection.execute(
            recommendations.delete()
            .where(recommendations.c.job_id == job_id)
            .returning(*recommendations.c)
        ).one()
        connection.execute(recommendations.insert().values({**row._mapping, **values}))

    store.do(write)


def test_what_was_published_before_there_were_headlines_is_read_from_the_document(client, store):
    ids = [finished(store, recommendation().text(), name="old") for _ in range(2)]
    told = client.get("/v1/jobs?name=old").json()
    change(store, ids[0], headline=None)
    assert client.get("/v1/jobs?name=old").json() == told
    assert all(job["verdict"] for job in told["items"])


def test_a_list_does_not_read_the_documents(client, store):
    # they may be long: a table of rates
    job_id = finished(store, recommendation().text())
    change(store, job_id, document="lost")
    assert client.get(f"/v1/jobs/{job_id}").json()["verdict"]["family"] == "cosine"


def test_a_recommendation_that_is_no_schedule_has_no_verdict(client, store):
    job_id = finished(store, "{}")
    assert client.get(f"/v1/jobs/{job_id}").json()["verdict"] is None
