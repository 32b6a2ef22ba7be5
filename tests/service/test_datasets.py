"""Uploads: streamed, checked, kept once by their content, and gone without a trace when refused."""

import base64
import hashlib
import os
import shutil
import time

import anyio
import numpy as np
import pytest

from service.app import create_app
from service.inspecting import _environment
from service.settings import Settings
from tests.conformance.dataset_samples import CODES, NUM_EXAMPLES, SAMPLES, inputs, npz_of
from tests.service.conftest import started

CSV = SAMPLES["csv"]()


def id_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def uploads(start, database_url, folder):
    """The API with a data folder, and how to upload to it."""
    client = start(database_url=database_url, data_dir=folder)

    def upload(data=CSV, headers=None, **parameters):
        parameters = {"format": "csv", **parameters}
        return client.post("/v1/datasets", content=data, headers=headers, params=parameters)

    client.upload = upload
    return client


def kept(folder):
    return sorted(path.name for path in folder.glob("datasets/*"))


def test_an_upload_is_kept_under_its_content(uploads, folder):
    answer = uploads.upload(filename="colours.csv")
    assert answer.status_code == 201
    told = answer.json()
    assert told["id"] == id_of(CSV)
    assert answer.headers["Location"] == told["links"]["self"] == f"/v1/datasets/{told['id']}"
    assert (told["filename"], told["num_bytes"]) == ("colours.csv", len(CSV))
    assert told["inspection"]["class_counts"] == {"blue": 14, "green": 13, "red": 13}
    assert kept(folder) == [f"sha256-{hashlib.sha256(CSV).hexdigest()}.csv"]
    assert (folder / "datasets" / kept(folder)[0]).read_bytes() == CSV
    assert uploads.get(f"/v1/datasets/{told['id']}").json() == told
    assert uploads.request("HEAD", f"/v1/datasets/{told['id']}").status_code == 200


def test_the_same_content_again_changes_nothing(uploads, folder):
    first = uploads.upload()
    again = uploads.upload()
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert len(kept(folder)) == 1


def test_the_same_content_twice_at_once_is_kept_once(uploads, folder, monkeypatch):
    first = uploads.upload()
    # the second one looked before the first was kept
    monkeypatch.setattr("service.routes.datasets._known", lambda *_args: None)
    assert uploads.upload().json() == first.json()
    assert len(kept(folder)) == 1


def test_a_file_that_was_lost_is_put_back(uploads, folder):
    uploads.upload()
    (folder / "datasets" / kept(folder)[0]).unlink()
    assert uploads.upload().status_code == 200
    assert len(kept(folder)) == 1


def test_the_same_content_read_otherwise_is_a_conflict(uploads):
    uploads.upload()
    for changes in ({"format": "text"}, {"target": "a"}):
        problem = uploads.upload(**changes)
        assert problem.status_code == 409
        assert "args.target" in problem.json()["detail"]


@pytest.mark.parametrize("format", sorted(set(SAMPLES) - {"csv"}))
def test_every_format_can_be_uploaded(start, sqlite_url, folder, format):
    client = start(database_url=sqlite_url, data_dir=folder)
    answer = client.post("/v1/datasets", content=SAMPLES[format](), params={"format": format})
    assert answer.status_code == 201
    assert answer.json()["inspection"]["format"] == format


def test_the_ending_of_the_name_tells_the_format(uploads):
    data = npz_of(x=inputs(), y=CODES)
    answer = uploads.post("/v1/datasets", content=data, params={"filename": "Data.NPZ"})
    assert answer.json()["inspection"]["num_examples"] == NUM_EXAMPLES
    problem = uploads.post("/v1/datasets", content=data, params={"filename": "data"})
    assert problem.json()["errors"][0]["field"] == "format"


def test_the_target_may_be_told(uploads):
    told = uploads.upload(target="b").json()["inspection"]
    assert (told["target"], told["task"]) == ("b", "regression")


