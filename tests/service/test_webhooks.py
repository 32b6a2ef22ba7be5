"""Webhooks as clients see them: in jobs, in the log of deliveries, and tested."""

import pytest
import sqlalchemy as sa

from lrtuner.store import deliveries, queue
from lrtuner.store.tables import deliveries as table
from lrtuner.store.tables import webhooks
from lrtuner.webhook import WEBHOOK_EVENTS
from service import housekeeping
from tests.conformance.test_stored_deliveries import let_time_pass, sent, take
from tests.service.receiver import HERE, SECRET, receiving
from tests.service.test_monitoring import scraped

URL = "https://ci.example.org/hook?token=x"
WEBHOOK = {"url": URL, "secret": SECRET}


@pytest.fixture
def quiet(monkeypatch):
    """Nothing is sent by the service: the test does what it would do."""
    monkeypatch.setattr("service.delivering.deliveries.is_due", lambda _connection: False)


@pytest.fixture
def api(quiet, client):
    return client


def everything_kept(store, *but):
    """All rows of the database as text, but for those of these tables."""

    def read(connection):
        names = set(sa.inspect(connection).get_table_names()) - set(but)
        return str([connection.execute(sa.text(f"SELECT * FROM {n}")).all() for n in names])

    return store.read(read)


def test_a_job_with_a_webhook(api, store):
    answer = api.submit(webhook=WEBHOOK)
    assert answer.status_code == 202
    job = answer.json()
    assert job["spec"]["webhook"] == {"url": URL, "events": list(WEBHOOK_EVENTS)}
    claim = store.claim()
    store.do(queue.succeed, claim, recommendation="{}")
    page = api.get("/v1/webhook-deliveries").json()
    assert [(row["event"], row["job_id"], row["status"]) for row in page["items"]] == [
        ("job.succeeded", job["id"], "pending"),
        ("job.started", job["id"], "pending"),
    ]
    [first, _] = page["items"]
    assert first["url"] == URL
    assert first["next_try_at"] == first["created_at"]
    assert api.get(first["links"]["self"]).json() == first
    assert first["links"]["job"] == f"/v1/jobs/{job['id']}"


def test_the_secret_is_kept_where_it_is_needed_and_shown_nowhere(api, store):
    job = api.submit(webhook=WEBHOOK)
    store.claim()
    shown = [job, api.get("/v1/jobs"), api.get(job.headers["Location"])]
    shown += [api.get(f"{job.headers['Location']}/events"), api.get("/v1/webhook-deliveries")]
    assert not any(SECRET[6:] in answer.text for answer in shown)
    assert SECRET[6:] in everything_kept(store)
    assert SECRET[6:] not in everything_kept(store, "webhooks", "deliveries")


@pytest.mark.parametrize(
    "webhook",
    [
        {"url": "ftp://x", "secret": SECRET},
        {"url": URL, "secret": SECRET + "!"},
        {"url": URL, "secret": [SECRET]},
        {"url": URL, "secrets": SECRET},
        {"url": f"https://{SECRET}@x.example/"},
        {"url": URL, "secret": SECRET, "events": [SECRET]},
        {"url": URL, "secret": f"{SECRET}\x00"},
        {"secret": SECRET},
        [SECRET],
        SECRET,
    ],
)
def test_no_error_repeats_a_secret(api, caplog, webhook):
    caplog.set_level("DEBUG")
    answer = api.submit(webhook=webhook)
    assert answer.status_code == 422
    assert SECRET[6:] not in answer.text
    assert SECRET[6:] not in caplog.text
    assert all(entry["field"].startswith("webhook") for entry in answer.json()["errors"])


def test_no_error_of_the_database_repeats_a_secret(api, caplog, monkeypatch):
    def broken(connection, job_id, webhook):
        statement = sa.insert(webhooks).values(
            job_id="job_none", url=webhook.url, events=[], secret=webhook.secret
        )
        connection.execute(statement)

    monkeypatch.setattr("service.submitting.deliveries.subscribe", broken)
    answer = api.submit(webhook=WEBHOOK)
    assert answer.status_code == 500
    assert "IntegrityError" in caplog.text
    assert SECRET[6:] not in caplog.text


