"""Two schedules over one axis, for who has to choose between them."""

import numpy as np

from lrtuner.comparing import compare, comparison_rows
from lrtuner.document import ScheduleDocument
from lrtuner.plots._axis import Axis, from_zero
from lrtuner.plots._chart import Chart, Line
from lrtuner.plots.schedule import counted, curve
from lrtuner.words import title


def comparison_svg(a: ScheduleDocument, b: ScheduleDocument, names: tuple[str, str]) -> str:
    """Both curves as the text of an SVG file, the first one solid, the second one dashed.

    Where units or horizons differ, the axis is the share of either run.
    """
    found = compare(a, b)
    alike = (a.unit, a.total_steps) == (b.unit, b.total_steps)
    per_unit, axis_label = counted(a) if alike else (1.0, "share of the run")
    lines = []
    highest = 0.0
    for style, (schedule, name) in enumerate(zip((a, b), names, strict=True)):
        t, rates = curve(schedule, schedule.total_steps)
        ts = t / per_unit if alike else t / schedule.total_steps
        lines.append(Line(ts, rates, f"{name}: {title(schedule)}", style))
        highest = max(highest, float(np.max(rates)))
    whole = alike and a.unit != "second"
    told = comparison_rows(found, names)
    return Chart(
        " and ".join(names),
        Axis(axis_label, 0.0, a.total_steps / per_unit if alike else 1.0, whole=whole),
        from_zero("learning rate", highest or a.peak_lr),
        lines[::-1],
        subtitle="; ".join(f"{name}: {text}" for name, text in told[:2]),
        description="; ".join(f"{name}: {text}" for name, text in told),
    ).svg()