def test_promised_digests_are_checked(uploads, folder):
    digest = hashlib.sha256(CSV).digest()
    header = {"Content-Digest": f"sha-512=:AA==:, sha-256=:{base64.b64encode(digest).decode()}:"}
    wrong = {"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}
    assert uploads.upload(headers=wrong).status_code == 422
    assert uploads.upload(sha256="0" * 64).json()["errors"][0]["field"] == "sha256"
    for text in ("sha-256=:A:", "md5=:AA==:", "nonsense"):
        assert uploads.upload(headers={"Content-Digest": text}).status_code == 422
    assert uploads.upload(headers=wrong, sha256=digest.hex()).status_code == 422
    assert kept(folder) == []
    assert uploads.upload(headers=header, sha256=digest.hex()).status_code == 201


def test_pages(uploads):
    ids = [uploads.upload(CSV + b"1,2,3,4,red\n" * i).json()["id"] for i in range(3)]
    first = uploads.get("/v1/datasets", params={"limit": 2}).json()
    rest = uploads.get("/v1/datasets", params={"limit": 2, "after": first["next_after"]}).json()
    assert [d["id"] for d in first["items"] + rest["items"]] == ids[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert uploads.get("/v1/datasets", params={"after": "x"}).json()["code"] == "bad_cursor"


def test_what_is_not_there(uploads):
    for path in (id_of(b""), "sha256:x", "x"):
        assert uploads.get(f"/v1/datasets/{path}").status_code == 404
        assert uploads.request("DELETE", f"/v1/datasets/{path}").status_code == 404
        assert uploads.send("HEAD", f"/v1/datasets/{path}").status_code == 404


def test_deleting(uploads, folder):
    uploads.upload()
    assert uploads.request("DELETE", f"/v1/datasets/{id_of(CSV)}").status_code == 204
    assert kept(folder) == []
    assert uploads.request("DELETE", f"/v1/datasets/{id_of(CSV)}").status_code == 404
    assert uploads.upload().status_code == 201


def test_forms_and_compressed_bodies_are_refused(uploads):
    for headers in (
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Encoding": "gzip"},
    ):
        assert uploads.upload(headers=headers).status_code == 415


@pytest.mark.parametrize("announced", [True, False])
def test_an_upload_above_the_limit_leaves_nothing(start, sqlite_url, folder, announced):
    client = start(database_url=sqlite_url, data_dir=folder, max_upload_mb=1)
    sent = 0

    async def chunks():
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield bytes(100_000)

    content = bytes(2**20 + 1) if announced else chunks()
    problem = client.post("/v1/datasets", content=content, params={"format": "csv"})
    assert problem.status_code == 413
    assert f"{2**20} bytes" in problem.json()["detail"]
    assert kept(folder) == []
    if not announced:
        assert sent < 20  # the rest is not waited for


def test_jobs_keep_their_smaller_limit(uploads):
    assert uploads.post_raw(b" " * (2**20 + 1)).status_code == 413


def test_an_upload_cut_short_leaves_nothing(sqlite_url, folder):
    app = create_app(Settings(database_url=sqlite_url, data_dir=folder, auth="open"))
    messages = iter(
        [{"type": "http.request", "body": CSV, "more_body": True}, {"type": "http.disconnect"}]
    )
    seen, sent = [], []

    async def receive():
        seen.append(kept(folder))
        return next(messages)

    async def send(message):
        sent.append(message)

    async def call():
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/datasets",
            "query_string": b"format=csv",
            "headers": [],
        }
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    anyio.run(call)
    assert [len(names) for names in seen] == [1, 1]  # it was there while it came
    assert kept(folder) == []
    assert sent == []


def test_what_a_killed_process_left_is_removed_by_the_next_upload(uploads, folder):
    (folder / "datasets").mkdir(parents=True)
    left, fresh = (folder / "datasets" / f".incoming-{name}" for name in ("old", "new"))
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (time.time() - 100,) * 2)
    uploads.upload()
    assert [path.name for path in folder.glob("datasets/.*")] == [fresh.name]


