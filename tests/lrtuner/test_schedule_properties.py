"""What holds for every schedule: all families, parameters, curves and floors, drawn at random.

The parameters are drawn from what the models themselves allow, extremes included, so that a new
family or a new bound is tested as it is written.
"""

import json
import math
import types
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

import lrtuner
from lrtuner.export import EXPORTERS, _formula
from lrtuner.schedules import FAMILIES
from lrtuner.schedules.grammar import Cooldown, Warmup

LONGEST = 300  # steps of a run that is looked at whole
BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length")


def constraints(metadata) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for piece in metadata:
        found |= constraints(piece.metadata) if isinstance(piece, FieldInfo) else {}
        found |= {name: getattr(piece, name) for name in BOUNDS if hasattr(piece, name)}
    return found


def numbers(told):
    """Usual and extreme numbers within the bounds: round ones too, which lie on boundaries."""
    low, high = told.get("ge", told.get("gt")), told.get("le", told.get("lt"))
    assert None not in (low, high), "a number without bounds"
    allowed = {"exclude_min": "gt" in told, "exclude_max": "lt" in told}
    anywhere = st.floats(low, high, allow_subnormal=False, **allowed)
    usual = st.integers(0, 3 * LONGEST).map(float) | st.integers(0, 30_000).map(lambda n: n / 100)
    if high <= 1000:
        return anywhere | st.sampled_from([low, high]).filter(lambda x: x != told.get("gt"))
    return usual.filter(lambda x: low <= x <= high and x != told.get("gt")) | anywhere


