"""What an exporter is: renderers, the name of its file, and a statement of its fidelity."""

from collections.abc import Callable
from dataclasses import dataclass

from lrtuner.document import AnyDocument, ExportFidelity, ReactiveDocument, ScheduleDocument
from lrtuner.errors import UnsupportedError
from lrtuner.export._formula import EXACT_WITHIN, EXACT_WITHIN_SINGLE, error

EXACT = ExportFidelity(fidelity="exact", max_rel_error=0.0)

REACTS = ExportFidelity(fidelity="exact", reason="the same rule; its rates depend on the metric")

NO_RATES = "a schedule that reacts to a metric has no rates to write down"


def unsupported(reason: str) -> ExportFidelity:
    """The statement that a schedule cannot be exported, and why."""
    return ExportFidelity(fidelity="unsupported", reason=reason)


def computed(schedule: ScheduleDocument) -> ExportFidelity:
    """The fidelity of an export that computes the rates by the formula, in double precision."""
    return _stated(error(schedule), EXACT_WITHIN)


def computed_in_float32(schedule: ScheduleDocument) -> ExportFidelity:
    """The same where the framework keeps the computed rates in single precision."""
    return _stated(error(schedule, "float32"), EXACT_WITHIN_SINGLE)


def _stated(found: float, within: float) -> ExportFidelity:
    return ExportFidelity(
        fidelity="exact" if found <= within else "approximate", max_rel_error=found
    )


def computed_by_counting(schedule: ScheduleDocument) -> ExportFidelity:
    """The fidelity of a computed export to a framework that counts steps and epochs, no seconds."""
    if schedule.unit == "second":
        return unsupported("this framework cannot follow the clock; torch, lightning and keras can")
    return computed(schedule)


def computed_by_steps(schedule: ScheduleDocument) -> ExportFidelity:
    """The fidelity of a computed export to a framework that counts optimizer steps and no more."""
    if schedule.unit == "epoch" and schedule.context is None:
        return unsupported("context.steps_per_epoch is needed to count epochs in steps")
    return computed_by_counting(schedule)


@dataclass(frozen=True)
class Exporter:
    """One download format.

    `closed_form` renders a schedule; `judge` says how exactly whoever loads the file gets the
    schedule's rates back, its error computed by evaluating the rendered form. `reactive` renders a
    schedule that reacts to a metric; where it is None, `no_reactive` says why. A `picture` gives no
    rates back, so no fidelity of it is published.
    """

    title: str
    media_type: str
    filename: str
    closed_form: Callable[[ScheduleDocument], str]
    judge: Callable[[ScheduleDocument], ExportFidelity]
    reactive: Callable[[ReactiveDocument], str] | None = None
    no_reactive: str = NO_RATES
    picture: bool = False

    def fidelity(self, document: AnyDocument) -> ExportFidelity:
        """How exactly the rendered form reproduces `document`."""
        if isinstance(document, ScheduleDocument):
            return self.judge(document)
        return REACTS if self.reactive else unsupported(self.no_reactive)

    def render(self, document: AnyDocument) -> str:
        """The text of the file.

        Raises:
            UnsupportedError: the format cannot express `document`.
        """
        stated = self.fidelity(document)
        if stated.fidelity == "unsupported":
            raise UnsupportedError(stated.reason)
        if isinstance(document, ScheduleDocument):
            return self.closed_form(document)
        assert self.reactive  # noqa: S101 - else the fidelity says so
        return self.reactive(document)
