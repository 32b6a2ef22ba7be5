"""Who may do what: every endpoint with every scope, and when no key is needed."""

import logging
import re

import pytest

from lrtuner.keys import Scope, new_key
from lrtuner.store import keys
from service.access import needed_scope
from service.app import create_app
from service.openapi import SMALLEST_JOB
from service.settings import Settings
from tests.service.conftest import served, started

ID = "sha256:" + "0" * 64
CODE_JOB = SMALLEST_JOB | {"model": {"source": "code", "id": ID}}

PUBLIC = {"/", "/healthz", "/readyz", "/metrics", "/problems/{code}", "/v1/schema/{name}.json"}
#: Every endpoint that is not public: the scope it needs, and what of a team's it is about.
ROWS = {
    ("get", "/v1/jobs"): (Scope.READ, "list"),
    ("post", "/v1/jobs"): (Scope.SUBMIT, "new"),
    ("get", "/v1/jobs/{job_id}"): (Scope.READ, "job"),
    ("head", "/v1/jobs/{job_id}"): (Scope.READ, "job"),
    ("post", "/v1/jobs/{job_id}/cancel"): (Scope.SUBMIT, "job"),
    ("get", "/v1/jobs/{job_id}/events"): (Scope.READ, "job"),
    ("head", "/v1/jobs/{job_id}/events"): (Scope.READ, "job"),
    ("get", "/v1/jobs/{job_id}/range-test"): (Scope.READ, "job"),
    ("get", "/v1/jobs/{job_id}/trials"): (Scope.READ, "job"),
    ("get", "/v1/jobs/{job_id}/recommendation"): (Scope.READ, "job"),
    ("head", "/v1/jobs/{job_id}/recommendation"): (Scope.READ, "job"),
    ("get", "/v1/recommendations/latest"): (Scope.READ, "list"),
    ("head", "/v1/recommendations/latest"): (Scope.READ, "list"),
    ("get", "/v1/jobs/{job_id}/report.html"): (Scope.READ, "job"),
    ("get", "/v1/jobs/{job_id}/report.json"): (Scope.READ, "job"),
    ("get", "/v1/jobs/{job_id}/plots/{name}.svg"): (Scope.READ, "job"),
    ("get", "/v1/datasets"): (Scope.READ, "list"),
    ("post", "/v1/datasets"): (Scope.SUBMIT, "new"),
    ("get", "/v1/datasets/{dataset_id}"): (Scope.READ, "upload"),
    ("head", "/v1/datasets/{dataset_id}"): (Scope.READ, "upload"),
    ("delete", "/v1/datasets/{dataset_id}"): (Scope.SUBMIT, "upload"),
    ("get", "/v1/code"): (Scope.READ, "list"),
    ("post", "/v1/code"): (Scope.CODE, "new"),
    ("get", "/v1/code/{code_id}"): (Scope.READ, "upload"),
    ("head", "/v1/code/{code_id}"): (Scope.READ, "upload"),
    ("delete", "/v1/code/{code_id}"): (Scope.CODE, "upload"),
    ("get", "/v1/families"): (Scope.READ, "nobody's"),
    ("get", "/v1/exports"): (Scope.READ, "nobody's"),
    ("get", "/v1/webhook-deliveries"): (Scope.READ, "list"),
    ("get", "/v1/webhook-deliveries/{delivery_id}"): (Scope.READ, "delivery"),
    ("post", "/v1/webhook-deliveries/{delivery_id}/redeliver"): (Scope.SUBMIT, "delivery"),
    ("post", "/v1/webhooks/test"): (Scope.SUBMIT, "new"),
}
OPERATIONS = [
    (method, path)
    for path, operations in create_app(Settings()).openapi()["paths"].items()
    for method in operations
]
PROTECTED = [operation for operation in OPERATIONS if operation[1] not in PUBLIC]
ABOUT = {
    what: [row for row in ROWS if ROWS[row][1] == what] for what in ("job", "upload", "delivery")
}


def url_of(path, **values):
    """A path that leads to the endpoint, and but for these values to nothing that is there."""
    nothing = {"job_id": "job_none", "dataset_id": ID, "code_id": ID, "delivery_id": "msg_none"}
    values = {**nothing, "name": "schedule", "code": "none", **values}
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)


@pytest.fixture
def made(store):
    """Make a key with these scopes; its text."""

    def make(*scopes, **options):
        key = new_key()
        store.do(keys.add_key, key, name="test", scopes=scopes, **options)
        return key

    return make


@pytest.fixture
def api(start, database_url):
    return start(database_url=database_url, auth="auto", code=True)


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


def ask(client, method, path, text=None, **headers):
    """Ask an endpoint, with what it refuses for other reasons than the key."""
    headers |= bearer(text) if text else {}
    send = client.send if method == "head" else client.request  # no body, no problem in it
    return send(method.upper(), url_of(path), headers=headers)


