"""What one sees on stderr while a job runs: a live line on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from lrtuner.cli.output import note
from lrtuner.client import Event, Job
from lrtuner.words import clean, number, plural

EVENT_SECONDS, PROGRESS_SECONDS = 2.0, 30.0


class Display(Protocol):
    """Something that shows how a job goes."""

    def event(self, event: Event) -> None:
        """Show that something happened."""

    def job(self, job: Job) -> None:
        """Show how the job stands."""

    def trouble(self, reason: str) -> None:
        """Show that the service does not answer."""


@contextmanager
def display() -> Iterator[Display]:
    """A display that suits stderr, cleared away in the end."""
    if not (sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        yield Lines()
        return
    with _bar() as bar:
        yield Live(bar)


class Lines:
    """Plain lines for logs: what changes the job's course at once, the rest now and then."""

    def __init__(
        self, write: Callable[[str], None] = note, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._phase: str | None = None
        self._shown_at = clock() - EVENT_SECONDS
        self._last = ""

    def event(self, event: Event) -> None:
        """Write it, unless it is one of many in a short time."""
        minor = not is_major(event, self._phase)
        self._phase = event.phase or self._phase
        if minor and self._clock() - self._shown_at < EVENT_SECONDS:
            return
        self._say(event_line(event))

    def job(self, job: Job) -> None:
        """Write how far it is if nothing else was written for long: CI kills what is silent."""
        if progress_line(job) and self._clock() - self._shown_at >= PROGRESS_SECONDS:
            self._say(f"[{stage(job, self._phase)}] {progress_line(job)}")

    def trouble(self, reason: str) -> None:
        """Write it."""
        line = clean(reason)
        if line != self._last:
            self._say(line)

    def _say(self, line: str) -> None:
        self._write(line)
        self._shown_at = self._clock()
        self._last = line


class Live:
    """One line that changes in place, with the major events above it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._phase: str | None = None
        self._task = bar.add_task("queued", total=None, text="")

    def event(self, event: Event) -> None:
        """Print a major event above the line."""
        if is_major(event, self._phase):
            self._bar.console.print(Text(event_line(event)))
        self._phase = event.phase or self._phase

    def job(self, job: Job) -> None:
        """Update the line."""
        progress = job.progress
        self._bar.update(
            self._task,
            description=stage(job, self._phase),
            completed=progress.budget_spent if progress else 0.0,
            total=progress.budget if progress else None,
            text=progress_line(job),
        )

    def trouble(self, reason: str) -> None:
        """Show it instead of the numbers."""
        self._bar.update(self._task, text=clean(reason))


def is_major(event: Event, phase: str | None) -> bool:
    """Whether everybody wants to see the event: all but the many runs, and the first of a phase."""
    return event.kind != "trial.finished" or event.phase not in (None, phase)


def event_line(event: Event) -> str:
    """The event in one line."""
    text = clean(event.message or event.kind)
    return f"[{clean(event.phase)}] {text}" if event.phase else text


def stage(job: Job, phase: str | None = None) -> str:
    """What the job does now: its phase while it runs (`phase` if it tells none), or its status."""
    phase = job.progress.phase if job.progress and job.progress.phase else phase
    return clean(phase.replace("_", " ")) if phase and job.status == "running" else str(job.status)


def progress_line(job: Job) -> str:
    """How far the job is, in one line."""
    progress = job.progress
    if progress is None:
        return "waiting for a worker" if job.status == "queued" else ""
    spent = number(round(progress.budget_spent, 1))
    budget = f" of {number(progress.budget)}" if progress.budget is not None else ""
    best = f", best {number(progress.best)}" if progress.best is not None else ""
    trials = plural(progress.trials_finished, "trial")
    return f"{trials}, {spent}{budget} full trainings{best}"


def _bar() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(file=sys.stderr), transient=True)
