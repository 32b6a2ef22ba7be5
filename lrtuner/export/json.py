"""The schedule config itself."""

from lrtuner.document import ReactiveDocument, ScheduleDocument
from lrtuner.export._base import EXACT, Exporter

EXPORTER = Exporter(
    title="the schedule config, for lrtuner.load and for keeping",
    media_type="application/json",
    filename="schedule.json",
    closed_form=ScheduleDocument.text,
    judge=lambda _schedule: EXACT,
    reactive=ReactiveDocument.text,
)