def drawn(annotation, metadata=()):
    """A strategy of what a field of that type and these constraints may be."""
    told = constraints(metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return drawn(arguments[0], (*arguments[1:], *metadata))
    if origin in (Union, types.UnionType):
        inner = [drawn(branch, metadata) for branch in arguments if branch is not type(None)]
        return st.one_of(st.none(), *inner)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[1] is ...:
        sizes = (told.get("min_length", 0), min(told.get("max_length", 6), 6))
        return st.lists(drawn(arguments[0]), min_size=sizes[0], max_size=sizes[1])
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        few = st.integers(told["ge"], min(told["le"], told["ge"] + 5))
        return few | st.integers(told["ge"], told["le"])
    if annotation is float:
        return numbers(told)
    raise NotImplementedError(f"no strategy for {annotation}")


@cache
def fields(model):
    """A strategy of the model's fields, each by itself."""
    return st.fixed_dictionaries(
        {name: drawn(info.annotation, info.metadata) for name, info in model.model_fields.items()}
    )


# Rules between the fields of a family: what was drawn is made to keep them.


def _multistep(body):
    milestones = sorted(set(body["milestones"]))
    factors = (body["factors"] * len(milestones))[: len(milestones)]
    return {**body, "milestones": milestones, "factors": factors}


def _cyclic(body):
    return {**body, "gamma": body["gamma"] if body["mode"] == "exp_range" else 1.0}


def _cosine_restarts(body):
    return {**body, "t_mult": body["t_mult"] if body["t_mult"] >= 1.01 else 1.0}


RULES = {"multistep": _multistep, "cyclic": _cyclic, "cosine_restarts": _cosine_restarts}


@cache
def bodies(family):
    return fields(FAMILIES[family]).map(RULES.get(family, lambda body: body))


UNITS = st.sampled_from(["step", "epoch", "second"])
PEAKS = st.floats(1e-12, 1e6)
FLOORS = st.just(0.0) | st.floats(0, 1)
SHARES = st.sampled_from([0.05, 0.1, 0.5, 1.0]) | st.floats(1e-9, 1)


@st.composite
def schedules(draw, family, totals):
    """A document of a schedule of that family."""
    total = draw(totals)
    document = {
        "unit": draw(UNITS),
        "total_steps": total,
        "peak_lr": draw(PEAKS),
        "body": draw(bodies(family)),
        "min_factor": draw(FLOORS),
    }
    if draw(st.booleans()):
        warmup = draw(fields(Warmup))
        if warmup["curve"] == "exponential":
            warmup["start_factor"] = min(max(warmup["start_factor"], 1e-300), 0.999)
        document["warmup"] = {**warmup, "steps": draw(SHARES) * total}
    if draw(st.booleans()):
        cooldown = draw(fields(Cooldown))
        power = cooldown.pop("power") or 2.0
        needed = {"power": power} if cooldown["curve"] == "power" else {}
        document["cooldown"] = {**cooldown, **needed}
    return document


SHORT = {family: schedules(family, st.integers(1, LONGEST)) for family in FAMILIES}
LONG = {family: schedules(family, st.integers(LONGEST, 1_000_000_000)) for family in FAMILIES}


def each_family(count, families=tuple(FAMILIES)):
    """Runs a test for each of the families, on so many schedules."""
    told = settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    return lambda test: pytest.mark.parametrize("family", families)(
        told(given(data=st.data())(test))
    )


@each_family(25)
def test_rates_are_finite_and_between_0_and_the_peak_and_held_at_the_end(family, data):
    schedule = lrtuner.load(data.draw(SHORT[family]))
    rates, end = schedule.values(), schedule.total_steps
    assert [schedule(t) for t in range(end)] == rates.tolist()
    rates = np.concatenate([rates, schedule([0.3, end - 0.5, end, end + 0.5, end + 1, 1e12])])
    assert np.all(np.isfinite(rates))
    assert np.all((rates >= 0) & (rates <= schedule.peak_lr))
    assert len(set(rates[-4:].tolist())) == 1
    assert rates[-1] == schedule(schedule.hold_step) <= schedule(end - 1)


@each_family(40, [name for name, body in FAMILIES.items() if body.monotone])
def test_a_monotone_family_never_rises(family, data):
    document = data.draw(SHORT[family])
    document.pop("cooldown", None)  # its end may be above the body's
    schedule = lrtuner.load(document)
    body = schedule.body.at(np.linspace(0.0, 3.0 * schedule.total_steps, 500))
    assert body[0] == 1.0
    assert np.all(np.diff(body) <= 1e-15)
    start = int(np.ceil(schedule.warmup.steps)) if schedule.warmup else 0
    assert np.all(np.diff(schedule.values()[start:]) <= 1e-15 * schedule.peak_lr)


@each_family(40)
def test_json_and_yaml_give_the_same_document_and_the_same_rates(family, data):
    schedule = lrtuner.load(data.draw(SHORT[family]))
    points = schedule.checkpoints()
    assert 1 <= len(points) <= 12
    assert [points[0][0], points[-1][0]] == [0, schedule.total_steps - 1]
    assert all(schedule(step) == rate for step, rate in points)
    schedule = schedule.model_copy(update={"checksum_points": points})
    by_json = lrtuner.load(json.loads(schedule.text()))
    by_yaml = lrtuner.load(yaml.safe_load(EXPORTERS["yaml"].render(schedule)))
    assert by_json == by_yaml == schedule
    assert by_json.text() == by_yaml.text() == schedule.text()
    assert by_json.values().tobytes() == schedule.values().tobytes()


@each_family(80)
def test_the_exported_formula_gives_the_same_rates(family, data):
    schedule = lrtuner.load(data.draw(SHORT[family]))
    assert _formula.error(schedule) <= _formula.EXACT_WITHIN


@each_family(4)
def test_the_exported_formula_gives_the_same_rates_over_long_runs(family, data):
    schedule = lrtuner.load(data.draw(LONG[family]))
    assert _formula.error(schedule) <= _formula.EXACT_WITHIN


def rounded(part, lengths):
    """Lengths as people write them; what lies on a boundary then does so at any scale."""

    def length(value):
        if isinstance(value, list):
            return sorted({length(item) for item in value})
        return min(max(round(value, 2), 0.01), 1e8)

    return part | {name: length(part[name]) for name in lengths}


@each_family(40)
def test_rescaling_keeps_the_shape(family, data):
    document = data.draw(SHORT[family])
    for name, lengths in {"body": FAMILIES[family].lengths, "cooldown": ("start", "steps")}.items():
        if name in document:
            document[name] = rounded(document[name], lengths)
    document["body"]["offset"] = min(document["body"]["offset"], 10**8)
    if family == "multistep":
        document["body"] = _multistep(document["body"])
    if document.get("warmup", {}).get("curve") == "logarithmic":
        del document["warmup"]  # ln(t + 1) has a scale of its own
    schedule = lrtuner.load(document)
    times = data.draw(st.integers(2, 5))
    longer = schedule.rescaled(times * schedule.total_steps)
    back = longer.rescaled(schedule.total_steps)
    steps = np.arange(schedule.total_steps, dtype=np.float64)
    close = {"rtol": 0, "atol": 1e-7 * schedule.peak_lr}
    np.testing.assert_allclose(longer(times * steps), schedule(steps), **close)
    np.testing.assert_allclose(back(steps), schedule(steps), **close)
    assert lrtuner.load(longer.document) == longer


def test_a_warmup_as_long_as_the_run_still_fits_when_rescaled():
    parts = {"peak_lr": 0.1, "warmup": {"steps": 7}, "body": {"family": "constant"}}
    longer = lrtuner.load({"total_steps": 7, **parts}).rescaled(29)  # 7 * (29 / 7) > 29
    assert lrtuner.load(longer.document).warmup.steps == 29.0


DECIMALS = ["0.1", "0.3", "0.7", "1.1", "2.3", "4.9", "9.7", "14.3"]


@pytest.mark.parametrize("warmup", ["0", "0.1", "3.3", "14.3"])
@pytest.mark.parametrize("period", DECIMALS)
def test_boundaries_said_in_decimals_are_exact(period, warmup):
    def rates(family, **parameters):
        ramp = {"steps": float(warmup)} if float(warmup) else None
        parts = {"total_steps": 200, "peak_lr": 1.0, "warmup": ramp}
        return lrtuner.load({**parts, "body": {"family": family, **parameters}})(steps)

    steps = np.arange(15, 200)
    exact = [(Fraction(int(t)) - Fraction(warmup)) / Fraction(period) for t in steps]
    periods = np.array([math.floor(share) for share in exact])
    length = float(period)
    assert rates("step", every=length, rate=0.99) == pytest.approx(0.99**periods)
    found = rates("inverse_time", decay_steps=length, rate=1.0, staircase=True)
    assert found == pytest.approx(1 / (1.0 + periods))
    milestones = [float(k * Fraction(period)) for k in range(1, 2001)]
    found = rates("multistep", milestones=milestones, factors=[1 / k for k in range(2, 2002)])
    assert found == pytest.approx(1 / (1.0 + periods))
    u = np.array([float(share) for share in exact]) - periods
    found = rates("cosine_restarts", first_steps=length, m_mult=0.99)
    assert found == pytest.approx(0.99**periods * (1 + np.cos(np.pi * u)) / 2, abs=1e-9)


@pytest.mark.parametrize("first", DECIMALS)
def test_growing_cycles_begin_where_their_exact_sums_do(first):
    body = {"family": "cosine_restarts", "first_steps": float(first), "t_mult": 3}
    schedule = lrtuner.load({"total_steps": 50_000, "peak_lr": 1.0, "body": body})
    starts = [Fraction(first) * (3**i - 1) / 2 for i in range(12)]
    whole = [int(start) for start in starts if start.denominator == 1 and start < 50_000]
    assert len(whole) > 1
    assert schedule(whole) == pytest.approx(1.0, abs=1e-12)


def test_a_parameter_of_unknown_kind_has_no_strategy():
    with pytest.raises(NotImplementedError):
        drawn(complex)
    with pytest.raises(AssertionError, match="without bounds"):
        drawn(float)
