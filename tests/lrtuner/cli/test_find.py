"""The range test from the command line: a table to read, a result to keep, a picture."""

import json

import pytest
from typer.testing import CliRunner

from lrtuner.cli import app
from lrtuner.range_test import RangeTestResult

pytest.importorskip("torch")

JOB = {
    "model": {"name": "mlp", "args": {"hidden": [32]}},
    "dataset": {"name": "wine"},
    "optimizer": {"name": "sgd"},
    "training": {"batch_size": 8, "epochs": 10},
}


@pytest.fixture
def find(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def call(job, *options):
        (tmp_path / "job.json").write_text(json.dumps(job))
        return CliRunner().invoke(app, ["find", "job.json", *options])

    return call


def test_it_says_the_peaks_and_writes_the_result_and_the_picture(find, tmp_path):
    done = find(JOB, "--output", "found.json", "--plot", "found.svg")
    assert done.exit_code == 0, done.output
    for word in (
        "constant",
        "decaying",
        "one cycle",
        "cyclic",
        "within 1.25 times the lowest",
        "search between",
    ):
        assert word in done.stdout
    told = json.loads((tmp_path / "found.json").read_text())
    RangeTestResult.model_validate({k: told[k] for k in RangeTestResult.model_fields})
    assert told["job"]["search"]["mode"] == "range_test"
    assert (tmp_path / "found.svg").read_text().startswith("<svg")


def test_a_bad_job_is_refused_and_nothing_is_written(find, tmp_path):
    done = find({**JOB, "optimizer": {"name": "sgdd"}}, "--output", "found.json")
    assert done.exit_code == 2
    assert not (tmp_path / "found.json").exists()


def test_a_folder_that_is_not_there_is_said_before_anything_runs(find):
    done = find(JOB, "--plot", "nowhere/found.svg")
    assert done.exit_code == 2
    assert "does not exist" in done.stderr