@pytest.fixture(scope="module")
def matrix(_sqlite_template, tmp_path_factory):
    """One service with a key of each scope."""
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "lrtuner.db").write_bytes(_sqlite_template.read_bytes())
    with started(data_dir=folder, code=True, auth="auto") as client:
        texts = {}
        database = client.app.state.storage.database
        for scope in Scope:
            key = new_key()
            with database.writing() as connection:
                keys.add_key(connection, key, name=scope, scopes=[scope])
            texts[scope] = key.text
        yield client, texts


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_every_endpoint_with_every_scope(matrix, method, path):
    client, texts = matrix
    needed = {ROWS[method, path][0]}
    assert ask(client, method, path).status_code == 401
    for scope, text in texts.items():
        answer = ask(client, method, path, text)
        if scope in needed | {Scope.ADMIN}:
            assert answer.status_code not in (401, 403), (scope, answer.text)
        else:
            assert answer.status_code == 403, scope
            challenge = answer.headers["WWW-Authenticate"]
            [name] = needed
            assert f'error="insufficient_scope", scope="{name}"' in challenge
            if method != "head":
                assert answer.json()["code"] == "missing_scope"
                assert f"`{name}`; yours has `{scope}`" in answer.json()["detail"]


def test_no_endpoint_is_without_a_row():
    assert set(PROTECTED) == set(ROWS)
    assert {row for row in ROWS if "{job_id}" in row[1]} == set(ABOUT["job"])


@pytest.mark.parametrize("path", [*sorted(PUBLIC), "/docs", "/openapi.json"])
def test_what_is_for_everybody(matrix, path):
    client, _texts = matrix
    assert ask(client, "get", path).status_code in (200, 404)
    assert ask(client, "get", path, "nonsense").status_code in (200, 404)


def test_what_is_not_there_needs_no_key(matrix):
    client, _texts = matrix
    assert client.get("/v1/nothing").status_code == 404
    assert client.request("PUT", "/v1/jobs").status_code == 405


def test_the_description_says_what_is_needed():
    document = create_app(Settings()).openapi()
    assert document["components"]["securitySchemes"]["api_key"]["scheme"] == "bearer"
    for method, path in OPERATIONS:
        operation = document["paths"][path][method]
        needed = {ROWS[method, path][0]} if path not in PUBLIC else set()
        told = [{"api_key": [str(scope)]} for scope in needed]
        assert operation.get("security", []) == told
        assert ("401" in operation["responses"]) == bool(needed)


def test_an_endpoint_that_nobody_thought_of_is_covered():
    assert needed_scope("GET", "/v1/new") is Scope.READ
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert needed_scope(method, "/v1/new") is Scope.SUBMIT
        assert needed_scope(method, "/v1/code/new") is Scope.CODE


def test_a_job_that_runs_code_needs_both_scopes(api, made):
    def posted(*scopes):
        headers = bearer(made(*scopes).text)
        return api.post("/v1/jobs", json=CODE_JOB, headers=headers)

    assert posted(Scope.CODE).status_code == 403
    refused = posted(Scope.READ, Scope.SUBMIT)
    assert refused.status_code == 403
    assert "`code`" in refused.json()["detail"]
    for scopes in ([Scope.SUBMIT, Scope.CODE], [Scope.ADMIN]):
        assert posted(*scopes).json()["errors"][0]["field"] == "model.id"
    headers = bearer(made(Scope.SUBMIT).text)
    assert api.post("/v1/jobs", json=SMALLEST_JOB, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer nonsense", "Basic dTpw", "lrt_", "Bearer lrt_é",
     "Bearer {other}", "Bearer {changed}", "{text}", "Basic {text}", "Bearer {text} x"],
)  # fmt: skip
def test_what_is_no_key_is_refused(api, made, header):
    key = made(Scope.ADMIN)
    last = "a" if key.text[-1] != "a" else "b"
    told = {"other": new_key().text, "changed": key.text[:-1] + last, "text": key.text}
    sent = header.format(**told).encode()
    answer = api.get("/v1/jobs", headers={"Authorization": sent})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="lrtuner"')
    assert key.text.rpartition("_")[2] not in answer.text


def test_the_scheme_may_be_written_in_any_way(api, made):
    for scheme in ("bearer", "BEARER", "Bearer "):
        headers = {"Authorization": f"{scheme} {made(Scope.READ).text}"}
        assert api.get("/v1/jobs", headers=headers).status_code == 200


