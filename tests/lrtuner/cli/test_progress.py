"""What is shown while a job runs."""

import io
import os
import re
import select
import sys

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from lrtuner.cli import progress
from lrtuner.client import Event, Job


def event(seq, kind="trial.finished", phase="search", message=""):
    return Event(seq=seq, kind=kind, phase=phase, message=message or f"event {seq}")


def job(status="running", spent=1.0):
    done = {"phase": "range_test", "trials_finished": 1, "budget_spent": spent, "budget": 30.0}
    return Job.model_validate({"id": "job_1", "status": status, "progress": done})


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def written():
    return []


@pytest.fixture
def lines(clock, written):
    return progress.Lines(written.append, clock)


def test_many_events_in_a_short_time_are_thinned_out(lines, clock, written):
    for seq in range(1, 101):
        clock.now += 0.1
        lines.event(event(seq))
    assert 4 <= len(written) <= 7
    assert written[0] == "[search] event 1"


def test_what_changes_the_course_is_always_shown(lines, written):
    lines.event(event(1))
    lines.event(event(2, phase="confirm"))
    lines.event(event(3, kind="job.rescued", phase=None, message="another worker took over"))
    lines.event(event(4, phase="confirm"))
    expected = ["[search] event 1", "[confirm] event 2", "another worker took over"]
    assert written == expected


def test_a_long_silence_is_broken(lines, clock, written):
    lines.job(job())
    clock.now = 100.0
    lines.job(job(spent=2.04))
    lines.job(job())
    assert written == ["[range test] 1 trial, 2 of 30 full trainings"]


def test_trouble_is_told_once(lines, written):
    for _ in range(3):
        lines.trouble("away\nagain")
    assert written == ["away again"]


def test_a_queued_job_says_what_it_waits_for():
    queued = Job.model_validate({"id": "job_1", "status": "queued"})
    assert progress.progress_line(queued) == "waiting for a worker"
    assert progress.stage(queued) == "queued"
    assert progress.stage(job("cancelling")) == "cancelling"
    running = Job.model_validate({"id": "job_1", "status": "running"})
    assert progress.stage(running) == "running"
    assert progress.stage(running, "range_test") == "range test"


def test_a_terminal_gets_one_live_line_below_the_major_events():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    columns = TextColumn("{task.description}"), TextColumn("{task.fields[text]}", markup=False)
    with Progress(*columns, console=console, auto_refresh=False) as bar:
        live = progress.Live(bar)
        live.event(event(1, kind="job.started", message="started [bold]now[/bold]"))
        live.event(event(2, phase="search"))
        live.event(event(3, phase="search"))
        live.job(job(spent=12.44))
        bar.refresh()
        live.trouble("away")
        bar.refresh()
        task = bar.tasks[0]
        assert (task.completed, task.total) == (12.44, 30.0)
    shown = screen.getvalue()
    assert "[search] started [bold]now[/bold]" in shown
    assert "range test 1 trial, 12.4 of 30 full trainings" in shown
    assert "event 3" not in shown
    assert "away" in shown


@pytest.mark.parametrize(
    ("tty", "term", "kind"),
    [(False, "xterm", progress.Lines), (True, "dumb", progress.Lines), (True, "x", progress.Live)],
)
def test_the_display_suits_stderr(monkeypatch, tty, term, kind):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: tty, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.display() as shown:
        assert isinstance(shown, kind)


# On a terminal, and not on one ------------------------------------------------------------------

CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")
COLOUR = re.compile(r"\x1b\[[\d;]*[34][0-9][\d;]*m")


@pytest.fixture
def on_terminal(monkeypatch):
    """Show an event and a job on a terminal; what was written there."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)

    def written(**environment):
        for name, value in {"TERM": "xterm-256color", **environment}.items():
            monkeypatch.setenv(name, value)
        ours, theirs = os.openpty()
        with open(theirs, "w") as stream, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", stream)
            show()
            stream.flush()
            found = b""
            while select.select([ours], [], [], 0.0)[0]:
                found += os.read(ours, 65536)
        os.close(ours)
        return found.decode()

    return written


def show():
    with progress.display() as display:
        display.event(event(1, kind="job.started", message="began"))
        display.job(job())


def test_a_terminal_gets_a_live_line_in_colour(on_terminal):
    text = on_terminal()
    assert "began" in text
    assert CONTROL.search(text)
    assert COLOUR.search(text)


def test_no_color_is_heeded(on_terminal):
    text = on_terminal(NO_COLOR="1")
    assert "began" in text
    assert CONTROL.search(text)  # the line still moves
    assert not COLOUR.search(text)


def test_a_dumb_terminal_gets_plain_lines(on_terminal):
    text = on_terminal(TERM="dumb")
    assert text.split() == ["[search]", "began"]
    assert not CONTROL.search(text)


def test_a_pipe_gets_plain_lines_even_where_colour_is_forced(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    show()
    assert capsys.readouterr().err == "[search] began\n"
