"""Whole jobs in a sandbox, through the queue and real processes."""

import pytest

from lrtuner.lifecycle import JobStatus
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
def test_a_job_on_a_file_is_not_sandboxed_and_says_so(database, database_url):
    job_id = submit(database, dataset={"source": "path", "path": "flowers.csv"}, **SHORTEST)
    assert worker_of(database, database_url, sandbox=True).work_once()
    job = job_of(database, job_id)
    assert job.status is JobStatus.FAILED
    assert "a sandbox has no path files yet" in job.error["message"]


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
