"""The example: a BERT is made, and fine-tuned by a job on a dataset that was saved to disk."""

import importlib
import json
from pathlib import Path

import pytest

import examples.transformers as example
from lrtuner.job import JobSpec
from tests.worker.conftest import CPU, ListJournal, pipeline_of
from worker.task import make_task
from worker.training import train

pytestmark = pytest.mark.frameworks

SHORT = {"budget": {"full_runs": 12}, "confirm_pairs": 2}


@pytest.fixture
def root(tmp_path, monkeypatch):
    pytest.importorskip("transformers").utils.logging.disable_progress_bar()
    pytest.importorskip("datasets").disable_progress_bars()
    make = importlib.import_module("examples.transformers.make")
    make.make_checkpoint(tmp_path / "tiny-bert")
    make.make_dataset(tmp_path / "lines")
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(tmp_path))
    return tmp_path


def test_the_recommendation_trains_better_than_the_baseline_that_the_job_names(root):
    text = Path(example.__path__[0], "job.json").read_text(encoding="utf-8")
    spec = JobSpec.model_validate(json.loads(text) | {"search": SHORT})
    journal = ListJournal()
    found = pipeline_of(spec, journal).run()
    assert any("made anew by the seed: classifier.bias" in told for _kind, told in journal.events)
    if found.verdict.status == "no_difference_resolved":
        return
    assert found.verdict.difference < 0
    task = make_task(spec, CPU)
    rates = [schedule.values() for schedule in (found, spec.baseline)]
    ours, theirs = (train(task, r, seed=1234).metrics["val_loss"] for r in rates)
    assert ours < theirs
