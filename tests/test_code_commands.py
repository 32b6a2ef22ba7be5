"""`lrtuner submit --code` and `lrtuner code`, against the real service."""

import json
import zipfile

import pytest
from typer.testing import CliRunner

from lrtuner.cli import app
from lrtuner.projects import checked
from tests.service.conftest import served

JOB = {"optimizer": {"name": "sgd"}, "training": {"batch_size": 8, "epochs": 2}}


@pytest.fixture
def service(_sqlite_template, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lrtuner.db").write_bytes(_sqlite_template.read_bytes())
    monkeypatch.setattr("service.routes.code.checked_code", checked)  # saves the process
    with served(data_dir=tmp_path / "data", code=True) as service:
        yield service


@pytest.fixture
def run(service):
    url = str(service.get("/").request.url)
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"LRTUNER_URL": url})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project with a job file, as the current folder."""
    folder = tmp_path / "shop"
    (folder / "data").mkdir(parents=True)
    (folder / "lrtune.py").write_text("def build(context): ...\n")
    (folder / "data" / "raw.csv").write_text("1,2\n")
    (folder / ".gitignore").write_text("data/\n")
    write_job(folder, model={"source": "code", "args": {"width": 8}})
    monkeypatch.chdir(folder)
    return folder


def write_job(folder, **changes):
    (folder / "job.json").write_text(json.dumps(JOB | changes))


def test_a_folder_is_packed_uploaded_and_submitted(run, service, here):
    result = run("submit", "job.json", "--code", ".")
    assert result.exit_code == 0, result.stderr
    job = service.get(f"/v1/jobs/{result.stdout.strip()}").json()
    code_id = job["spec"]["model"]["id"]
    assert job["spec"]["model"] == {"source": "code", "id": code_id, "args": {"width": 8}}
    told = " ".join(result.stderr.split())
    assert "packed 3 files," in told
    assert "lrtune.py (24)" in told
    assert "left out data/: ignored by .gitignore" in told
    assert f"{code_id} uploaded" in told
    assert service.get(f"/v1/code/{code_id}").json()["filename"] == "shop"

    again = run("submit", "job.json", "--code", str(here), "--json")
    assert f"{code_id} is there already" in again.stderr
    assert json.loads(again.stdout)["spec"]["model"]["id"] == code_id

    listed = run("code", "list").stdout
    assert listed.count("\n") == 1
    assert listed.startswith(f"{code_id}  3 files  ")
    assert listed.endswith(" bytes  shop\n")
    assert json.loads(run("code", "list", "--json").stdout)[0]["num_files"] == 3
    shown = run("code", "show", code_id).stdout
    assert "lrtune.py  24" in shown.replace("lrtune.py 24", "lrtune.py  24")
    told = json.loads(run("code", "show", code_id, "--json").stdout)
    assert {"path": "lrtune.py", "num_bytes": 24} in told["files"]


def test_a_zip_file_is_sent_as_it_is_and_the_model_may_be_left_out(run, service, here):
    write_job(here)
    with zipfile.ZipFile(here / "my.zip", "w") as opened:
        opened.write("lrtune.py")
    result = run("submit", "job.json", "--code", "my.zip")
    assert result.exit_code == 0, result.stderr
    job = service.get(f"/v1/jobs/{result.stdout.strip()}").json()
    code = service.get(f"/v1/code/{job['spec']['model']['id']}").json()
    assert (code["num_bytes"], code["filename"]) == ((here / "my.zip").stat().st_size, "my.zip")


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"model": {"name": "mlp"}}, ".", 'needs "model": {"source": "code"}'),
        ({"model": "code"}, ".", 'needs "model": {"source": "code"}'),
        ({"model": {"source": "code", "id": "sha256:" + "0" * 64}}, ".", "leave model.id out"),
        ({}, "data", "there is no lrtune.py in it"),
        ({}, "nowhere", "there is no folder nowhere"),
        ({}, "job.json", "no intact zip file"),
        ({"seed": -1}, ".", "seed"),
    ],
)
def test_what_does_not_fit_is_told(run, service, here, changes, code, reason):
    write_job(here, **changes)
    result = run("submit", "job.json", "--code", code)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert service.get("/v1/jobs").json()["items"] == []


def test_a_syntax_error_is_told_with_its_line(run, here):
    (here / "lrtune.py").write_text("x = 1\ndef build(:\n")
    result = run("submit", "job.json", "--code", ".")
    assert result.exit_code == 2
    assert "lrtune.py, line 2: no valid Python" in result.stderr


def test_a_service_without_code_says_what_to_set(run, service, here, tmp_path):
    with served(data_dir=tmp_path / "data") as off:
        result = CliRunner().invoke(
            app,
            ["submit", "job.json", "--code", "."],
            env={"LRTUNER_URL": str(off.get("/").request.url)},
        )
    assert result.exit_code == 2
    assert "LRTUNER_CODE=1" in result.stderr


def test_code_that_is_not_there(run):
    result = run("code", "show", "sha256:0")
    assert result.exit_code == 2
    assert "No id has this form" in result.stderr
