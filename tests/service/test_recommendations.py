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


# Parts, and the latest --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=10-", slice(10, None)),
        ("bytes=-7", slice(-7, None)),
        ("Bytes=5-999999999", slice(5, None)),
        ("bytes=-999999999", slice(0, None)),
    ],
)
def test_a_part_of_the_file(client, url, published, wanted, part):
    content = published.encode()
    answer = client.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, content[part])
    first, last, _ = part.indices(len(content))
    assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(content)}"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    whole = client.get(url)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for name in ("ETag", "Repr-Digest", "Content-Disposition", "Cache-Control", "Content-Type"):
        assert answer.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "wanted", ["bytes=5-2", "bytes=0-1,4-5", "bytes=-", "items=0-9", "bytes=a-b", "bytes=", "x"]
)
def test_a_range_that_is_not_understood_is_ignored(client, url, published, wanted):
    answer = client.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, published.encode())


@pytest.mark.parametrize("wanted", ["bytes=999999-", "bytes=-0"])
def test_bytes_that_are_not_there(client, url, published, wanted):
    answer = client.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(published.encode())}"


def test_a_part_only_of_the_file_that_is_meant(client, url, published):
    etag = client.get(url).headers["ETag"]
    part = {"Range": "bytes=0-0"}
    assert client.get(url, headers=part | {"If-Range": etag}).status_code == 206
    for other in ('"other"', f"W/{etag}", "Sat, 01 Jan 2050 00:00:00 GMT"):
        answer = client.get(url, headers=part | {"If-Range": other})
        assert (answer.status_code, answer.content) == (200, published.encode())
    assert client.get(url, headers=part | {"If-None-Match": etag}).status_code == 304


def test_what_a_head_says(serve, store, database_url, published):
    client = serve(database_url=database_url)
    job_id = store.enqueue(name="n")
    store.do(queue.succeed, store.claim(), recommendation=published)
    for path in (f"/v1/jobs/{job_id}/recommendation", "/v1/recommendations/latest?name=n"):
        answer = client.request("HEAD", path, headers={"Range": "bytes=0-1"})
        assert (answer.status_code, answer.content) == (200, b"")
        own = ("Date", "X-Request-Id")
        expected = {k: v for k, v in client.get(path).headers.multi_items() if k.title() not in own}
        assert expected.items() <= dict(answer.headers).items()


def test_the_latest_is_that_of_the_newest_success(client, store, published):
    def succeeded(text, **labels):
        job_id = store.enqueue(**labels)
        store.do(queue.succeed, store.claim(), recommendation=text)
        return job_id

    succeeded("old", name="resnet-prod")
    newest = succeeded(published, name="resnet-prod", metadata={"branch": "main"})
    succeeded("other", name="resnet", metadata={"branch": "dev"})
    store.do(queue.fail, (store.enqueue(name="resnet-prod"), store.claim())[1], error={"code": "x"})
    store.enqueue(name="resnet-prod")
    for query in ("name=resnet-prod", "metadata[branch]=main", "name=resnet-prod&format=json"):
        answer = client.get(f"/v1/recommendations/latest?{query}")
        assert (answer.status_code, answer.content) == (200, published.encode())
        own = f"/v1/jobs/{newest}/recommendation?format=json"
        assert answer.headers["Content-Location"] == own
        assert "immutable" not in answer.headers["Cache-Control"]
        stays = client.get(own)
        assert stays.headers["ETag"] == answer.headers["ETag"]
        known = {"If-None-Match": answer.headers["ETag"]}
        again = client.get(f"/v1/recommendations/latest?{query}", headers=known)
        assert (again.status_code, again.headers["Content-Location"]) == (304, own)
    torch = client.get("/v1/recommendations/latest?name=resnet-prod&format=torch")
    assert torch.text == EXPORTERS["torch"].render(load(json.loads(published)))


def test_where_there_is_no_latest(client, store):
    store.enqueue(name="resnet")
    for query, told in (
        ("name=resnet", ['"resnet"']),
        ("name=a&metadata[k]=v", ['"a"', '"k" = "v"']),
    ):
        answer = client.get(f"/v1/recommendations/latest?{query}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert all(each in answer.json()["detail"] for each in told)


@pytest.mark.parametrize("query", ["", "format=yaml", "status=queued&name=a", "name=", "limit=1"])
def test_the_latest_of_what_has_to_be_said(client, query):
    answer = client.get(f"/v1/recommendations/latest?{query}")
    assert answer.status_code == 422
