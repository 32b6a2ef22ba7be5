"""Projects of code: kept once by their content; jobs on them only where the operator wants any."""

import base64
import hashlib
import os

import pytest

from lrtuner.projects import checked, find_project
from service.openapi import SMALLEST_JOB
from tests.conformance.dataset_samples import zip_of
from tests.service.hostile_code import GOOD, MAIN, PLAIN

OTHER = zip_of({**MAIN, "model/net.py": b"# a net\n"})
TARGET = "shop.train:build"


def id_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def job_on(data=PLAIN, **model):
    return SMALLEST_JOB | {"model": {"source": "code", "id": id_of(data)} | model}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def api(start, database_url, folder):
    """The API where code is turned on, without the process that checks it (see hostile code)."""
    return start(database_url=database_url, data_dir=folder, code=True)


@pytest.fixture(autouse=True)
def checked_here(monkeypatch):
    monkeypatch.setattr("service.routes.code.checked_code", checked)


def upload(client, data=PLAIN, **options):
    return client.post("/v1/code", content=data, **options)


def kept(folder):
    return sorted(path.name for path in folder.glob("code/*"))


def test_a_project_is_kept_under_its_content(api, folder):
    answer = upload(api, OTHER, params={"filename": "shop"})
    assert answer.status_code == 201
    told = answer.json()
    assert told["id"] == id_of(OTHER)
    assert answer.headers["Location"] == told["links"]["self"] == f"/v1/code/{told['id']}"
    assert (told["filename"], told["num_bytes"], told["num_files"]) == ("shop", len(OTHER), 2)
    assert told["unpacked_bytes"] == len(GOOD) + 8
    assert find_project(folder, told["id"]).read_bytes() == OTHER
    shown = api.get(f"/v1/code/{told['id']}").json()
    assert shown.pop("files") == [
        {"path": "lrtune.py", "num_bytes": len(GOOD)},
        {"path": "model/net.py", "num_bytes": 8},
    ]
    assert shown == told
    assert api.request("HEAD", f"/v1/code/{told['id']}").status_code == 200


def test_the_same_content_again_changes_nothing(api, folder):
    first, again = upload(api), upload(api, params={"filename": "other"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert len(kept(folder)) == 1


def test_the_same_content_twice_at_once_is_kept_once(api, folder, monkeypatch):
    first = upload(api)
    # the second one looked before the first was kept
    monkeypatch.setattr("service.routes.code._known", lambda *_args: None)
    assert upload(api).json() == first.json()
    assert len(kept(folder)) == 1


def test_a_file_that_was_lost_is_put_back(api, folder):
    upload(api)
    (folder / "code" / kept(folder)[0]).unlink()
    assert upload(api).status_code == 200
    assert find_project(folder, id_of(PLAIN)).read_bytes() == PLAIN


def test_promised_digests_are_checked(api, folder):
    digest = base64.b64encode(hashlib.sha256(PLAIN).digest()).decode()
    wrong = base64.b64encode(bytes(32)).decode()
    assert upload(api, headers={"Content-Digest": f"sha-256=:{wrong}:"}).status_code == 422
    assert upload(api, params={"sha256": "0" * 64}).json()["errors"][0]["field"] == "sha256"
    assert kept(folder) == []
    assert upload(api, headers={"Content-Digest": f"sha-256=:{digest}:"}).status_code == 201


def test_forms_and_bodies_too_large_are_refused(api, folder, monkeypatch):
    form = upload(api, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert form.status_code == 415
    large = upload(api, headers={"Content-Length": str(65 * 1024**2)})
    assert large.status_code == 413
    assert kept(folder) == []
    assert (
        upload(api, os.urandom(2 * 1024**2)).json()["code"] == "invalid_code"
    )  # above JSON's limit


def test_pages(api):
    ids = [upload(api, zip_of({**MAIN, "i": b"%d" % i})).json()["id"] for i in range(3)]
    first = api.get("/v1/code", params={"limit": 2}).json()
    rest = api.get("/v1/code", params={"limit": 2, "after": first["next_after"]}).json()
    assert [project["id"] for project in first["items"] + rest["items"]] == ids[::-1]
    assert "files" not in first["items"][0]
    assert api.get("/v1/code", params={"after": "x"}).json()["code"] == "bad_cursor"


def test_what_is_not_there(api):
    for path in (id_of(b""), "sha256:x", "x"):
        for method in ("GET", "HEAD", "DELETE"):
            assert api.send(method, f"/v1/code/{path}").status_code == 404


def test_a_job_uses_a_project_and_keeps_it(api, folder):
    upload(api)
    job = api.post_json(job_on(args={"width": 3}))
    assert job.status_code == 202
    assert job.json()["spec"]["model"] == {
        "source": "code",
        "id": id_of(PLAIN),
        "args": {"width": 3},
    }
    kept_by = api.request("DELETE", f"/v1/code/{id_of(PLAIN)}")
    assert kept_by.status_code == 409
    assert job.json()["id"] in kept_by.json()["detail"]
    api.post(f"/v1/jobs/{job.json()['id']}/cancel")
    assert api.request("DELETE", f"/v1/code/{id_of(PLAIN)}").status_code == 204
    assert kept(folder) == []
    assert api.post_json(job_on()).status_code == 422


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"id": id_of(b"")}, "there is no code sha256:"),
        ({"id": None}, "missing; POST a zip file to /v1/code"),
        ({"id": "shop"}, "shop"),
    ],
)
def test_a_job_on_a_project_that_is_not_there_is_refused(api, model, reason):
    answer = api.post_json(job_on(**model))
    assert answer.status_code == 422
    [entry] = answer.json()["errors"]
    assert (entry["field"], entry["pointer"]) == ("model.id", "/model/id")
    assert reason in entry["message"]


