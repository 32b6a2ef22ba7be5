import base64
import hashlib
import json

import pytest

from lrtuner.document import load
from lrtuner.export import EXPORTERS
from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue


@pytest.fixture
def url(store, published):
    """Where to download the recommendation of a job that has one."""
    job_id = store.enqueue()
    store.do(queue.succeed, store.claim(), recommendation=published)
    return f"/v1/jobs/{job_id}/recommendation"


def test_json_is_the_published_text_byte_by_byte(client, url, published):
    for answer in (client.get(url), client.get(f"{url}?format=json")):
        assert answer.content == published.encode()
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="schedule.json"'
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_is_rendered(client, url, published, name):
    answer = client.get(f"{url}?format={name}")
    exporter = EXPORTERS[name]
    expected = published if name == "json" else exporter.render(load(json.loads(published)))
    assert answer.text == expected
    assert answer.headers["Content-Type"].partition(";")[0] == exporter.media_type
    assert f'filename="{exporter.filename}"' in answer.headers["Content-Disposition"]


@pytest.mark.parametrize("name", EXPORTERS)
def test_validators(client, url, name):
    answer = client.get(f"{url}?format={name}")
    checksum = hashlib.sha256(answer.content)
    etag = answer.headers["ETag"]
    assert etag == f'"{checksum.hexdigest()}"'
    digest = base64.b64encode(checksum.digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = client.get(f"{url}?format={name}", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
        assert again.headers["Cache-Control"] == answer.headers["Cache-Control"]
        assert "Content-Disposition" not in again.headers
    for unknown in ('"other"', "", etag.strip('"')):
        again = client.get(f"{url}?format={name}", headers={"If-None-Match": unknown})
        assert (again.status_code, again.content) == (200, answer.content)


@pytest.mark.parametrize(
    "status", sorted(set(JobStatus) - {JobStatus.SUCCEEDED, JobStatus.EXPIRED})
)
def test_without_a_recommendation(client, store, status):
    job_id, _ = store.job_in(status)
    answer = client.get(f"/v1/jobs/{job_id}/recommendation")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert status in answer.json()["detail"]
    assert ("Retry-After" in answer.headers) == (not status.is_finished)


@pytest.mark.parametrize("name", ["yml", "JSON", "", "%00", "tensorflow"])
def test_unknown_format_names_those_there_are(client, url, name):
    answer = client.get(f"{url}?format={name}")
    assert answer.status_code == 422
    [entry] = answer.json()["errors"]
    assert entry["field"] == "format"
    assert all(known in entry["message"] for known in EXPORTERS)


def test_schedule_too_long_for_a_table(client, store):
    job_id = store.enqueue()
    long = {"total_steps": 10**9, "peak_lr": 0.1, "body": {"family": "constant"}}
    text = load(long).text()
    store.do(queue.succeed, store.claim(), recommendation=text)
    answer = client.get(f"/v1/jobs/{job_id}/recommendation?format=csv")
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")
    assert "2000000" in answer.json()["detail"]


def test_a_broken_recommendation_is_not_the_callers_fault(client, store):
    job_id = store.enqueue()
    store.do(queue.succeed, store.claim(), recommendation="{}")
    answer = client.get(f"/v1/jobs/{job_id}/recommendation?format=torch")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
