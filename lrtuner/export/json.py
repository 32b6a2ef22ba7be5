"""The schedule config itself."""

from lrtuner.document import ScheduleDocument
from lrtuner.export._base import EXACT, Exporter

EXPORTER = Exporter(
    title="the schedule config, for lrtuner.load and for keeping",
    media_type="application/json",
    filename="schedule.json",
    render=ScheduleDocument.text,
    fidelity=lambda _schedule: EXACT,
)