def test_code_is_off_until_the_operator_turns_it_on(start, sqlite_url, folder):
    on = start(database_url=sqlite_url, data_dir=folder, code=True)
    upload(on)
    off = start(database_url=sqlite_url, data_dir=folder)
    job = off.post_json(job_on())
    assert (job.status_code, job.json()["code"]) == (403, "turned_off")
    assert job.json()["errors"][0]["field"] == "model.source"
    sent = upload(off, OTHER)
    assert sent.status_code == 403
    for answer in (job, sent):
        assert "the operator has to set LRTUNER_CODE=1" in answer.json()["detail"]
    assert len(kept(folder)) == 1
    assert off.get(f"/v1/code/{id_of(PLAIN)}").status_code == 200
    assert off.request("DELETE", f"/v1/code/{id_of(PLAIN)}").status_code == 204


@pytest.mark.parametrize(
    ("allowed", "status"),
    [("", 403), ("shop.other:build", 403), ("shopping.*", 403), (TARGET, 202), ("a:b,shop.*", 202)],
)
def test_an_entry_point_has_to_be_on_the_list(start, sqlite_url, allowed, status):
    client = start(database_url=sqlite_url, entrypoints=allowed, code=True)
    answer = client.submit(model={"source": "entrypoint", "target": TARGET})
    assert answer.status_code == status
    if status == 403:
        problem = answer.json()
        assert problem["code"] == "turned_off"
        assert problem["errors"][0]["field"] == "model.target"
        assert f"{TARGET} is not allowed here" in problem["detail"]
        assert "LRTUNER_ENTRYPOINTS" in problem["detail"]


def test_an_entry_point_needs_no_uploaded_code(start, sqlite_url):
    client = start(database_url=sqlite_url, entrypoints="shop.*")
    assert client.submit(model={"source": "entrypoint", "target": TARGET}).status_code == 202


def test_the_project_is_checked_in_a_process_of_its_own(start, sqlite_url, folder, monkeypatch):
    monkeypatch.undo()  # what the fixture above replaces
    marker = folder.parent / "ran"
    source = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n".encode()
    client = start(database_url=sqlite_url, data_dir=folder, code=True)
    assert upload(client, zip_of({"lrtune.py": source})).status_code == 201
    assert not marker.exists()
