"""Whose is what: jobs and uploads of other teams are as if they were not there."""

import asyncio
import contextlib
import hashlib
from itertools import count

import pytest
import sqlalchemy as sa

from lrtuner.keys import Scope, new_key
from lrtuner.store import deliveries, keys, queue
from lrtuner.store.uploads import CODE, DATASETS
from lrtuner.webhook import Receiver
from service.openapi import SMALLEST_JOB
from tests.conformance.dataset_samples import SAMPLES
from tests.service.conftest import started
from tests.service.test_access import ABOUT, ROWS, bearer, url_of

INSPECTION = {
    "format": "csv",
    "kind": "features",
    "task": "regression",
    "num_examples": 1,
    "input_shape": [1],
    "num_outputs": 1,
    "target": "b",
    "num_fields": 0,
    "fields": [],
    "class_counts": {},
    "splits": {},
    "own_splits": False,
    "array_bytes": 1,
    "warnings": [],
}
KEPT = {
    DATASETS: {"format": "csv", "inspection": INSPECTION},
    CODE: {"num_files": 0, "unpacked_bytes": 0, "files": []},
}
CSV = SAMPLES["csv"]()
_numbers = count()


class Team:
    """Keys of one team, one for each scope; with a name or, then one key, without."""

    def __init__(self, database, scopes, name=None):
        self.database, self.made = database, {}
        for scope in scopes:
            self.made[scope] = key = new_key()
            with database.writing() as connection:
                keys.add_key(connection, key, name="k", scopes=[scope], team=name)
        self.name = name or key.id

    def ask(self, client, scope, method, path, **values):
        headers = bearer(self.made[scope].text)
        send = client.send if method == "head" else client.request
        return send(method.upper(), url_of(path, **values), headers=headers)

    def leave(self, path):
        """Something of this team that the endpoint is about; the value for its path."""
        with self.database.writing() as connection:
            if "{job_id}" in path:
                options = {"spec": SMALLEST_JOB, "name": None, "metadata": {}, "team": self.name}
                return {"job_id": queue.enqueue(connection, **options, key_id="whoever")}
            if "{delivery_id}" in path:
                receiver = Receiver(url="https://ci.example.org/hook")
                return {"delivery_id": deliveries.post_test(connection, receiver, team=self.name)}
            kind = DATASETS if "{dataset_id}" in path else CODE
            upload_id = f"sha256:{next(_numbers):064x}"
            told = {"filename": "secret.csv", "num_bytes": 1, "team": self.name} | KEPT[kind]
            kind.add(connection, upload_id, **told)
            return {"dataset_id": upload_id, "code_id": upload_id}


async def _idle(*_arguments):
    await asyncio.Event().wait()


@pytest.fixture(scope="module")
def service(_sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teams")
    (folder / "lrtuner.db").write_bytes(_sqlite_template.read_bytes())
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        # what the service does by itself would be among the statements of a request
        for busy in ("keep_house", "Delivering.run", "Watcher.run"):
            patch.setattr(f"service.app.{busy}", _idle)
        client = stack.enter_context(started(data_dir=folder, code=True, auth="auto"))
        database = client.app.state.storage.database
        named = {name: Team(database, Scope, name) for name in ("vision", "speech")}
        alone = {scope: Team(database, [scope]) for scope in Scope}
        yield client, named, alone


@contextlib.contextmanager
def statements():
    """What is asked of the database meanwhile."""
    asked = []

    def note(_connection, _cursor, statement, *_more):
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def seen(answer, values):
    """All of an answer but what the request said and its number."""
    text = answer.text.replace(answer.headers["X-Request-Id"], "")
    for value in values.values():
        text = text.replace(value, "ID").replace(value.replace(":", "%3A"), "ID")
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    return answer.status_code, text, headers | {"content-length": ""}


NOT_THERE = {"job_id": "job_" + "a" * 26, "dataset_id": "sha256:" + "f" * 64}
NOT_THERE["delivery_id"] = "msg_" + "a" * 26
NOT_THERE["code_id"] = NOT_THERE["dataset_id"]


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(("method", "path"), ABOUT["job"] + ABOUT["upload"] + ABOUT["delivery"])
def test_every_endpoint_with_every_scope_for_everybodys(service, method, path, scope):
    client, named, alone = service
    vision, speech, loner = named["vision"], named["speech"], alone[scope]
    enough = scope in (ROWS[method, path][0], Scope.ADMIN)
    for asking, other in ((vision, speech), (vision, loner), (loner, vision)):
        own, foreign = asking.leave(path), other.leave(path)
        answers = {}
        for whose, values in (("none", NOT_THERE), ("foreign", foreign), ("none", NOT_THERE)):
            if scope is Scope.ADMIN and whose == "foreign":
                continue
            with statements() as asked:
                answer = asking.ask(client, scope, method, path, **values)
            # whether a key is looked up anew depends on how long ago it was looked up
            told = [each for each in asked if "api_keys" not in each and each != "BEGIN"]
            answers[whose] = (*seen(answer, values), told)
        assert answers["none"][0] == (404 if enough else 403)
        if scope is not Scope.ADMIN:
            assert answers["foreign"] == answers["none"]
        for values in (own, foreign) if scope is Scope.ADMIN else (own,):
            status = asking.ask(client, scope, method, path, **values).status_code
            assert (status == 403) == (not enough)
            assert status != 404


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("/v1/jobs", "{job_id}"),
        ("/v1/datasets", "{dataset_id}"),
        ("/v1/code", "{code_id}"),
        ("/v1/webhook-deliveries", "{delivery_id}"),
    ],
)
def test_lists_have_what_is_the_teams(service, path, about):
    client, named, _alone = service

    def listed(team, scope):
        headers = bearer(team.made[scope].text)
        items = client.get(f"{path}?limit=100", headers=headers).json()["items"]
        return {item["id"] for item in items}

    vision, speech = named["vision"], named["speech"]
    mine, other = ({*team.leave(about).values()} for team in (vision, speech))
    assert mine <= listed(vision, Scope.READ)
    assert not other & listed(vision, Scope.READ)
    assert other <= listed(speech, Scope.READ)
    assert mine | other <= listed(vision, Scope.ADMIN)


