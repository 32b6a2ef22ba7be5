"""The contract of a schedule family: every family through the same tests."""

import bisect
import math
import pkgutil

import numpy as np
import pytest

import lrtuner.schedules
from lrtuner.candidates import family_space, to_schedule
from lrtuner.document import load
from lrtuner.schedules import FAMILIES, SEARCHED
from lrtuner.schedules.curves import COOLDOWNS, WARMUPS
from lrtuner.schedules.grammar import Cooldown, Schedule, Warmup
from tests.conformance.samples import SAMPLES, config

every_sample = pytest.mark.parametrize("schedule", SAMPLES.values(), ids=SAMPLES)
every_family = pytest.mark.parametrize("family", FAMILIES)


def test_every_module_is_a_registered_family():
    modules = {module.name for module in pkgutil.iter_modules(lrtuner.schedules.__path__)}
    others = {"_base", "grammar", "curves", "inputs", "relative", "presets", "plateau"}
    assert modules - others == set(FAMILIES)


def test_the_curves_the_grammar_accepts_are_the_registered_ones():
    for model, curves in ((Warmup, WARMUPS), (Cooldown, COOLDOWNS)):
        assert set(model.model_json_schema()["properties"]["curve"]["enum"]) == set(curves)


@pytest.mark.parametrize("curve", [*WARMUPS.values(), *COOLDOWNS.values()])
def test_a_curve_is_monotone_between_0_and_1_and_its_source_says_the_same(curve):
    u = np.linspace(0.0, 1.0, 101)
    p = {"start_factor": 0.03, "steps": 7.5, "power": 2.5}.get(curve.parameter, 0.0)
    values = curve(u, p)
    ends = sorted([values[0], values[-1]])
    assert ends == pytest.approx([0.0, 1.0], abs=1e-15)
    assert np.all(np.diff(values) >= 0) or np.all(np.diff(values) <= 0)
    source = curve.expression.format(p=p)
    sourced = [eval(source, {"math": math, "u": float(x)}) for x in u]
    np.testing.assert_allclose(sourced, values, rtol=0, atol=1e-15)


@every_sample
def test_rates_are_finite_and_never_negative(schedule):
    values = schedule.values()
    assert values.shape == (schedule.total_steps,)
    assert values.dtype == np.float64
    assert np.all(np.isfinite(values))
    assert np.all(values >= 0)


@every_sample
def test_one_step_and_all_steps_agree_bit_for_bit(schedule):
    assert [schedule(t) for t in range(schedule.total_steps)] == schedule.values().tolist()


@every_sample
def test_after_the_end_the_rate_holds_and_does_not_rebound(schedule):
    end = schedule.total_steps
    held = schedule(end)
    assert held <= schedule(end - 1)
    assert all(schedule(end + k) == held for k in (1, 2, 10, 1000, 10**9))


@every_sample
def test_json_round_trip_gives_the_same_schedule_and_the_same_rates(schedule):
    again = Schedule.model_validate_json(schedule.model_dump_json())
    assert again == schedule
    assert again.values().tolist() == schedule.values().tolist()
    assert load(config(schedule).document)(0) == schedule(0)


@every_sample
def test_the_body_as_source_says_the_same_as_the_formula(schedule):
    tau = np.linspace(0, 2.0 * schedule.total_steps, 57)
    code = compile("\n".join(schedule.body.statements(tau[-1])), "body", "exec")
    sourced = []
    for x in tau:
        names = {"math": math, "bisect": bisect, "tau": float(x)}
        exec(code, names)
        sourced.append(names["v"])
    np.testing.assert_allclose(sourced, schedule.body.at(tau), rtol=1e-12, atol=1e-15)


@every_sample
def test_rescaling_keeps_the_shape(schedule):
    if schedule.warmup and schedule.warmup.curve == "logarithmic":
        schedule = schedule.model_copy(update={"warmup": None})  # it is ln(t + 1): not scale-free
    longer = schedule.rescaled(3 * schedule.total_steps)
    assert longer.total_steps == 3 * schedule.total_steps
    steps = np.arange(schedule.total_steps)
    np.testing.assert_allclose(longer(3.0 * steps), schedule(steps), rtol=1e-9, atol=1e-12)


@every_sample
def test_checkpoints_are_true_and_include_both_ends(schedule):
    points = schedule.checkpoints()
    assert 1 <= len(points) <= 12
    assert points[0][0] == 0
    assert points[-1][0] == schedule.total_steps - 1
    assert all(schedule(step) == rate for step, rate in points)


@pytest.mark.parametrize("family", SEARCHED)
@pytest.mark.parametrize("u", [0.0, 0.25, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.2])
def test_every_point_of_the_space_is_a_schedule_that_reaches_its_peak(family, u, warmup):
    point = {name: span.at(u) for name, span in family_space(family).items()}
    schedule = to_schedule(
        {"family": family, "peak_lr": 0.3, "warmup_fraction": warmup, **point}, 200
    )
    values = schedule.values()
    peak = round(warmup * 200)
    assert np.max(values) == pytest.approx(0.3, rel=0.03)
    assert values[0] > 0
    assert (schedule.warmup is None) == (peak == 0 or FAMILIES[family].rises)
    if schedule.warmup:
        assert np.all(np.diff(values[:peak]) > 0)
    if FAMILIES[family].monotone:
        assert values[peak] == pytest.approx(0.3)
        assert np.all(np.diff(values[peak:]) <= 1e-15)


