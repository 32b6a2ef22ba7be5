"""`examples/csv-regression`: upload the table, tune, and get better than the baseline."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import httpx
import pytest

from lrtuner.datasets.folder import sha256
from tests.test_job_flow import serving
from tests.worker.test_loop import until, worker_of, working

FOLDER = Path(__file__).parents[1] / "examples" / "csv-regression"
JOB = json.loads((FOLDER / "job.json").read_text())


def test_the_table_is_what_the_script_makes_and_the_job_names():
    told = spec_from_file_location("make_table", FOLDER / "make_table.py")
    module = module_from_spec(told)
    told.loader.exec_module(module)
    assert (FOLDER / "diabetes.csv").read_text() == module.table()
    assert JOB["dataset"]["id"] == sha256(FOLDER / "diabetes.csv")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_is_tuned_from_an_upload(database, database_url, tmp_path, monkeypatch):
    monkeypatch.setenv("LRTUNER_DATA_DIR", str(tmp_path))  # the folder that both sides share
    with (
        serving(database_url, data_dir=tmp_path) as url,
        working(worker_of(database, database_url)),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        table = (FOLDER / "diabetes.csv").read_bytes()
        uploaded = client.post(
            "/v1/datasets", content=table, params={"filename": "diabetes.csv"}
        ).json()
        assert uploaded["inspection"]["task"] == "regression"
        answer = client.post("/v1/jobs", json=JOB)
        assert answer.status_code == 202, answer.text
        assert answer.json()["spec"]["dataset"]["args"]["task"] == "regression"
        job_url = answer.headers["Location"]
        job = until(lambda: (j := client.get(job_url).json())["finished_at"] is not None and j, 180)
        assert job["status"] == "succeeded", job["error"]
        verdict = client.get(f"{job_url}/recommendation?format=json").json()["verdict"]
    if verdict["status"] != "no_difference_resolved":
        assert verdict["baseline"]["peak_lr"] == 0.001
        assert verdict["difference"] < 0  # of the validation loss
        assert verdict["recommended_mean"] < verdict["baseline_mean"]