@pytest.fixture
def api(start, database_url, tmp_path):
    return start(database_url=database_url, auth="auto", code=True, data_dir=tmp_path / "data")


def key(client, team=None, scopes=(Scope.READ, Scope.SUBMIT), **quotas):
    made = new_key()
    with client.app.state.storage.database.writing() as connection:
        keys.add_key(connection, made, name="k", scopes=scopes, team=team, **quotas)
    return bearer(made.text)


def post(client, headers, job=SMALLEST_JOB):
    return client.post("/v1/jobs", json=job, headers=headers)


def test_a_job_is_its_teams(api):
    mine, mate, other = key(api, "vision"), key(api, "vision"), key(api)
    job_id = post(api, mine).json()["id"]
    for headers, status in ((mine, 200), (mate, 200), (other, 404)):
        assert api.get(f"/v1/jobs/{job_id}", headers=headers).status_code == status
        listed = api.get("/v1/jobs", headers=headers).json()["items"]
        assert [job["id"] for job in listed] == ([job_id] if status == 200 else [])
    assert api.post(f"/v1/jobs/{job_id}/cancel", headers=other).status_code == 404
    assert api.post(f"/v1/jobs/{job_id}/cancel", headers=mate).status_code == 202


def test_what_was_submitted_without_a_key_is_for_admins(api):
    api.app.state.on_loopback = True
    here = {"host": "127.0.0.1:8470"}
    job_id = post(api, here).json()["id"]
    url = f"/v1/jobs/{job_id}"
    assert api.get(url, headers=here).status_code == 200
    assert api.get(url, headers=key(api)).status_code == 404
    assert api.get(url, headers=key(api, scopes=[Scope.ADMIN])).status_code == 200


def upload(client, headers, name, body=CSV):
    return client.post(f"/v1/datasets?filename={name}", content=body, headers=headers)


def test_a_content_that_two_teams_send_is_each_ones_own(api, tmp_path):
    mine, other = key(api, "vision"), key(api)
    first = upload(api, mine, "mine.csv")
    url = f"/v1/datasets/{first.json()['id']}"
    assert first.status_code == 201
    assert upload(api, mine, "again.csv").status_code == 200
    job = SMALLEST_JOB | {
        "dataset": {"source": "upload", "id": first.json()["id"]},
        "training": {"batch_size": 8, "epochs": 2},
    }
    refused = post(api, other, job)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "dataset.id")
    assert api.get(url, headers=other).status_code == 404

    second = upload(api, other, "other.csv")
    assert (second.status_code, second.json()["filename"]) == (201, "other.csv")
    assert api.get(url, headers=mine).json()["filename"] == "mine.csv"
    [listed] = api.get("/v1/datasets", headers=other).json()["items"]
    assert listed["filename"] == "other.csv"

    accepted = post(api, other, job)
    assert accepted.status_code == 202, accepted.text
    assert api.request("DELETE", url, headers=other).status_code == 409
    assert api.request("DELETE", url, headers=mine).status_code == 204
    assert api.get(url, headers=mine).status_code == 404
    [kept] = (tmp_path / "data" / "datasets").iterdir()
    assert hashlib.sha256(kept.read_bytes()).hexdigest() in first.json()["id"]
    api.post(f"/v1/jobs/{accepted.json()['id']}/cancel", headers=other)
    assert api.request("DELETE", url, headers=other).status_code == 204
    assert not list((tmp_path / "data" / "datasets").iterdir())


def test_a_quota_is_told_with_the_time_to_wait(start, database_url):
    client = start(database_url=database_url, auth="auto", max_queued_per_key=2)
    usual, large = key(client), key(client, max_queued=3, submits_per_minute=3)
    assert [post(client, usual).status_code for _ in range(3)] == [202, 202, 429]
    answers = [post(client, large) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[-1].json()["code"] == "quota_exceeded"
    assert 50 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_without_keys_the_quota_is_for_all(start, database_url):
    client = start(database_url=database_url, max_queued_per_key=1)
    assert [client.submit().status_code for _ in range(2)] == [202, 429]


def test_jobs_carry_the_cap_of_their_key(start, database_url, store):
    client = start(database_url=database_url, auth="auto", max_running_per_key=1)
    usual, large = key(client), key(client, max_running=2)
    for headers in (usual, large, usual, large, large):
        assert post(client, headers).status_code == 202
    assert len([claim for claim in (store.claim() for _ in range(5)) if claim]) == 3
