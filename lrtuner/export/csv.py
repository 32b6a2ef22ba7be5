"""Every step and its rate, as a table for spreadsheets and other programs."""

from lrtuner.document import ExportFidelity, ScheduleDocument
from lrtuner.errors import UnsupportedError
from lrtuner.export._base import EXACT, Exporter
from lrtuner.jsontext import dumps

MAX_ROWS = 2_000_000


def render(schedule: ScheduleDocument) -> str:
    """Two columns, `step` and `lr`, one row per update; floats read back bit for bit.

    Raises:
        UnsupportedError: the schedule is longer than 2,000,000 steps.
    """
    refusal = fidelity(schedule)
    if refusal.reason:
        raise UnsupportedError(refusal.reason)
    rows = (f"{step},{dumps(rate)}" for step, rate in enumerate(schedule.values().tolist()))
    return "step,lr\n" + "\n".join(rows) + "\n"


def fidelity(schedule: ScheduleDocument) -> ExportFidelity:
    """Exact, unless the table would be too long."""
    if schedule.total_steps <= MAX_ROWS:
        return EXACT
    reason = f"a table of {schedule.total_steps} rows; at most {MAX_ROWS} are written"
    return ExportFidelity(fidelity="unsupported", reason=reason)


EXPORTER = Exporter(
    title="a table of step and learning rate",
    media_type="text/csv",
    filename="schedule.csv",
    render=render,
    fidelity=fidelity,
)
