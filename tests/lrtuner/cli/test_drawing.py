"""The chart: what must hold for every schedule, whatever it looks like."""

import pytest

from lrtuner.candidates import constant, linear_to_zero, to_schedule
from lrtuner.cli import drawing
from lrtuner.schedules.grammar import Cooldown, Schedule, Warmup

BODIES = [
    {"family": "cosine_restarts", "first_steps": 30.0, "t_mult": 1.5},
    {"family": "multistep", "milestones": [0.5, 40.0], "factors": [1.0, 0.1, 0.5]},
    {"family": "cyclic", "up": 7.0, "base_factor": 0.1},
    {"family": "table", "values": [1.0, 0.0, 0.5]},
    {"family": "constant"},
    {"family": "cosine", "decay_steps": 90.0},
    {"family": "step", "every": 7.5, "rate": 0.3},
]


def schedule(body, total_steps=100, **more):
    data = {"total_steps": total_steps, "peak_lr": 0.1, "body": body, **more}
    return Schedule.model_validate(data)


def rows(*schedules):
    return drawing.chart(*schedules)[: drawing.ROWS]


@pytest.mark.parametrize("width", [10, 40, 80, 200])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 100, 1_000_000_000])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("pen", [drawing.UNICODE, drawing.ASCII])
def test_a_chart_fits_its_width_and_has_a_curve(pen, body, total_steps, width):
    lines = drawing.chart(schedule(body, total_steps), width=width, pen=pen)
    assert len(lines) == drawing.ROWS + 3
    assert max(map(len, lines)) <= max(width, drawing.MIN_WIDTH)
    marks = "".join(lines[: drawing.ROWS])
    assert ("*" in marks) if pen is drawing.ASCII else any("\u2800" < c < "\u2900" for c in marks)
    assert f"{total_steps - 1}" in lines[-2]


def test_the_curve_has_no_gaps():
    steep = schedule({"family": "step", "every": 30.0, "rate": 0.1})
    lines = drawing.chart(steep, width=80, pen=drawing.ASCII)[: drawing.ROWS]
    assert all("*" in line for line in lines)


def test_the_axis_starts_at_zero_and_ends_at_the_highest_rate():
    rising = schedule({"family": "table", "values": [0.1, 0.2, 0.7]})
    lines = drawing.chart(rising)
    assert lines[0].split()[0] == "0.07"
    assert lines[drawing.ROWS - 1].split()[0] == "0"


def test_the_baseline_is_apart_without_colour():
    low = to_schedule(constant(0.05), 100)
    high = to_schedule(constant(0.1), 100)
    assert drawing.OTHER in rows(low, high)[0]
    assert drawing.OTHER not in "".join(rows(low))
    assert drawing.OTHER not in "".join(rows(low, low))


def test_a_baseline_that_rises_higher_sets_the_axis():
    low, high = to_schedule(constant(0.05), 100), to_schedule(linear_to_zero(0.3), 100)
    assert drawing.chart(low, high)[0].split()[0] == "0.3"


def test_phases_are_named_where_they_are():
    full = schedule(
        {"family": "constant"},
        warmup=Warmup(steps=30.0, start_factor=0.0),
        cooldown=Cooldown(start=60.0, steps=40.0),
    )
    band = drawing.chart(full)[-1]
    names = [band.index(name) for name in ("warmup", "body", "cooldown")]
    assert names == sorted(names)
    assert band.count("├") == band.count("┤") == 3


def test_a_phase_that_never_comes_is_not_named():
    whole = schedule({"family": "constant"}, warmup=Warmup(steps=100.0, start_factor=0.0))
    assert " warmup " in drawing.chart(whole)[-1]
    assert "body" not in drawing.chart(whole)[-1]


@pytest.mark.parametrize("unit", ["step", "epoch", "second"])
def test_the_axis_names_its_unit(unit):
    names = drawing.chart(schedule({"family": "constant"}, unit=unit))[-2]
    assert names.endswith(f"{unit} 99")
