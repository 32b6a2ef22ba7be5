"""The command line as a whole: help, version, exit codes, files, the example."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lrtuner
from lrtuner.cli import output
from lrtuner.cli.output import ExitCode, exit_code
from lrtuner.client import ProblemError, ServerUnreachableError
from lrtuner.client.answers import Problem
from lrtuner.errors import InvalidInputError, JobFailedError, NotFoundError
from lrtuner.job import JobSpec

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits-mlp.json"
COMMANDS = "serve api worker migrate submit status wait cancel download jobs find check-task "
COMMANDS += "export check show summary diff history doctor completion"
GROUPS = "code datasets keys"


def test_version(run):
    assert run("--version").stdout == f"lrtuner {lrtuner.__version__}\n"


def test_every_command_is_there_and_explains_itself_with_an_example(run):
    listed = re.findall(r"^  (\w[\w-]*)  +[A-Z]", run("--help").stdout, flags=re.MULTILINE)
    assert sorted(listed) == sorted([*COMMANDS.split(), *GROUPS.split()])
    for command in listed:
        text = run(command, "--help").stdout
        assert "Example" in text
        assert f"lrtuner {command}" in text.partition("Example")[2]


def test_help_lists_the_exit_codes_and_the_environment(run):
    text = run("--help").stdout
    assert all(f"{code.value} " in text for code in ExitCode if code < 100)
    assert "LRTUNER_URL" in text
    assert "LRTUNER_API_KEY" in text


@pytest.mark.parametrize("arguments", [["nonsense"], ["status"], ["submit", "--nonsense"], []])
def test_wrong_usage_ends_with_2(run, arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobFailedError(), 1),
        (InvalidInputError(), 2),
        (NotFoundError(), 2),
        (ProblemError(Problem(status=422)), 2),
        (ProblemError(Problem(status=503)), 5),
        (ServerUnreachableError(), 5),
    ],
)
def test_exit_codes(error, code):
    assert exit_code(error) == code


def test_expected_errors_show_no_traceback(tmp_path):
    command = [sys.executable, "-m", "lrtuner.cli", "check", "missing.json"]
    env = os.environ | {"PYTHONPATH": str(EXAMPLE.parents[1]), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lrtuner: cannot read missing.json: No such file or directory\n"


def test_the_example_is_a_job_that_the_service_accepts():
    spec = JobSpec.model_validate_json(EXAMPLE.read_text())
    assert (spec.model.name, spec.dataset.name, spec.optimizer.name) == ("mlp", "digits", "sgd")
    assert spec.search.budget.full_runs == 30
    assert spec.search.confirm_pairs == 5


# Files ------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "schedule.json"
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "latest.json"
    link.symlink_to(path)
    output.save(str(link), b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_new_file_gets_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        output.save(str(tmp_path / "new.json"), b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "new.json").stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "schedule.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InvalidInputError, match="No space left"):
        output.save(str(path), b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_can_be_written_to():
    output.save(os.devnull, b"x")
    assert not Path(os.devnull).is_file()
