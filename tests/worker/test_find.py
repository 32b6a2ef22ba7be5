"""The range test without a service: the same job gives the same bytes."""

import json
import subprocess
import sys

import pytest

from tests.worker.conftest import spec_of


def find(tmp_path, text):
    job = tmp_path / "job.json"
    if text is not None:
        job.write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "worker.find", str(job)], capture_output=True, text=True, check=False
    )


def test_it_is_deterministic_and_enough_to_redraw_every_plot(tmp_path):
    text = spec_of(search={"budget": {"full_runs": 10}}).model_dump_json()
    first, again = find(tmp_path, text), find(tmp_path, text)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    result = json.loads(first.stdout)
    assert result["kind"] == "range_test"
    assert len(result["sweeps"]) == len(result["analyses"]) == 3
    assert all(len(s["lrs"]) == len(s["losses"]) for s in result["sweeps"])
    assert set(result["suggestion"]["peaks"]) >= {"constant", "decaying", "one_cycle", "cyclic"}
    assert "sweep 3 of 3 done" in first.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot read"),
        ("{", "Invalid JSON"),
        ('{"model": {"name": "mlp"}}', "training: Field required"),
    ],
)
def test_a_job_that_is_not_valid_says_why(tmp_path, text, told):
    done = find(tmp_path, text)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""