def test_keys_end(api, made, store):
    expired, revoked = made(Scope.READ, seconds=-1.0), made(Scope.READ)
    assert api.get("/v1/jobs", headers=bearer(revoked.text)).status_code == 200
    store.do(keys.revoke_key, revoked.id)
    for key, status in ((expired, "expired"), (revoked, "revoked")):
        answer = api.get("/v1/jobs", headers=bearer(key.text))
        assert answer.status_code == 401
        assert f"The API key {key.id} is {status}" in answer.json()["detail"]
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_the_last_use_is_written_down_at_most_once_a_minute(api, made, store, monkeypatch):
    key = made(Scope.READ)
    touched = []
    monkeypatch.setattr(keys, "touch_key", lambda _c, key_id: touched.append(key_id))
    api.get("/v1/jobs", headers=bearer(key.text))
    assert touched == [key.id]
    monkeypatch.undo()
    api.get("/v1/jobs", headers=bearer(key.text))
    first = store.read(keys.find_key, key.id).last_used_at
    assert first is not None
    monkeypatch.setattr(keys, "touch_key", lambda _c, key_id: touched.append(key_id))
    api.get("/v1/jobs", headers=bearer(key.text))
    assert touched == [key.id]


def test_no_key_in_any_log(api, made, caplog, monkeypatch):
    key = made(Scope.ADMIN)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("service.routes.jobs.reading.list_jobs", lambda *_a, **_k: 1 / 0)
    assert api.get("/v1/jobs", headers=bearer(key.text)).status_code == 500
    assert "ZeroDivisionError" in caplog.text
    assert key.text.rpartition("_")[2] not in caplog.text


# without any key ----------------------------------------------------------------------------------

HERE = {"host": "127.0.0.1:8470"}


@pytest.mark.parametrize(
    ("settings", "on_loopback", "headers", "status"),
    [
        ({}, True, HERE, 200),
        ({}, True, {"host": "localhost:8470"}, 200),
        ({}, True, {"host": "[::1]:8470"}, 200),
        ({}, True, HERE | {"origin": "http://localhost:8470"}, 200),
        ({"public_url": "http://127.0.0.1:8470"}, True, HERE, 200),
        # bound to an address that others reach
        ({}, False, HERE, 401),
        # behind a proxy on the same machine, by what it says or what the operator says
        ({"public_url": "https://lrtuner.example.org"}, True, HERE, 401),
        ({}, True, {"host": "lrtuner.example.org"}, 401),
        ({}, True, HERE | {"x-forwarded-for": "203.0.113.9"}, 401),
        ({}, True, HERE | {"x-forwarded-for": "127.0.0.1"}, 401),
        ({}, True, HERE | {"forwarded": "for=203.0.113.9"}, 401),
        ({}, True, HERE | {"x-forwarded-host": "localhost"}, 401),
        ({}, True, HERE | {"x-real-ip": "127.0.0.1"}, 401),
        ({}, True, HERE | {"via": "1.1 proxy"}, 401),
        # a page of another site in a browser on this machine; a name that was bound to 127.0.0.1
        ({}, True, HERE | {"origin": "https://evil.example"}, 401),
        ({}, True, HERE | {"origin": "null"}, 401),
        ({}, True, {"host": "127.0.0.1.evil.example"}, 401),
        ({}, True, {"host": "rebound.example:8470"}, 401),
        # said by the operator
        ({"auth": "required"}, True, HERE, 401),
        ({"auth": "open"}, True, {"host": "lrtuner.example.org"}, 200),
        ({"auth": "open"}, False, HERE | {"via": "1.1 proxy"}, 200),
    ],
)
def test_without_any_key_only_this_machine_is_served(
    sqlite_url, monkeypatch, settings, on_loopback, headers, status
):
    with started(database_url=sqlite_url, **{"auth": "auto"} | settings) as client:
        client.app.state.on_loopback = on_loopback
        answer = client.get("/v1/jobs", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert "`lrtuner keys create`" in answer.json()["detail"]


@pytest.mark.parametrize("auth", ["auto", "open", "required"])
def test_once_there_is_a_key_every_request_needs_one(start, database_url, made, store, auth):
    client = start(database_url=database_url, auth=auth)
    client.app.state.on_loopback = True
    assert client.get("/v1/jobs", headers=HERE).status_code == (401 if auth == "required" else 200)
    key = made(Scope.READ)
    assert client.get("/v1/jobs", headers=HERE).status_code == 401
    assert client.get("/v1/jobs", headers=HERE | bearer(key.text)).status_code == 200
    store.do(keys.revoke_key, key.id)  # the last one that worked
    assert client.get("/v1/jobs", headers=HERE).status_code == 401


def test_a_key_that_nobody_asked_for_does_no_harm(start, sqlite_url):
    client = start(database_url=sqlite_url)
    assert client.get("/v1/jobs", headers=bearer(new_key().text)).status_code == 200


def test_an_app_of_another_server_is_closed(sqlite_url):
    assert not create_app(Settings(database_url=sqlite_url)).state.on_loopback


def test_a_service_on_loopback_serves_its_machine(sqlite_url):
    with served(database_url=sqlite_url) as client:
        assert client.submit().status_code == 202
