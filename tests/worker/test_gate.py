"""Real jobs against the schedule in use: one that is hard to beat, and one that is not."""

from lrtuner.candidates import linear_to_zero, to_schedule
from lrtuner.document import load
from lrtuner.gate import standing
from tests.worker.conftest import ListJournal, pipeline_of, spec_of

SEARCH = {"families": ["constant"], "budget": {"full_runs": 24}, "confirm_pairs": 5}


def judged(peak, lr_range):
    """How the best peak within `lr_range` stands to linear decay from `peak`."""
    in_use = load(to_schedule(linear_to_zero(peak), 40).document)
    spec = spec_of(baseline=in_use.bare().document, search=SEARCH | {"lr_range": lr_range})
    recommended = pipeline_of(spec, ListJournal()).run()
    return recommended, standing(load(recommended.document), in_use, "old.json")


def test_what_cannot_compete_is_worse_and_the_schedule_in_use_is_recommended():
    recommended, found = judged(0.1, [1e-6, 2e-6])
    assert found.outcome == "worse", found.reason
    assert recommended.peak_lr == 0.1
    assert found.difference > 0
    assert found.ci95[0] > 0


def test_what_is_far_better_is_better():
    recommended, found = judged(1e-6, [0.01, 0.3])
    assert recommended.peak_lr > 1e-6
    assert found.outcome == "better", found.reason
    assert found.ci95[1] < 0
