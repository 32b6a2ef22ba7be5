"""The report over HTTP: of every job that has begun, whole or with what there is."""

import hashlib
import json

import pytest

from lrtuner.lifecycle import JobStatus
from lrtuner.report import Report
from lrtuner.store import queue
from service.routes.plots import PLOTS
from tests.lrtuner.report.reading import Page
from tests.searched import recommendation, spec, trial, trials

FORMS = {"html": "text/html; charset=utf-8", "json": "application/json"}


def enqueued(store, **changes):
    changes = {"name": "a job <b>", "metadata": {"k": "<i>"}} | changes
    asked = spec(search={"compare": ["schedule_free", "prodigy"]}, **changes)
    fields = {"name": asked.name, "metadata": asked.metadata}
    return store.enqueue(spec=asked.model_dump(mode="json"), **fields)


@pytest.fixture
def job_id(store, leave):
    """A job that went the whole way."""
    job_id = enqueued(store)
    claim = store.claim()
    leave(claim)
    store.do(queue.succeed, claim, recommendation=recommendation().text())
    return job_id


def test_the_page_and_the_data_are_one_report(client, job_id):
    data = client.get(f"/v1/jobs/{job_id}/report.json").json()
    report = Report.model_validate(data)
    assert report.missing == {}
    page = Page(client.get(f"/v1/jobs/{job_id}/report.html").text)
    assert page.root.all("h1")[0].text == report.job.name == "a job <b>"
    values = [[run.number, run.value] for run in report.runs]
    assert [[row[0], row[8]] for row in page.rows("runs-table")] == values
    assert len(values) == len(trials())
    assert page.id("verdict").numbers[0] == report.answer.verdict.difference


def test_every_plot_of_the_job_is_in_the_page(client, job_id):
    page = Page(client.get(f"/v1/jobs/{job_id}/report.html").text)
    links = [a.get("href") for figure in page.root.all("figure") for a in figure.all("a")]
    assert sorted(links) == sorted(f"/v1/jobs/{job_id}/plots/{name}.svg" for name in PLOTS)
    told = {svg.all("title")[0].text for svg in page.root.all("svg") if svg.get("role")}
    for name in PLOTS:
        picture = client.get(f"/v1/jobs/{job_id}/plots/{name}.svg").text
        assert picture.partition("<title>")[2].partition("</title>")[0] in told


@pytest.mark.parametrize("form", FORMS)
def test_it_has_validators(client, job_id, form):
    url = f"/v1/jobs/{job_id}/report.{form}"
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == FORMS[form]
    etag = answer.headers["ETag"]
    assert etag == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["Cache-Control"] == "private, no-cache"
    again = client.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_page_may_fetch_and_run_nothing(client, job_id):
    policy = client.get(f"/v1/jobs/{job_id}/report.html").headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ["job_none", "no such"])
def test_an_unknown_job(client, path, form):
    assert client.get(f"/v1/jobs/{path}/report.{form}").status_code == 404


@pytest.mark.parametrize("form", FORMS)
def test_a_job_that_nobody_has_begun(client, store, form):
    answer = client.get(f"/v1/jobs/{enqueued(store)}/report.{form}")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert "Retry-After" in answer.headers


def test_a_running_job_shows_what_there_is_so_far(client, store, leave):
    job_id = enqueued(store)
    claim = store.claim()
    url = f"/v1/jobs/{job_id}/report.json"
    first = client.get(url)
    assert first.json()["missing"]["runs"] == "There is no run yet: the job is running."
    leave(claim, [trial(0), trial(1, value=None, state="running", cost=0.0, curve=None)])
    second = client.get(url)
    assert [run["state"] for run in second.json()["runs"]] == ["complete", "running"]
    assert "range_test" not in second.json()["missing"]
    assert second.headers["ETag"] != first.headers["ETag"]
    assert client.get(url.replace("json", "html")).status_code == 200


@pytest.mark.parametrize("status", [JobStatus.CANCELLED, JobStatus.FAILED])
def test_a_job_that_ended_early_says_why(client, store, leave, status):
    job_id = enqueued(store)
    claim = store.claim()
    leave(claim, [trial(0), trial(1, value=None, state="running", cost=0.0, curve=None)])
    if status is JobStatus.CANCELLED:
        store.do(queue.cancel, job_id)
        store.do(queue.confirm_cancelled, claim)
    else:
        error = {"code": "nothing_trained", "message": "none of 1 runs trained to its end"}
        store.do(queue.fail, claim, error=error)
    report = client.get(f"/v1/jobs/{job_id}/report.json").json()
    assert report["job"]["status"] == status
    assert report["job"]["finished_at"]
    assert ("none of 1 runs" in report["state"]) == (status is JobStatus.FAILED)
    assert report["missing"]["answer"].endswith(f"({status}).")
    assert [run["state"] for run in report["runs"]] == ["complete", "failed"]  # it was running
    page = Page(client.get(f"/v1/jobs/{job_id}/report.html").text)
    assert report["state"] in page.root.text


def test_a_job_that_was_cancelled_before_it_began(client, store):
    job_id = enqueued(store)
    store.do(queue.cancel, job_id)
    report = client.get(f"/v1/jobs/{job_id}/report.json").json()
    assert report["state"].startswith("The job was cancelled.")


def test_the_environment_is_that_of_the_last_attempt(client, store, leave):
    job_id = enqueued(store)
    claim = store.claim()
    leave(claim)
    told = {"kind": "environment", "phase": None, "message": "again", "data": {"torch": "9.9"}}
    store.do(queue.add_event, claim, **told)
    found = client.get(f"/v1/jobs/{job_id}/report.json").json()
    assert found["reproduction"]["environment"] == {"torch": "9.9"}


def test_links_start_with_the_public_url(start, database_url, job_id):
    client = start(database_url=database_url, public_url="https://lr.example.org/api/")
    text = client.get(f"/v1/jobs/{job_id}/report.html").text
    assert f'href="https://lr.example.org/api/v1/jobs/{job_id}/report.json"' in text


def test_the_link_of_a_job_leads_to_the_report(client, job_id):
    link = client.get(f"/v1/jobs/{job_id}").json()["links"]["report"]
    assert client.get(link).headers["Content-Type"] == FORMS["html"]


def test_the_data_are_described(client):
    described = client.get("/openapi.json").json()
    answer = described["paths"]["/v1/jobs/{job_id}/report.json"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Report")
    assert "missing" in json.dumps(described["components"]["schemas"]["Report"])
    page = described["paths"]["/v1/jobs/{job_id}/report.html"]["get"]["responses"]["200"]
    assert list(page["content"]) == ["text/html"]
