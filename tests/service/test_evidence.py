import pytest

from lrtuner.lifecycle import JobStatus, Stage, TrialState
from lrtuner.store import queue

CURVE = {"steps": [1, 2], "train_loss": [1.0, None], "val_loss": [1.5, 0.5]}


@pytest.fixture
def trials(store):
    """A job with five finished trials and one that runs."""
    job_id = store.enqueue()
    claim = store.claim()
    for number in range(6):
        document = {"number": 99, "arm": f"a{number}", "seed": number, "curve": CURVE}
        store.do(
            queue.start_trial, claim, number=number, phase=Stage.SEARCH, document={"arm": "soon"}
        )
        if number < 5:
            store.do(
                queue.finish_trial,
                claim,
                number=number,
                state=TrialState.COMPLETE,
                value=0.5,
                cost=1.25,
                document=document,
            )
    return job_id


def test_events_are_those_of_the_store(client, store):
    job_id, _ = store.job_in(JobStatus.CANCELLED)
    page = client.get(f"/v1/jobs/{job_id}/events").json()
    assert page["has_more"] is False
    assert page["next_after"] is None
    stored = store.events(job_id)
    assert [event["seq"] for event in page["items"]] == list(range(1, len(stored) + 1))
    for shown, row in zip(page["items"], stored, strict=True):
        assert (shown["kind"], shown["message"], shown["data"]) == (row.kind, row.message, row.data)
        assert shown["phase"] == row.phase
        assert shown["at"].endswith("Z")


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 1000])
def test_events_are_paged(client, store, limit):
    job_id, _ = store.job_in(JobStatus.CANCELLED)
    seen, url = [], f"/v1/jobs/{job_id}/events?limit={limit}"
    while url:
        answer = client.get(url)
        page = answer.json()
        assert 0 < len(page["items"]) <= limit
        assert page["items"][0]["seq"] == len(seen) + 1
        seen += [event["seq"] for event in page["items"]]
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert bool(url) == page["has_more"]
    assert seen == [event.seq for event in store.events(job_id)]


def test_trial_is_its_document_and_its_columns(client, trials):
    page = client.get(f"/v1/jobs/{trials}/trials?curves=true").json()
    assert [trial["number"] for trial in page["items"]] == list(range(6))
    first, *_, last = page["items"]
    times = {"started_at": first["started_at"], "finished_at": first["finished_at"]}
    assert all(time.endswith("Z") for time in times.values())
    assert first == {
        "number": 0,
        "attempt": 1,
        "phase": "search",
        "state": "complete",
        "value": 0.5,
        "cost": 1.25,
        "arm": "a0",
        "seed": 0,
        "curve": CURVE,
        **times,
    }
    assert (last["state"], last["value"], last["finished_at"]) == ("running", None, None)


def test_curves_are_sent_on_request_only(client, trials):
    for query in ("", "?curves=false"):
        page = client.get(f"/v1/jobs/{trials}/trials{query}").json()
        assert not any("curve" in trial for trial in page["items"])


@pytest.mark.parametrize("limit", [1, 4, 6, 500])
def test_trials_are_paged(client, trials, limit):
    seen, url = [], f"/v1/jobs/{trials}/trials?limit={limit}"
    while url:
        answer = client.get(url)
        assert answer.json()["items"][0]["number"] == len(seen)
        seen += [trial["number"] for trial in answer.json()["items"]]
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert seen == list(range(6))


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "curves=maybe", "curve=true", "x"])
def test_bad_queries_are_refused(sqlite_client, query):
    job_id = sqlite_client.submit().json()["id"]
    answer = sqlite_client.get(f"/v1/jobs/{job_id}/trials?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


def test_range_test_is_shown_once_it_is_there(client, store):
    job_id = store.enqueue()
    url = f"/v1/jobs/{job_id}/range-test"
    answer = client.get(url)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert "queued" in answer.json()["detail"]
    assert answer.headers["Retry-After"]
    result = {"sweeps": [{"lrs": [1e-6], "losses": [None]}]}
    store.do(queue.finish_stage, store.claim(), stage=Stage.RANGE_TEST, result=result)
    assert client.get(url).json() == result


def test_nobody_waits_for_the_range_test_of_a_finished_job(client, store):
    job_id, _ = store.job_in(JobStatus.CANCELLED)
    answer = client.get(f"/v1/jobs/{job_id}/range-test")
    assert answer.status_code == 409
    assert "Retry-After" not in answer.headers
