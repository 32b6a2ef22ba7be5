"""Pictures as SVG text: what a chart is, and one module per subject.

A picture is deterministic, needs nothing but itself (no script, no font, no link), reads without
colour, follows the reader's light or dark scheme, and says in words what it shows to whoever cannot
see it. It can be a file, an `<img>`, or part of a page.
"""

from lrtuner.plots.comparison import comparison_svg
from lrtuner.plots.history import history_svg
from lrtuner.plots.ledger import ledger_svg
from lrtuner.plots.pairs import pairs_svg
from lrtuner.plots.range_test import range_test_svg
from lrtuner.plots.rungs import rungs_svg
from lrtuner.plots.schedule import schedule_svg
from lrtuner.plots.schedules import schedules_pages, schedules_svg
from lrtuner.plots.trials import trials_svg

__all__ = [
    "comparison_svg",
    "history_svg",
    "ledger_svg",
    "pairs_svg",
    "range_test_svg",
    "rungs_svg",
    "schedule_svg",
    "schedules_pages",
    "schedules_svg",
    "trials_svg",
]
