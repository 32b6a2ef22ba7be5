"""Schedules looked up in a table of rates, for frameworks that compute in single precision."""

from lrtuner.document import ExportFidelity, ScheduleDocument
from lrtuner.export import _formula
from lrtuner.export._base import computed_in_float32, unsupported
from lrtuner.schedules.grammar import Schedule

MAX_RATES = 5_000_000


def source(schedule: Schedule) -> str:
    """`learning_rate(t)`, and `RATES` up to the one that is held; it needs numpy as np."""
    return (
        _formula.source(schedule)
        + """

# Computed here in double precision, to be looked up: in the framework's single precision the
# formula would be off at its boundaries.
RATES = np.fromiter(map(learning_rate, range(TOTAL_STEPS + 1)), float)
"""
    )


def fidelity(schedule: ScheduleDocument) -> ExportFidelity:
    """What a table in single precision keeps, unless it would be too long."""
    if schedule.total_steps <= MAX_RATES:
        return computed_in_float32(schedule)
    return unsupported(
        f"a table of {schedule.total_steps} rates; at most {MAX_RATES} are looked up"
    )
