"""The example of a user's own code: from its folder to a config that beats its stated baseline."""

import json
from pathlib import Path

import pytest

import lrtuner
from lrtuner.job import JobSpec
from tests.worker.code.conftest import uploaded
from tests.worker.conftest import CPU, ListJournal, pipeline_of
from worker.device import prepare
from worker.rules import Rules
from worker.sandboxed import trained_in
from worker.task import make_task

FOLDER = Path(__file__).parents[1] / "examples" / "own-code"
STEPS = 24


def small(**changes):
    """The example's job, a small part of it."""
    job = json.loads((FOLDER / "job.json").read_text())
    job["model"] |= {"args": {"width": 16, "length": 12, "max_chars": 6_000}, **changes}
    job["training"]["steps"] = job["baseline"]["total_steps"] = STEPS
    job["search"] = {"budget": {"full_runs": 11}, "confirm_pairs": 1}
    return JobSpec.model_validate(job)


def assert_better_or_undecided(document):
    config = lrtuner.load(json.loads(document.text()))
    assert (config.total_steps, len(config.values())) == (STEPS, STEPS)
    verdict = document.verdict
    assert verdict.baseline["body"]["family"] == "constant"
    assert verdict.status == "no_difference_resolved" or verdict.difference < 0


def run(task, spec):
    journal = ListJournal()
    pipeline = pipeline_of(spec, journal)
    pipeline.task = task
    document = pipeline.run()
    assert all("val_guessed" in trial.metrics for trial in journal.trials if trial.value)
    return document


def test_the_job_is_valid_and_names_its_baseline():
    spec = JobSpec.model_validate_json((FOLDER / "job.json").read_text())
    assert spec.baseline.total_steps == spec.training.steps


def test_it_finds_a_better_config_than_its_baseline():
    prepare(CPU)
    assert_better_or_undecided(run(make_task(small(), CPU, FOLDER), small()))


@pytest.mark.slow
def test_it_does_so_in_a_sandbox(tmp_path):
    spec = small(id=uploaded(tmp_path, FOLDER))
    rules = Rules(code=True, data_dir=str(tmp_path))
    with trained_in(rules, spec, CPU) as task:
        assert_better_or_undecided(run(task, spec))
