"""A picture of the schedule, to look at."""

from lrtuner.export._base import EXACT, Exporter
from lrtuner.plots import schedule_svg

EXPORTER = Exporter(
    title="a picture, to look at",
    media_type="image/svg+xml",
    filename="schedule.svg",
    closed_form=schedule_svg,
    judge=lambda _schedule: EXACT,
    reactive=schedule_svg,
    picture=True,
)
