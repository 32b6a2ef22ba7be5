"""Where the budget of a job went: runs and full-training equivalents, phase by phase."""

import math
from collections.abc import Iterator, Sequence

from lrtuner.evidence import TrialRecord
from lrtuner.lifecycle import TrialState
from lrtuner.range_test import RangeTestResult
from lrtuner.strict import Record

PHASES = ("calibrate", "peak", "screen", "rung", "final", "confirm", "comparison")
"""In the order they run. The sweeps calibrate; probes and runs for the peak of the baseline's shape
are one phase, and so are both sides of the pairs that confirm."""

_CONFIRM = ("recommended", "reference")


class Entry(Record):
    """One phase: how many runs, their cost in full-training equivalents, and what went wrong.

    `saved` is what runs that shared their beginning would have cost more by themselves. A sweep
    trains until it diverges: that is not counted.
    """

    phase: str
    runs: int
    cost: float
    saved: float = 0.0
    diverged: int = 0
    failed: int = 0


class Ledger(Record):
    """The phases that had runs, in order, and their sum, with what was allowed."""

    entries: list[Entry]
    runs: int
    cost: float
    saved: float
    diverged: int
    failed: int
    budget: float


def ledger(
    range_test: RangeTestResult | None, trials: Sequence[TrialRecord], budget: float
) -> Ledger:
    """Everything that was charged. A run in flight counts as a run, and is charged at its end."""
    entries = [*_calibrated(range_test), *map(_trial, trials)]
    known = dict.fromkeys([*PHASES, *(entry.phase for entry in entries)])
    phases = [_sum(phase, [e for e in entries if e.phase == phase]) for phase in known]
    total = _sum("", phases).model_dump(exclude={"phase"})
    return Ledger(entries=[phase for phase in phases if phase.runs], budget=budget, **total)


def _calibrated(range_test: RangeTestResult | None) -> Iterator[Entry]:
    """The sweeps, and each probe; a result has the cost of both together."""
    if range_test is None:
        return
    probes = range_test.probes
    sweeps = range_test.cost - math.fsum(probe.cost for probe in probes)
    yield Entry(phase="calibrate", runs=len(range_test.sweeps), cost=sweeps)
    for probe in probes:
        yield Entry(phase="peak", runs=1, cost=probe.cost, diverged=int(probe.loss is None))


def _trial(trial: TrialRecord) -> Entry:
    return Entry(
        phase="confirm" if trial.purpose in _CONFIRM else trial.purpose,
        runs=1,
        cost=trial.cost,
        saved=max(trial.alone - trial.cost, 0.0),
        diverged=int(trial.state is TrialState.DIVERGED),
        failed=int(trial.state is TrialState.FAILED),
    )


def _sum(phase: str, entries: Sequence[Entry]) -> Entry:
    return Entry(
        phase=phase,
        runs=sum(entry.runs for entry in entries),
        cost=math.fsum(entry.cost for entry in entries),
        saved=math.fsum(entry.saved for entry in entries),
        diverged=sum(entry.diverged for entry in entries),
        failed=sum(entry.failed for entry in entries),
    )