@pytest.mark.parametrize(
    ("url", "settings", "accepted"),
    [
        ("http://127.0.0.1:9000/", {}, False),
        ("http://localhost:9000/", {}, False),
        ("http://169.254.169.254/latest", {}, False),
        ("http://[::1]:9000/", {}, False),
        ("http://127.0.0.1:9000/", {"webhook_allow": "127.0.0.0/8"}, True),
        ("http://localhost:9000/", {"webhook_allow": "127.0.0.0/8"}, True),
        ("http://ci.example.org/", {}, True),
    ],
)
def test_addresses_that_are_refused_when_they_are_submitted(
    quiet, start, sqlite_url, url, settings, accepted
):
    client = start(database_url=sqlite_url, **settings)
    webhook = {"url": url, "secret": SECRET}
    for answer, field in (
        (client.submit(webhook=webhook), "webhook.url"),
        (client.post("/v1/webhooks/test", json=webhook), "url"),
    ):
        assert answer.status_code == (202 if accepted else 422)
        if not accepted:
            [entry] = answer.json()["errors"]
            assert entry["field"] == field
            assert "LRTUNER_WEBHOOK_ALLOW" in entry["message"]


def test_something_has_to_sign(quiet, start, sqlite_url):
    answer = start(database_url=sqlite_url).submit(webhook={"url": URL})
    assert answer.json()["errors"][0]["field"] == "webhook.secret"
    client = start(database_url=sqlite_url, webhook_secret=SECRET)
    assert client.submit(webhook={"url": URL}).status_code == 202
    assert SECRET not in repr(client.app.state.settings)


def test_a_test(api, store):
    answer = api.post("/v1/webhooks/test", json=WEBHOOK)
    assert answer.status_code == 202
    delivery = answer.json()
    assert (delivery["event"], delivery["status"]) == ("webhook.test", "pending")
    assert delivery["job_id"] is delivery["links"]["job"] is None
    [taken] = take(store)
    tried = {"status": 500, "seconds": 0.1, "excerpt": "no", "error": None}
    store.do(deliveries.record, taken, tried, status="failed")
    delivery = api.get(answer.headers["Location"]).json()
    assert (delivery["status"], delivery["next_try_at"]) == ("failed", None)
    [shown] = delivery["tries"]
    assert shown | {"at": None} == tried | {"at": None}
    again = api.post(delivery["links"]["redeliver"])
    assert again.status_code == 202
    assert again.json()["id"] == delivery["id"]
    assert again.json()["status"] == "pending"


def test_unknown_deliveries(api):
    for answer in (
        api.get("/v1/webhook-deliveries/msg_none"),
        api.post("/v1/webhook-deliveries/msg_none/redeliver"),
        api.get("/v1/webhook-deliveries?job_id=job_none"),
        api.get("/v1/webhook-deliveries/ä"),
    ):
        assert answer.status_code == 404


def test_pages_show_every_delivery_once_while_others_are_made(api, store):
    made = [api.post("/v1/webhooks/test", json=WEBHOOK).json()["id"] for _ in range(5)]
    url, seen = "/v1/webhook-deliveries?limit=2", []
    while url:
        answer = api.get(url)
        seen += [item["id"] for item in answer.json()["items"]]
        url = answer.links.get("next", {}).get("url")
        api.post("/v1/webhooks/test", json=WEBHOOK)
    assert seen == made[::-1]
    assert api.get("/v1/webhook-deliveries?after=x").json()["code"] == "bad_cursor"


def test_the_deliveries_of_one_job(api, store):
    ids = [api.submit(webhook=WEBHOOK).json()["id"] for _ in range(2)]
    for _ in ids:
        store.claim()
    for job_id in ids:
        [row] = api.get(f"/v1/webhook-deliveries?job_id={job_id}").json()["items"]
        assert row["job_id"] == job_id


def test_messages_that_wait_are_counted(api, store):
    assert scraped(api)["lrtuner_webhook_pending",] == 0
    api.post("/v1/webhooks/test", json=WEBHOOK)
    assert scraped(api)["lrtuner_webhook_pending",] == 1


def test_old_messages_are_forgotten(api, store):
    api.post("/v1/webhooks/test", json=WEBHOOK)
    [taken] = take(store)
    store.do(deliveries.record, taken, {"status": 200}, status="delivered")
    let_time_pass(store, created_at=2 * 86_400)
    housekeeping.forget_messages(store.database, 3.0)
    assert sent(store)
    housekeeping.forget_messages(store.database, 1.0)
    assert not sent(store)
    assert store.read(lambda c: c.execute(sa.select(table)).all()) == []


def test_the_service_delivers_by_itself(start, sqlite_url):
    """Beside its requests, without being asked."""
    with receiving() as receiver:
        client = start(database_url=sqlite_url, webhook_allow=HERE)
        sent = {"url": receiver.url, "secret": SECRET}
        delivery = client.post("/v1/webhooks/test", json=sent).json()
        request = receiver.arrived.get(timeout=30)
        assert request.id == delivery["id"]
        told = request.verified()
        assert (told["type"], told["data"]) == ("webhook.test", None)
