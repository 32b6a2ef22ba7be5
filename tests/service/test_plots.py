import hashlib
import json
import xml.etree.ElementTree as ET

import pytest

from lrtuner.document import load
from lrtuner.lifecycle import JobStatus
from lrtuner.plots import schedule_svg
from lrtuner.store import queue
from service.routes.plots import PLOTS
from tests.searched import spec, trial


@pytest.fixture
def job_id(store, published, leave):
    """A job that has everything a plot could show."""
    job_id = store.enqueue(spec=spec().model_dump(mode="json"))
    claim = store.claim()
    leave(claim)
    store.do(queue.succeed, claim, recommendation=published)
    return job_id


def test_the_schedule_is_drawn(client, job_id, published):
    answer = client.get(f"/v1/jobs/{job_id}/plots/schedule.svg")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].partition(";")[0] == "image/svg+xml"
    assert answer.text == schedule_svg(load(json.loads(published)))
    assert "Content-Disposition" not in answer.headers  # to be looked at, not saved
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_a_picture_with_validators(client, job_id, name):
    url = f"/v1/jobs/{job_id}/plots/{name}.svg"
    answer = client.get(url)
    assert ET.fromstring(answer.content).tag == "{http://www.w3.org/2000/svg}svg"
    etag = answer.headers["ETag"]
    assert etag == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    again = client.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == etag
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "status", sorted(set(JobStatus) - {JobStatus.SUCCEEDED, JobStatus.EXPIRED})
)
def test_without_what_it_shows(client, store, status):
    job_id, _ = store.job_in(status)
    answer = client.get(f"/v1/jobs/{job_id}/plots/schedule.svg")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert status in answer.json()["detail"]
    assert ("Retry-After" in answer.headers) == (not status.is_finished)


@pytest.mark.parametrize("name", PLOTS)
def test_a_job_that_has_just_begun_has_no_plot(client, store, name):
    job_id = store.enqueue(spec=spec().model_dump(mode="json"))
    store.claim()
    answer = client.get(f"/v1/jobs/{job_id}/plots/{name}.svg")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert PLOTS[name].what in answer.json()["detail"]


def test_comparisons_alone_are_no_schedules(client, store, leave):
    job_id = store.enqueue(spec=spec().model_dump(mode="json"))
    leave(store.claim(), [trial(0, "comparison")])
    assert client.get(f"/v1/jobs/{job_id}/plots/schedules.svg").status_code == 409
    assert client.get(f"/v1/jobs/{job_id}/plots/trials.svg").status_code == 200


@pytest.mark.parametrize("name", ["shedule", "%00", "schedule.svg", "SCHEDULE"])
def test_an_unknown_plot_names_those_there_are(client, job_id, name):
    answer = client.get(f"/v1/jobs/{job_id}/plots/{name}.svg")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert ", ".join(PLOTS) in answer.json()["detail"]


@pytest.mark.parametrize("path", ["job_none/plots/schedule.svg", "no such/plots/schedule.svg"])
def test_an_unknown_job(client, path):
    assert client.get(f"/v1/jobs/{path}").status_code == 404


def test_the_link_of_a_job_leads_to_the_plot(client, job_id):
    link = client.get(f"/v1/jobs/{job_id}").json()["links"]["schedule_plot"]
    assert client.get(link).status_code == 200


def test_a_broken_recommendation_is_not_the_callers_fault(client, store):
    job_id = store.enqueue()
    store.do(queue.succeed, store.claim(), recommendation="{}")
    answer = client.get(f"/v1/jobs/{job_id}/plots/schedule.svg")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")


def test_the_names_of_plots_are_described(client):
    paths = client.get("/openapi.json").json()["paths"]
    parameters = paths["/v1/jobs/{job_id}/plots/{name}.svg"]["get"]["parameters"]
    [name] = [p for p in parameters if p["name"] == "name"]
    assert name["schema"]["enum"] == list(PLOTS)