def test_what_is_too_large_for_memory_is_inspected_from_disk(start, sqlite_url, folder):
    client = start(database_url=sqlite_url, data_dir=folder, preload_mb=1)
    data = npz_of(x=np.ones((400, 900), np.float32), y=np.arange(400) % 3)  # 1.4 MiB
    answer = client.post("/v1/datasets", content=data, params={"format": "npz"})
    assert answer.status_code == 201, answer.text
    told = answer.json()["inspection"]
    assert told["streamed"] is True
    assert "it takes 1 MiB as arrays: streamed from disk in training" in told["warnings"]
    assert list((folder / "scratch").iterdir()) == []


@pytest.mark.parametrize("at", ["service.incoming.Incoming.write", "service.incoming.os.fsync"])
def test_a_full_disk_is_told(uploads, folder, monkeypatch, at):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(at, full)
    problem = uploads.upload()
    assert (problem.status_code, problem.json()["code"]) == (507, "storage_full")
    assert kept(folder) == []
    assert uploads.get("/v1/datasets").json()["items"] == []
    monkeypatch.undo()
    assert uploads.upload().status_code == 201


def test_an_inspection_that_dies_is_a_refusal(uploads, folder, monkeypatch):
    monkeypatch.setattr("service.inspecting.sys.executable", "/bin/false")
    problem = uploads.upload()
    assert problem.json()["code"] == "invalid_dataset"
    assert kept(folder) == []


def test_an_inspection_that_takes_too_long_is_a_refusal(uploads, folder, monkeypatch):
    monkeypatch.setattr("service.inspecting._SECONDS", 0)
    assert uploads.upload().json()["code"] == "invalid_dataset"
    assert kept(folder) == []


def test_the_inspecting_process_sees_no_secret(monkeypatch):
    monkeypatch.setenv("LRTUNER_DATABASE_URL", "postgresql://u:secret@h/d")
    assert "secret" not in str(_environment())


def test_the_folder_is_made_when_it_is_needed(start, sqlite_url, folder):
    start(database_url=sqlite_url, data_dir=folder)
    assert not folder.exists()


@pytest.fixture(scope="module")
def with_upload(_sqlite_template, tmp_path_factory):
    """The API with one upload, for tests that only ask."""
    folder = tmp_path_factory.mktemp("data")
    shutil.copy(_sqlite_template, folder / "lrtuner.db")
    with started(data_dir=folder) as client:
        client.post("/v1/datasets", content=CSV, params={"format": "csv"})
        yield client


# jobs on uploads ----------------------------------------------------------------------------------


def job_on(data=CSV, **args):
    return {
        "model": {"name": "mlp"},
        "dataset": {"source": "upload", "id": id_of(data), "args": args},
        "optimizer": {"name": "sgd"},
        "training": {"batch_size": 8, "epochs": 2},
    }


def test_a_job_uses_an_upload_and_keeps_it(uploads):
    assert uploads.upload().status_code == 201
    job = uploads.post_json(job_on())
    assert job.status_code == 202
    args = job.json()["spec"]["dataset"]["args"]
    assert (args["target"], args["task"], args["kind"]) == ("colour", "classification", "features")
    kept_by = uploads.request("DELETE", f"/v1/datasets/{id_of(CSV)}")
    assert kept_by.status_code == 409
    assert job.json()["id"] in kept_by.json()["detail"]
    uploads.post(f"/v1/jobs/{job.json()['id']}/cancel")
    assert uploads.request("DELETE", f"/v1/datasets/{id_of(CSV)}").status_code == 204


def test_the_target_of_the_upload_is_that_of_the_job(uploads):
    whole = "\n".join(["y,x", *(f"{i % 3},{i}" for i in range(40))]).encode()
    uploads.upload(whole, target="y")
    job = uploads.post_json(job_on(whole)).json()
    assert job["spec"]["dataset"]["args"]["target"] == "y"


