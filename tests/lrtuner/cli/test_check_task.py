"""What a job would do, from the command line: a table to read, or the same as JSON."""

import json

import pytest
from typer.testing import CliRunner

from lrtuner.cli import app

pytest.importorskip("torch")

FOUND = {
    "device": "cpu",
    "examples": {"train": 1000, "validation": 27, "test": 0},
    "examples_per_update": 16,
    "steps_per_epoch": 62,
    "total_steps": 1240,
    "evaluations": 8,
    "parameters": {"all": 1234, "trained": 1000},
    "losses": [1.5, 1.25, None],
    "metrics": {"loss": 1.5, "guessed": None},
    "examples_per_second": 12345.6,
    "full_runs": 30.0,
    "seconds": {"full_run": 90.0, "budget": 2700.0},
    "peak_memory_mb": 512.3,
    "repeatable": False,
    "warnings": ["there is no test split", "two builds differ"],
}


@pytest.fixture
def check_task(monkeypatch):
    def call(*options):
        monkeypatch.setattr("lrtuner.cli.check_task.run_worker", lambda *_: FOUND)
        return CliRunner().invoke(app, ["check-task", "job.json", *options])

    return call


def test_it_says_what_the_service_would_do(check_task):
    done = check_task("--code", ".")
    assert done.exit_code == 0, done.output
    for told in (
        "train 1,000, validation 27, test 0",
        "1,240, 62 to an epoch",
        "1,234, 1,000 of them train",
        "1.5, 1.25, not finite",
        "loss 1.5, guessed - on the validation split",
        "12,346 examples per second on cpu",
        "about 90 s, with 8 evaluations",
        "30 trainings, about 45 minutes",
        "512 MiB",
        "two builds    differ",
        "warning 1     there is no test split",
    ):
        assert told in done.stdout


def test_the_same_as_json(check_task):
    assert json.loads(check_task("--json").stdout) == FOUND


def test_code_that_fails_is_told_with_its_line_and_exits_with_1(tmp_path, capfd):
    (tmp_path / "lrtune.py").write_text("def build(context):\n    return context.nothing\n")
    job = tmp_path / "job.json"
    job.write_text(
        json.dumps(
            {
                "model": {"source": "code"},
                "optimizer": {"name": "sgd"},
                "training": {"batch_size": 8, "steps": 10},
            }
        )
    )
    done = CliRunner().invoke(app, ["check-task", str(job), "--code", str(tmp_path)])
    assert done.exit_code == 1
    printed = capfd.readouterr().err
    assert "at lrtune.py, line 2, in build: return context.nothing" in printed
