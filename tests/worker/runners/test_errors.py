"""What is the fault of who trains ends a job and fails no run of it."""

import pytest

from tests.worker.conftest import CPU, ListJournal, pipeline_of, spec_of
from worker import range_test, runs
from worker.runners.errors import ClusterError
from worker.task import make_task


@pytest.mark.parametrize(("module", "name"), [(range_test, "one_sweep"), (runs, "train_together")])
def test_it_is_not_taken_for_the_fault_of_a_run(monkeypatch, module, name):
    def away(*_, **__):
        raise ClusterError("the head is down")

    journal = ListJournal()
    monkeypatch.setattr(module, name, away)
    pipeline = pipeline_of(spec_of(), journal)
    pipeline.task = make_task(spec_of(), CPU)
    with pytest.raises(ClusterError, match="the head is down"):
        pipeline.run()
    assert journal.trials == []