def test_an_upload_with_numbers_to_predict_is_a_regression(uploads):
    data = "\n".join(["x,y", *(f"{i},{i / 7}" for i in range(40))]).encode()
    uploads.upload(data)
    job = uploads.post_json(job_on(data) | {"metrics": ["r2"]})
    assert job.status_code == 202, job.text
    assert job.json()["spec"]["dataset"]["args"]["task"] == "regression"
    refused = uploads.post_json(job_on(data) | {"loss": {"name": "cross_entropy"}})
    assert refused.json()["errors"][0]["field"] == "loss.name"


SAVED = {"source": "huggingface", "path": "a", "args": {"image": "x"}}
WEIGHTS = {"name": "resnet18", "weights": "pretrained", "path": "a.safetensors"}


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"dataset": {"source": "upload", "id": "sha256:" + "0" * 64}}, "dataset.id", "POST it"),
        ({"dataset": {"source": "upload", "id": "digits"}}, "dataset.id", "digits"),
        ({"dataset": {"source": "upload"}}, "dataset.id", "missing"),
        ({"dataset": {"source": "magic"}}, "dataset.source", "upload"),
        ({"dataset": {"source": "path", "path": "a.csv"}}, "dataset.source", "LRTUNER_DATA_ROOT"),
        ({"dataset": {"source": "path", "path": "../a.csv"}}, "dataset.path", "below"),
        ({"dataset": {"source": "path", "path": "a.b"}}, "dataset.path", "dataset.format"),
        ({"dataset": SAVED}, "dataset.source", "LRTUNER_DATA_ROOT"),
        ({"model": {"source": "timm", **WEIGHTS}}, "model.path", "LRTUNER_DATA_ROOT"),
        ({"model": {"source": "timm", "name": "a:b"}}, "model.name", "lower-case letters"),
        ({"dataset": job_on(target="z")["dataset"]}, "dataset.args.target", "colour"),
        ({"dataset": job_on(target="a")["dataset"]}, None, None),
        ({"dataset": job_on(task="regression")["dataset"]}, "dataset.args.task", "holds texts"),
        ({"dataset": job_on(target="a", task="regression")["dataset"]}, None, None),
        ({"dataset": job_on(kind="images")["dataset"]}, "dataset.args.kind", "holds features"),
        (
            {"dataset": job_on(task="language_modelling")["dataset"]},
            "dataset.args.task",
            "classification",
        ),
        ({"metrics": ["mse"]}, "metrics.0", "this is classification"),
        ({"metrics": ["f1"]}, None, None),
        ({"objective": {"metric": "val_perplexity"}}, "objective.metric", "language modelling"),
        ({"loss": {"name": "mse"}}, "loss.name", "cross_entropy"),
        ({"loss": {"name": "reconstruction"}}, None, None),
        ({"dataset": job_on(image_size=1)["dataset"]}, "dataset.args.image_size", "4"),
        ({"dataset": job_on(colour="x")["dataset"]}, "dataset.args.colour", "unknown"),
        ({"model": {"name": "convnet"}}, "model.name", "features"),
        ({"training": {"batch_size": 64, "epochs": 2}}, "training.batch_size", "28"),
        ({"dataset": {"name": "digit"}}, "dataset.name", "digits"),
        ({"dataset": {"source": "builtin"}}, "dataset.name", "missing"),
    ],
)
def test_a_job_that_does_not_fit_its_dataset_is_refused(with_upload, changes, field, reason):
    answer = with_upload.post_json(job_on() | changes)
    if field is None:  # the column is there; what is in it is for the worker to find out
        assert answer.status_code == 202
        return
    assert answer.status_code == 422
    [entry] = answer.json()["errors"]
    assert entry["field"] == field
    assert entry["pointer"] == "/" + field.replace(".", "/")
    assert reason in entry["message"]


def test_jobs_without_a_source_are_what_they_were(sqlite_client):
    answer = sqlite_client.submit(dataset={"name": "digits"})
    assert answer.json()["spec"]["dataset"]["source"] == "builtin"
