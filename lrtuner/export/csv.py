"""Every step and its rate, as a table for spreadsheets and other programs."""

from lrtuner.document import ExportFidelity, ScheduleDocument
from lrtuner.export._base import EXACT, Exporter, unsupported
from lrtuner.jsontext import dumps

MAX_ROWS = 2_000_000


def render(schedule: ScheduleDocument) -> str:
    """Two columns, the unit and `lr`, one row per unit of time; floats read back bit for bit."""
    rows = (f"{t},{dumps(rate)}" for t, rate in enumerate(schedule.values().tolist()))
    return f"{schedule.unit},lr\n" + "\n".join(rows) + "\n"


def fidelity(schedule: ScheduleDocument) -> ExportFidelity:
    """Exact, unless the table would be too long."""
    if schedule.total_steps <= MAX_ROWS:
        return EXACT
    return unsupported(f"a table of {schedule.total_steps} rows; at most {MAX_ROWS} are written")


EXPORTER = Exporter(
    title="a table of step and learning rate",
    media_type="text/csv",
    filename="schedule.csv",
    closed_form=render,
    judge=fidelity,
)
