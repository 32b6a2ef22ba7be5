"""Bad schedules are refused, never repaired: the field, the value and what is allowed are named."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtuner
from lrtuner.errors import InvalidScheduleError
from lrtuner.schedules import FAMILIES
from lrtuner.schedules.table import MAX_VALUES

GOOD = {"total_steps": 100, "peak_lr": 0.1, "body": {"family": "constant"}}
HUGE = 10**400

NUMBER = "Input should be a valid number"
FINITE = "Input should be a finite number"
LENGTH = "Input should be greater than or equal to 0.000001"
BELOW_1 = "Input should be less than or equal to 1"
POSITIVE = "Input should be greater than 0"


def body(family, **parameters):
    return {"body": {"family": family, **parameters}}


def multistep(milestones, factors):
    return body("multistep", milestones=milestones, factors=factors)


def cyclic(**parameters):
    return body("cyclic", **{"up": 5, "base_factor": 0.1, **parameters})


def restarts(**parameters):
    return body("cosine_restarts", **{"first_steps": 5, **parameters})


def warmup(**parameters):
    return {"warmup": {"steps": 5, **parameters}}


def cooldown(**parameters):
    return {"cooldown": {"start": 80, "steps": 20, **parameters}}


# What is changed of a good schedule; the field; what the message says about it.
BAD = {
    "no peak": ({"peak_lr": 0}, "peak_lr", f"{POSITIVE} (got 0)"),
    "a negative peak": ({"peak_lr": -0.1}, "peak_lr", f"{POSITIVE} (got -0.1)"),
    "NaN as the peak": ({"peak_lr": math.nan}, "peak_lr", f"{FINITE} (got nan)"),
    "an infinite peak": ({"peak_lr": math.inf}, "peak_lr", f"{FINITE} (got inf)"),
    "a peak above all reason": (
        {"peak_lr": 1e7},
        "peak_lr",
        "Input should be less than or equal to 1000000 (got 10000000.0)",
    ),
    "text as a number": ({"peak_lr": "0.1"}, "peak_lr", f"{NUMBER} (got '0.1')"),
    "a switch as a number": ({"peak_lr": True}, "peak_lr", f"{NUMBER} (got True)"),
    "a number no float can hold": ({"peak_lr": HUGE}, "peak_lr", f"{NUMBER} (got 1000"),
    "a number that cannot be written": ({"peak_lr": 10**5000}, "peak_lr", NUMBER),
    "null as a number": ({"peak_lr": None}, "peak_lr", f"{NUMBER} (got None)"),
    "no steps": (
        {"total_steps": 0},
        "total_steps",
        "Input should be greater than or equal to 1 (got 0)",
    ),
    "half a step": ({"total_steps": 1.5}, "total_steps", "Input should be a valid integer"),
    "a whole number written as a float": (
        {"total_steps": 100.0},
        "total_steps",
        "Input should be a valid integer (got 100.0)",
    ),
    "a switch as a count": (
        {"total_steps": True},
        "total_steps",
        "Input should be a valid integer (got True)",
    ),
    "endless steps": (
        {"total_steps": HUGE},
        "total_steps",
        "Input should be less than or equal to 1000000000 (got 1000",
    ),
    "a list of steps": ({"total_steps": [100]}, "total_steps", "(got [100])"),
    "an unknown field": ({"colour": "red"}, "colour", "Extra inputs are not permitted (got 'red')"),
    "another version": ({"schema_version": "2.0"}, "schema_version", "Input should be '1.0'"),
    "an unknown unit": (
        {"unit": "batch"},
        "unit",
        "Input should be 'step', 'epoch' or 'second' (got 'batch')",
    ),
    "an unknown kind": ({"kind": "open"}, "kind", "Input should be 'closed_form' (got 'open')"),
    "something else after the end": ({"after_end": "repeat"}, "after_end", "'hold'"),
    "a floor above the peak": ({"min_factor": 1.01}, "min_factor", f"{BELOW_1} (got 1.01)"),
    "a floor below 0": (
        {"min_factor": -0.1},
        "min_factor",
        "Input should be greater than or equal to 0 (got -0.1)",
    ),
    "no body": ({"body": None}, "body", "(got None)"),
    "a body without family": ({"body": {"rate": 1}}, "body", "using discriminator 'family'"),
    "an unknown family": (body("zigzag"), "body", "'zigzag' found using 'family' does not match"),
    "a family that is no name": (body(["cosine"]), "body", "['cosine']"),
    "a family that reacts": (body("plateau"), "body", "'plateau' found using 'family'"),
    "an unknown parameter": (
        body("constant", rate=0.5),
        "body.rate",
        "Extra inputs are not permitted (got 0.5)",
    ),
    "a missing parameter": (body("cosine"), "body.decay_steps", "Field required"),
    "a decay of no length": (
        body("cosine", decay_steps=0),
        "body.decay_steps",
        f"{LENGTH} (got 0)",
    ),
    "a decay of negative length": (
        body("polynomial", decay_steps=-5.0),
        "body.decay_steps",
        f"{LENGTH} (got -5.0)",
    ),
    "a decay of hardly any length": (
        body("exponential", decay_steps=1e-300, rate=0.5),
        "body.decay_steps",
        f"{LENGTH} (got 1e-300)",
    ),
    "an endless decay": (
        body("cosine", decay_steps=math.inf),
        "body.decay_steps",
        f"{FINITE} (got inf)",
    ),
    "a decay longer than any number": (
        body("cosine", decay_steps=HUGE),
        "body.decay_steps",
        NUMBER,
    ),
    "a decay of NaN": (body("cosine", decay_steps=math.nan), "body.decay_steps", f"{FINITE} (got"),
    "a decay of text": (body("cosine", decay_steps="90"), "body.decay_steps", "'90' is no length"),
    "a decay of a switch": (body("cosine", decay_steps=True), "body.decay_steps", f"{NUMBER} (got"),
    "an end above the peak": (
        body("cosine", decay_steps=90, end_factor=1.5),
        "body.end_factor",
        f"{BELOW_1} (got 1.5)",
    ),
    "a rate above 1": (
        body("exponential", decay_steps=1, rate=1.1),
        "body.rate",
        f"{BELOW_1} (got 1.1)",
    ),
    "a rate of 0": (body("step", every=5, rate=0), "body.rate", f"{POSITIVE} (got 0)"),
    "a drop every 0 steps": (body("step", every=0, rate=0.5), "body.every", f"{LENGTH} (got 0)"),
    "a negative offset": (
        body("step", every=5, rate=0.5, offset=-1),
        "body.offset",
        "Input should be greater than or equal to 0 (got -1)",
    ),
    "half an offset": (
        body("step", every=5, rate=0.5, offset=0.5),
        "body.offset",
        "Input should be a valid integer (got 0.5)",
    ),
    "a power of 0": (
        body("polynomial", decay_steps=9, power=0),
        "body.power",
        f"{POSITIVE} (got 0)",
    ),
    "a power of 101": (body("inverse_power", timescale=9, power=101), "body.power", "(got 101)"),
    "a negative rate of time": (
        body("inverse_time", decay_steps=9, rate=-1),
        "body.rate",
        "Input should be greater than or equal to 0 (got -1)",
    ),
    "a staircase of 1": (
        body("inverse_time", decay_steps=9, rate=1, staircase=1),
        "body.staircase",
        "Input should be a valid boolean (got 1)",
    ),
    "milestones out of order": (
        multistep([50, 30], [0.1, 0.01]),
        "body.milestones",
        "30.0 does not come after 50.0: they must rise (got [50, 30])",
    ),
    "a milestone twice": (
        multistep([30, 30], [0.1, 0.01]),
        "body.milestones",
        "30.0 does not come after 30.0: they must rise",
    ),
    "a milestone at 0": (multistep([0], [0.1]), "body.milestones.0", f"{LENGTH} (got 0)"),
    "a milestone of text": (multistep([1, "x"], [1, 1]), "body.milestones.1", "'x' is no length"),
    "no milestones": (multistep([], [1]), "body.milestones", "at least 1 item"),
    "more milestones than allowed": (
        multistep(list(range(1, 10_002)), [0.1] * 10_001),
        "body.milestones",
        "at most 10000 items",
    ),
    "too few factors": (
        multistep([30, 60, 90], [0.1, 0.01]),
        "body.factors",
        "2 factors for 3 milestones: give one for each, or one more",
    ),
    "too many factors": (multistep([30], [1, 0.1, 0.01]), "body.factors", "3 factors for 1"),
    "a factor above the peak": (
        multistep([30], [1.5]),
        "body.factors.0",
        f"{BELOW_1} (got 1.5)",
    ),
    "factors that are no list": (multistep([30], 0.5), "body.factors", "(got 0.5)"),
    "gamma where nothing decays": (
        cyclic(gamma=0.5),
        "body.gamma",
        "0.5 has no meaning in mode triangular: leave it out",
    ),
    "gamma in triangular2": (cyclic(gamma=0.5, mode="triangular2"), "body.gamma", "triangular2"),
    "gamma above 1": (cyclic(gamma=2, mode="exp_range"), "body.gamma", f"{BELOW_1} (got 2)"),
    "an unknown mode": (cyclic(mode="sine"), "body.mode", "'exp_range' (got 'sine')"),
    "a cycle without a way up": (cyclic(up=0), "body.up", f"{LENGTH} (got 0)"),
    "a cycle without a way down": (cyclic(down=0), "body.down", f"{LENGTH} (got 0)"),
    "a base above the peak": (cyclic(base_factor=2), "body.base_factor", f"{BELOW_1} (got 2)"),
    "a first cycle of no length": (restarts(first_steps=0), "body.first_steps", LENGTH),
    "cycles that shrink": (
        restarts(t_mult=0.5),
        "body.t_mult",
        "Input should be greater than or equal to 1 (got 0.5)",
    ),
    "cycles that hardly grow": (
        restarts(t_mult=1.001),
        "body.t_mult",
        "it must be 1, or 1.01 and more (got 1.001)",
    ),
    "no cycles": (
        restarts(cycles=0),
        "body.cycles",
        "Input should be greater than or equal to 1 (got 0)",
    ),
    "peaks that grow": (restarts(m_mult=1.5), "body.m_mult", f"{BELOW_1} (got 1.5)"),
    "an empty table": (body("table", values=[]), "body.values", "at least 1 item"),
    "a table above the peak": (body("table", values=[1, 1.5]), "body.values.1", BELOW_1),
    "a table with NaN": (body("table", values=[1, math.nan]), "body.values.1", FINITE),
    "a table of text": (body("table", values="abc"), "body.values", "(got 'abc')"),
    "a table that is too long": (
        body("table", values=[1.0] * (MAX_VALUES + 1)),
        "body.values",
        "at most 1000000 items",
    ),
    "a warmup longer than the run": (
        warmup(steps=101),
        "warmup.steps",
        "101.0 is longer than the run: at most total_steps, 100",
    ),
    "a warmup of no length": (warmup(steps=0), "warmup.steps", f"{POSITIVE} (got 0)"),
    "a warmup of negative length": (warmup(steps=-5), "warmup.steps", f"{POSITIVE} (got -5)"),
    "a warmup of NaN": (warmup(steps=math.nan), "warmup.steps", f"{FINITE} (got nan)"),
    "a warmup beyond numbers": (warmup(steps=HUGE), "warmup.steps", NUMBER),
    "a warmup that starts above the peak": (
        warmup(start_factor=2),
        "warmup.start_factor",
        f"{BELOW_1} (got 2)",
    ),
    "an exponential warmup from 0": (
        warmup(start_factor=0, curve="exponential"),
        "warmup.start_factor",
        "0.0: an exponential warmup needs more than 0 and less than 1",
    ),
    "an exponential warmup from 1": (
        warmup(start_factor=1, curve="exponential"),
        "warmup.start_factor",
        "1.0: an exponential warmup needs",
    ),
    "an unknown way up": (
        warmup(curve="sqrt"),
        "warmup.curve",
        "Input should be 'linear', 'cosine', 'exponential' or 'logarithmic' (got 'sqrt')",
    ),
    "a way down used up": (warmup(curve="one_minus_sqrt"), "warmup.curve", "'one_minus_sqrt'"),
    "a warmup that is a number": ({"warmup": 5}, "warmup", "(got 5)"),
    "an unknown part of the warmup": (warmup(power=2), "warmup.power", "Extra inputs"),
    "a cooldown of no length": (cooldown(steps=0), "cooldown.steps", f"{LENGTH} (got 0)"),
    "a cooldown before the start": (
        cooldown(start=-1),
        "cooldown.start",
        "Input should be greater than or equal to 0 (got -1)",
    ),
    "a cooldown without a start": ({"cooldown": {"steps": 5}}, "cooldown.start", "Field required"),
    "an unknown way down": (cooldown(curve="exponential"), "cooldown.curve", "'power' (got 'exp"),
    "a power without its curve": (
        cooldown(power=2),
        "cooldown.power",
        "2.0 has no meaning for the curve 'linear': leave it out",
    ),
    "the curve without its power": (
        cooldown(curve="power"),
        "cooldown.power",
        "the curve 'power' needs one, more than 0 and at most 100",
    ),
    "a power of the cooldown of 0": (
        cooldown(curve="power", power=0),
        "cooldown.power",
        f"{POSITIVE} (got 0)",
    ),
    "an optimizer without a name": ({"optimizer": {}}, "optimizer.name", "Field required"),
    "no steps in an epoch": (
        {"context": {"steps_per_epoch": 0, "batch_size": 1}},
        "context.steps_per_epoch",
        "Input should be greater than or equal to 1 (got 0)",
    ),
    "a checksum point of one number": ({"checksum_points": [[0]]}, "checksum_points.0", "2 items"),
}


@pytest.mark.parametrize(("change", "field", "told"), BAD.values(), ids=BAD)
def test_a_bad_schedule_is_refused_by_field_value_and_what_is_allowed(change, field, told):
    with pytest.raises(InvalidScheduleError) as caught:
        lrtuner.load({**GOOD, **change})
    message = str(caught.value)
    assert f"config: {field}: " in message
    assert told in message
    assert not re.search(r"; [\w.]+: ", message), "one mistake is one complaint"
    assert len(message) < 500


REACTIVE = {"mode": "min", "monitor": "val_loss"}
BAD_PLATEAUS = {
    "no mode": ({"mode": None}, "body.mode", "Input should be 'min' or 'max' (got None)"),
    "a mode that guesses": ({"mode": "auto"}, "body.mode", "(got 'auto')"),
    "a factor of 1": ({"factor": 1.0}, "body.factor", "Input should be less than 1 (got 1.0)"),
    "a factor of 0": ({"factor": 0}, "body.factor", f"{POSITIVE} (got 0)"),
    "negative patience": ({"patience": -1}, "body.patience", "(got -1)"),
    "half patience": ({"patience": 1.5}, "body.patience", "Input should be a valid integer"),
    "a negative threshold": ({"threshold": -1}, "body.threshold", "(got -1)"),
    "a monitor that is code": ({"monitor": "x'); import os"}, "body.monitor", "should match"),
    "a floor above the peak": ({"min_factor": 2}, "body.min_factor", f"{BELOW_1} (got 2)"),
    "an offset": ({"offset": 1}, "body.offset", "Extra inputs are not permitted (got 1)"),
}


@pytest.mark.parametrize(("change", "field", "told"), BAD_PLATEAUS.values(), ids=BAD_PLATEAUS)
def test_a_bad_rule_is_refused_in_the_same_way(change, field, told):
    body = {"family": "plateau", **REACTIVE, **change}
    with pytest.raises(InvalidScheduleError) as caught:
        lrtuner.load({"kind": "reactive", "peak_lr": 0.1, "body": body})
    assert f"config: {field}: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"body": {"family": "plateau"}}, "body.mode"),
        ({"unit": "second"}, "unit"),
        ({"total_steps": 5}, "total_steps"),
        ({"body": {"family": "cosine", **REACTIVE}}, "body.family"),
    ],
)
def test_what_reacts_has_no_horizon_and_no_clock(change, field):
    body = {"family": "plateau", **REACTIVE}
    with pytest.raises(InvalidScheduleError, match=f"config: {field}: "):
        lrtuner.load({"kind": "reactive", "peak_lr": 0.1, "body": body, **change})


def test_two_mistakes_are_two_complaints():
    with pytest.raises(InvalidScheduleError) as caught:
        lrtuner.load({**GOOD, "peak_lr": -1, "unit": "batch"})
    assert "config: unit: " in str(caught.value)
    assert "; peak_lr: " in str(caught.value)


def test_many_mistakes_are_told_shortly():
    with pytest.raises(InvalidScheduleError, match="; and 9990 more") as caught:
        lrtuner.load({**GOOD, **body("table", values=[2.0] * 10_000)})
    assert len(str(caught.value)) < 1000


def test_every_family_refuses_what_it_does_not_know():
    for family in FAMILIES:
        with pytest.raises(InvalidScheduleError, match=r"body.zigzag: Extra inputs"):
            lrtuner.load({**GOOD, **body(family, zigzag=1)})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(
        [HUGE, -HUGE, "", "0.1dur", "5ep", "2h", "cosine", "linear", "noam", "\x00", "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "family", "steps", "curve"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FULL = {
    **GOOD,
    "unit": "step",
    "warmup": {"steps": 5, "start_factor": 0.1, "curve": "linear"},
    "body": {"family": "cyclic", "up": 5, "down": 5, "base_factor": 0.1},
    "cooldown": {"start": 80, "steps": 20, "curve": "power", "power": 2},
    "context": {"steps_per_epoch": 10, "batch_size": 8},
    "preset": {"name": "wsd", "warmup_steps": 5},
    "checksum_points": [[0, 0.01]],
}


@st.composite
def damaged(draw):
    """A schedule with one to three of its parts replaced or left out."""
    document = {
        name: dict(part) if isinstance(part, dict) else part
        for name, part in FULL.items()
        if name not in ("preset", "checksum_points") or draw(st.booleans())
    }
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from(sorted(document)))
        inside = document
        if isinstance(document[part], dict) and document[part] and draw(st.booleans()):
            inside, part = document[part], draw(st.sampled_from(sorted(document[part])))
        if draw(st.booleans()):
            inside[part] = draw(anything)
        else:
            del inside[part]
    return document


@settings(max_examples=500, deadline=None)
@given(document=damaged())
def test_whatever_is_given_it_loads_or_is_refused(document):
    try:
        schedule = lrtuner.load(document)
    except InvalidScheduleError:
        return
    assert lrtuner.load(schedule.document) == schedule