@every_sample
def test_the_body_starts_at_the_peak_and_falls_if_the_family_says_so(schedule):
    values = schedule.body.at(np.linspace(0, 2.0 * schedule.total_steps, 500))
    assert np.all((values >= 0) & (values <= 1))
    if schedule.body.monotone:
        assert values[0] == 1.0
        assert np.all(np.diff(values) <= 1e-15)


@every_family
def test_the_docstring_gives_the_formula(family):
    assert "v(tau) =" in (FAMILIES[family].__doc__ or "")


# Values published for the grammar (peak 0.1; `w` is linear warmup of 10 steps from 0.1).
W = {"steps": 10.0, "start_factor": 0.1, "curve": "linear"}
GOLDEN = {
    "w + polynomial p2": (
        {"body": {"family": "polynomial", "decay_steps": 90.0, "power": 2.0, "end_factor": 0.01}},
        [0.01, 0.055, 0.091, 0.1, 0.0315555555556, 0.00588888888889, 0.00101222222222, 0.001],
    ),
    "w + linear": (
        {"body": {"family": "polynomial", "decay_steps": 90.0}},
        [0.01, 0.055, 0.091, 0.1, 0.0555555555556, 0.0222222222222, 0.00111111111111, 0.0],
    ),
    "w + cosine": (
        {"body": {"family": "cosine", "decay_steps": 90.0, "end_factor": 0.01}},
        [0.01, 0.055, 0.091, 0.1, 0.0590955847945, 0.0125808000656, 0.00103015406255, 0.001],
    ),
    "w + stable + linear cooldown": (
        {"body": {"family": "constant"}, "cooldown": {"start": 80.0, "steps": 20.0}},
        [0.01, 0.055, 0.091, 0.1, 0.1, 0.1, 0.005, 0.0],
    ),
    "w + stable + 1-sqrt cooldown": (
        {
            "body": {"family": "constant"},
            "cooldown": {"start": 80.0, "steps": 20.0, "curve": "one_minus_sqrt"},
        },
        [0.01, 0.055, 0.091, 0.1, 0.1, 0.1, 0.00253205655191, 0.0],
    ),
    "exponential": (
        {"total_steps": 200, "warmup": None, "body": {"family": "exponential", "decay_steps": 20.0, "rate": 0.5}},
        [0.1, 0.0840896415254, 0.0732042847973, 0.0707106781187, 0.0176776695297, 0.00625, 0.003235202887, 0.0015625],
    ),
    "step": (
        {"total_steps": 200, "warmup": None, "body": {"family": "step", "every": 10.0, "rate": 0.5}},
        [0.1, 0.1, 0.1, 0.05, 0.003125, 0.000390625, 0.0001953125, 2.44140625e-05],
    ),
    "step, offset 1": (
        {"total_steps": 200, "warmup": None, "body": {"family": "step", "every": 10.0, "rate": 0.5, "offset": 1}},
        [0.1, 0.1, 0.05, 0.05, 0.003125, 0.000390625, 9.765625e-05, 2.44140625e-05],
    ),
    "inverse time": (
        {"total_steps": 200, "warmup": None, "body": {"family": "inverse_time", "decay_steps": 20.0, "rate": 0.5}},
        [0.1, 0.0888888888889, 0.0816326530612, 0.08, 0.0444444444444, 0.0333333333333, 0.0287769784173, 0.025],
    ),
    "w + inverse square root": (
        {"total_steps": 200, "body": {"family": "inverse_power", "timescale": 10.0}},
        [0.01, 0.055, 0.091, 0.1, 0.04472135955, 0.0353553390593, 0.0317820863082, 0.0288675134595],
    ),
    "cosine restarts, doubling": (
        {"total_steps": 200, "warmup": None, "body": {"family": "cosine_restarts", "first_steps": 10.0, "t_mult": 2.0}},
        [0.1, 0.05, 0.00244717418524, 0.1, 0.05, 0.0961939766256, 0.0709329868769, 0.0308658283817],
    ),
    "cyclic, triangular2": (
        {
            "total_steps": 200,
            "warmup": None,
            "body": {"family": "cyclic", "up": 20.0, "down": 30.0, "base_factor": 0.1, "mode": "triangular2"},
        },
        [0.01, 0.0325, 0.0505, 0.055, 0.01, 0.04, 0.0115, 0.0325],
    ),
    "one cycle": (
        {
            "warmup": {"steps": 29.0, "start_factor": 0.04, "curve": "cosine"},
            "body": {"family": "cosine", "decay_steps": 70.0, "end_factor": 1 / 25e4},
        },
        [0.004, 0.010870855544, 0.0250630208626, 0.0295163948464, 0.0793893450576, 0.0171033952908, 4e-07, 4e-07],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "rates"), GOLDEN.values(), ids=GOLDEN)
def test_golden_values(parts, rates):
    schedule = Schedule.model_validate({"total_steps": 100, "peak_lr": 0.1, "warmup": W, **parts})
    np.testing.assert_allclose(schedule([0, 5, 9, 10, 50, 80, 99, 120]), rates, rtol=1e-11)
