"""Whole jobs in a sandbox, through the queue and real processes."""

import hashlib

import numpy as np
import pytest

from lrtuner.datasets.folder import upload_path, uploads
from lrtuner.lifecycle import JobStatus
from tests.conformance.dataset_samples import npz_of
from tests.worker.code.conftest import STEPPED, project, uploaded
from tests.worker.test_loop import events_of, job_of, recommendation_of, submit, worker_of

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SHORT = {"search": {"budget": {"full_runs": 3}, "confirm_pairs": 0}}
SHORTEST = {"search": {"mode": "range_test", "budget": {"full_runs": 1}}}


@ON_SQLITE
def test_a_job_in_a_sandbox_gives_what_it_gives_without(database, database_url):
    inside, outside = submit(database, **SHORTEST), submit(database, **SHORTEST)
    assert worker_of(database, database_url, sandbox=True).work_once()
    assert worker_of(database, database_url).work_once()
    assert [job_of(database, j).status for j in (inside, outside)] == [JobStatus.SUCCEEDED] * 2
    assert recommendation_of(database, inside) == recommendation_of(database, outside)
    walls = [
        next(e for e in events_of(database, j) if e.kind == "environment").data["walls"]
        for j in (inside, outside)
    ]
    assert "watcher" in walls[0]
    assert walls[1] == []


@ON_SQLITE
@pytest.mark.slow
def test_a_job_on_an_upload_gives_what_it_gives_without_also_when_it_is_streamed(
    database, database_url, tmp_path, monkeypatch
):
    x = np.random.default_rng(0).normal(size=(400, 900)).astype(np.float32)  # 1.4 MiB
    data = npz_of(x=x, y=np.arange(400) % 3)
    upload_id = "sha256:" + hashlib.sha256(data).hexdigest()
    uploads(tmp_path).mkdir()
    file = upload_path(tmp_path, upload_id, "npz")
    file.write_bytes(data)
    file.chmod(0o600)  # whoever is inside has no right to read it
    monkeypatch.setenv("LRTUNER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LRTUNER_PRELOAD_MB", "1")
    of_upload = {"dataset": {"source": "upload", "id": upload_id}, **SHORTEST}
    streamed = submit(database, **of_upload)
    assert worker_of(database, database_url, sandbox=True).work_once()
    monkeypatch.setenv("LRTUNER_PRELOAD_MB", "2")
    outside = submit(database, **of_upload)
    assert worker_of(database, database_url).work_once()
    jobs = [job_of(database, j) for j in (streamed, outside)]
    assert [job.status for job in jobs] == [JobStatus.SUCCEEDED] * 2, jobs[0].error
    assert recommendation_of(database, streamed) == recommendation_of(database, outside)
    told = [e.message for e in events_of(database, streamed) if e.kind == "warning"]
    assert "dataset: 1 MiB, streamed from disk" in told
    assert list((tmp_path / "scratch").iterdir()) == []


@ON_SQLITE
def test_uploaded_code_is_trained_where_the_operator_says_so(database, database_url, tmp_path):
    folder = project(tmp_path / "wine", "import helper\n" + STEPPED, helper="")
    code = {"model": {"source": "code", "id": uploaded(tmp_path, folder)}}
    code |= {"dataset": {"source": "code"}, **SHORTEST}
    job_id = submit(database, **code)
    assert worker_of(database, database_url, data_dir=tmp_path, code=True).work_once()
    job = job_of(database, job_id)
    assert job.status is JobStatus.SUCCEEDED, job.error
    environment = next(e for e in events_of(database, job_id) if e.kind == "environment")
    assert "watcher" in environment.data["walls"]


@pytest.mark.slow
@ON_SQLITE
def test_a_job_that_takes_all_memory_fails_and_the_next_one_runs(database, database_url):
    huge = {"name": "mlp", "args": {"hidden": [40_000, 40_000]}}  # 6.4 GB of weights
    first, second = submit(database, model=huge, **SHORT), submit(database, **SHORT)
    worker = worker_of(database, database_url, sandbox=True, code_memory_mb=2000)
    assert worker.work_once()
    assert worker.work_once()
    failed = job_of(database, first)
    assert (failed.status, failed.error["code"]) == (JobStatus.FAILED, "nothing_trained")
    assert "out_of_memory" in failed.error["message"]
    assert job_of(database, second).status is JobStatus.SUCCEEDED
