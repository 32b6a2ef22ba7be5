"""`make demo`, as a newcomer runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

import lrtuner

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_demo_writes_a_schedule_that_checks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    schedule = lrtuner.load(tmp_path / "schedule.json")
    assert schedule.total_steps == 380
    assert "Recommended schedule" in done.stdout
    assert "verdict" in done.stdout
