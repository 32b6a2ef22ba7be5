"""`lrtuner datasets`, against the real service."""

import json

import pytest
from typer.testing import CliRunner

from lrtuner.cli import app
from tests.conformance.dataset_samples import SAMPLES
from tests.service.conftest import served


@pytest.fixture
def run(_sqlite_template, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lrtuner.db").write_bytes(_sqlite_template.read_bytes())
    monkeypatch.chdir(tmp_path)
    with served(data_dir=tmp_path / "data") as service:
        url = str(service.get("/").request.url)
        yield lambda *arguments: CliRunner().invoke(app, arguments, env={"LRTUNER_URL": url})


def test_upload_again_list_and_show(run, tmp_path):
    file = tmp_path / "colours.csv"
    file.write_bytes(SAMPLES["csv"]())
    first, again = (
        run("datasets", "upload", "colours.csv"),
        run("datasets", "upload", "colours.csv"),
    )
    assert first.exit_code == again.exit_code == 0, first.stderr
    dataset_id = first.stdout.strip()
    assert dataset_id == again.stdout.strip()
    assert "blue 14, green 13, red 13" in first.stderr
    listed = run("datasets", "list").stdout
    assert listed.count("\n") == 1
    assert f"{dataset_id}  csv  40 examples  colours.csv" in listed
    assert "train 28, validation 6, test 6" in run("datasets", "show", dataset_id).stdout
    told = json.loads(run("datasets", "show", dataset_id, "--json").stdout)
    assert told["inspection"]["target"] == "colour"
    assert json.loads(run("datasets", "list", "--json").stdout)[0]["id"] == dataset_id


def test_what_cannot_be_used_is_told(run, tmp_path):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    for arguments, reason in (
        (["upload", "bad.csv"], "at least 10 are needed"),
        (["upload", "none.csv"], "no such file"),
        (["show", "sha256:0"], "No id has this form"),
    ):
        result = run("datasets", *arguments)
        assert result.exit_code == 2
        assert reason in result.stderr
