"""What the tables repeat of the states of a job agrees with them."""

import re

from lrtuner.lifecycle import FINISHED, JobStatus
from lrtuner.store.tables import ACTIVE, TIMESTAMPS, jobs


def test_every_state_has_its_timestamp():
    assert set(TIMESTAMPS) == set(JobStatus)
    entered = {name for name in jobs.c.keys() if name.endswith("ed_at")}  # noqa: SIM118
    assert entered - set(TIMESTAMPS.values()) == {"pruned_at"}  # of no state
    assert set(TIMESTAMPS.values()) <= set(jobs.c.keys())


def test_active_means_not_finished():
    assert ACTIVE.text.startswith("status NOT IN")
    assert set(re.findall(r"'(\w+)'", ACTIVE.text)) == FINISHED
