"""What an exporter is: a renderer, the name of its file, and a statement of its fidelity."""

from collections.abc import Callable
from dataclasses import dataclass

from lrtuner.document import ExportFidelity, ScheduleDocument

EXACT = ExportFidelity(fidelity="exact", max_rel_error=0.0)


@dataclass(frozen=True)
class Exporter:
    """One download format.

    `render` gives the text of the file. `fidelity` says how exactly whoever loads the file gets the
    schedule's rates back; its error is computed by evaluating the rendered form.
    """

    title: str
    media_type: str
    filename: str
    render: Callable[[ScheduleDocument], str]
    fidelity: Callable[[ScheduleDocument], ExportFidelity]
