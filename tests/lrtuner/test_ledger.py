"""The ledger: every phase with what it cost, and nothing twice or left out."""

import math

import pytest

from lrtuner.ledger import PHASES, ledger
from tests.searched import range_test, trial, trials


def by_phase(found):
    return {entry.phase: entry for entry in found.entries}


def test_every_phase_in_order_with_its_runs_and_cost():
    found = ledger(range_test(), trials(), 30.0)
    assert [entry.phase for entry in found.entries] == list(PHASES)
    told = {phase: (entry.runs, entry.cost) for phase, entry in by_phase(found).items()}
    assert told == {
        "calibrate": (2, 1.5),  # 3 for the range test, half of it for its three probes
        "peak": (5, 2.0),
        "screen": (3, 0.4375),
        "rung": (3, 1.5),
        "final": (3, 3.0),
        "confirm": (10, 10.0),
        "comparison": (2, 2.0),
    }


def test_the_sum_is_what_was_spent():
    found = ledger(range_test(), trials(), 30.0)
    spent = range_test().cost + math.fsum(t.cost for t in trials())
    assert found.cost == pytest.approx(spent)
    assert found.cost == pytest.approx(math.fsum(entry.cost for entry in found.entries))
    assert found.runs == len(trials()) + 2 + 3
    assert found.budget == 30.0


def test_what_went_wrong_is_counted_where_it_did():
    found = ledger(range_test(), trials(), 30.0)
    diverged = {phase: e.diverged for phase, e in by_phase(found).items() if e.diverged}
    assert diverged == {"peak": 1, "screen": 1}  # a probe, and a candidate; sweeps are made to
    assert {phase: e.failed for phase, e in by_phase(found).items() if e.failed} == {"final": 1}
    assert (found.diverged, found.failed) == (2, 1)


def test_shared_beginnings_are_saved():
    found = ledger(range_test(), trials(), 30.0)
    screen = by_phase(found)["screen"]
    assert screen.saved == pytest.approx(0.125 + 0.1875)
    assert found.saved == pytest.approx(screen.saved)


def test_a_cost_by_itself_below_what_was_spent_saves_nothing():
    assert ledger(None, [trial(0, alone=0.0)], 3.0).saved == 0.0


def test_nothing_yet():
    found = ledger(None, [], 3.0)
    assert found.entries == []
    assert (found.runs, found.cost, found.saved, found.budget) == (0, 0.0, 0.0, 3.0)


def test_a_run_in_flight_counts_and_is_not_charged():
    found = ledger(None, [trial(0, value=None, state="running", cost=0.0, alone=0.0)], 3.0)
    assert [(e.phase, e.runs, e.cost, e.diverged) for e in found.entries] == [("screen", 1, 0.0, 0)]
