"""Everything that the four founding articles (A to D) describe, with its own numbers.

A formula is written out by hand, next to the schedule that is to say the same. What is no schedule
but a claim is a test of what the product makes of it. `ROWS` is the list; the last test compares.
"""

import math
import warnings
from typing import Any

import numpy as np
import pytest

import lrtuner
from lrtuner.candidates import constant, family_space, linear_to_zero, search_space, to_schedule
from lrtuner.job import JobSpec, RangeTest
from lrtuner.range_test import sweep_rates
from lrtuner.schedules import SEARCHED

WITHIN = 1e-15  # of the peak: a few roundings

ROWS = {
    "A-step-decay": "a drop by a factor every few epochs, the epoch counted from 1",
    "A-halve-every-5-epochs": "two usual choices: half every 5, a tenth every 20 epochs",
    "A-exponential": "e to the minus d t",
    "A-tensorflow-exponential-decay": "decay_rate to the step / decay_steps, or in a staircase",
    "A-time-decay": "one over 1 + d t, t counting iterations",
    "A-tensorflow-inverse-time-decay": "the same in units of decay_steps, or in a staircase",
    "A-adaptive-methods": "optimizers that adapt the rate are said to do better than schedules",
    "A-step-decay-preferred": "step decay is said to be the best, and better than a constant",
    "B-magnitude": "too large a rate diverges, too small a one is slow",
    "B-slower-than-inverse-square-root": "decay may have to be slower than t to the -1/2",
    "B-square-root-scheduler": "one over the root of t + 1",
    "B-factor-scheduler": "multiply at each call, down to a smallest rate",
    "B-multi-factor-scheduler": "a drop at each of some milestones",
    "B-cosine-scheduler": "half a cosine to a final rate, which then stays",
    "B-warmup": "a straight line up to the base before anything else",
    "B-cyclical-and-averaging": "up and down again; averaging the weights on the way",
    "B-step-every-epoch-or-two": "the same step decay at other periods and factors",
    "B-plateau": "a tenth once the metric stops improving, without patience",
    "B-scikit-learn": "constant, and eta0 / t^power_t, where deep learning has more",
    "C-step-decay": "half every 3 epochs, and what a program printed along the way",
    "C-exponential": "a constant factor per epoch",
    "C-half-every-ten-minutes": "drops by the clock on the wall",
    "C-cosine-annealing": "a cosine down, and again from the top",
    "C-plateau": "less when a monitored metric does not improve",
    "C-one-cycle": "up once and far down once",
    "C-cyclic": "between two bounds, in three ways",
    "C-finder": "raise the rate while watching the loss",
    "C-warmup": "small rates first, then as usual",
    "C-ranger": "an optimizer that is said to join one-cycle and cyclic rates",
    "D-four-decays": "step, exponential, polynomial and cosine",
    "D-keras-exponential-staircase": "0.96 every 100,000 steps, from 0.1",
    "D-any-optimizer": "schedules go with every optimizer; which is best depends on the problem",
}

COVERED: set[str] = set()


def row(name):
    """Marks the test of a row: its id carries the name."""
    COVERED.add(name)
    return pytest.mark.parametrize("row", [name])


FORMULAS: list[Any] = []


def formula(name, document, rate, *, steps=200):
    """The rate at each t, in plain arithmetic, and the document that says the same."""
    COVERED.add(name.partition(" ")[0])
    parts = {"total_steps": steps, "peak_lr": 0.1, **document}
    FORMULAS.append(pytest.param(parts, rate, id=name))


EPOCHS = {"unit": "epoch"}

formula(
    "A-step-decay",
    {**EPOCHS, "body": {"family": "step", "every": 10, "rate": 0.5, "offset": 1}},
    lambda t: 0.1 * 0.5 ** math.floor((1 + t) / 10),
)
formula(
    "A-halve-every-5-epochs",
    {**EPOCHS, "body": {"family": "step", "every": 5, "rate": 0.5}},
    lambda t: 0.1 * 0.5 ** (t // 5),
)
formula(
    "A-halve-every-5-epochs or a tenth every 20",
    {**EPOCHS, "body": {"family": "step", "every": 20, "rate": 0.1}},
    lambda t: 0.1 * 0.1 ** (t // 20),
)
formula(
    "A-exponential",
    {"body": {"family": "exponential", "decay_steps": 1, "rate": math.exp(-0.03)}},
    lambda t: 0.1 * math.exp(-0.03 * t),
)
formula(
    "A-exponential said by its time constant",
    {"body": {"family": "exponential", "decay_steps": 1 / 0.03, "rate": 1 / math.e}},
    lambda t: 0.1 * math.exp(-0.03 * t),
)
formula(
    "A-tensorflow-exponential-decay",
    {"body": {"family": "exponential", "decay_steps": 30, "rate": 0.9}},
    lambda t: 0.1 * 0.9 ** (t / 30),
)
formula(
    "A-tensorflow-exponential-decay staircase",
    {"body": {"family": "step", "every": 30, "rate": 0.9}},
    lambda t: 0.1 * 0.9 ** (t // 30),
)
formula(
    "A-time-decay",
    {"body": {"family": "inverse_time", "decay_steps": 1, "rate": 0.02}},
    lambda t: 0.1 / (1 + 0.02 * t),
)
formula(
    "A-tensorflow-inverse-time-decay",
    {"body": {"family": "inverse_time", "decay_steps": 30, "rate": 0.5}},
    lambda t: 0.1 / (1 + 0.5 * t / 30),
)
formula(
    "A-tensorflow-inverse-time-decay staircase",
    {"body": {"family": "inverse_time", "decay_steps": 30, "rate": 0.5, "staircase": True}},
    lambda t: 0.1 / (1 + 0.5 * (t // 30)),
)
formula(
    "B-slower-than-inverse-square-root",
    {"body": {"family": "inverse_power", "timescale": 1, "power": 0.3}},
    lambda t: 0.1 * (t + 1) ** -0.3,
)
formula(
    "B-square-root-scheduler",
    {"body": {"family": "inverse_power", "timescale": 1, "power": 0.5}},
    lambda t: 0.1 * (t + 1.0) ** -0.5,
)
formula(
    "B-multi-factor-scheduler",
    {**EPOCHS, "body": {"family": "multistep", "milestones": [15, 30], "factors": [0.5, 0.25]}},
    lambda t: 0.1 * 0.5 ** ((t >= 15) + (t >= 30)),
)
formula(
    "B-cosine-scheduler",
    {**EPOCHS, "body": {"family": "cosine", "decay_steps": 20, "end_factor": 0.1}},
    lambda t: 0.01 + (0.1 - 0.01) * (1 + math.cos(math.pi * min(t, 20) / 20)) / 2,
)
formula(
    "B-warmup",
    {
        "warmup": {"steps": 5, "start_factor": 0.01 / 0.1},
        "body": {"family": "cosine", "decay_steps": 20, "end_factor": 0.1},
    },
    lambda t: (
        0.01 + (0.1 - 0.01) * t / 5
        if t < 5
        else 0.01 + (0.1 - 0.01) * (1 + math.cos(math.pi * min(t - 5, 20) / 20)) / 2
    ),
)
formula(
    "B-cyclical-and-averaging",
    {
        "body": {"family": "constant"},
        "cooldown": {"start": 100, "steps": 10, "end_factor": 0.2, "curve": "cosine"},
    },
    lambda t: 0.02 + 0.08 * (1 + math.cos(math.pi * min(max(t - 100, 0) / 10, 1))) / 2,
)
formula(
    "B-step-every-epoch-or-two every epoch",
    {**EPOCHS, "body": {"family": "step", "every": 1, "rate": 0.1}},
    lambda t: 0.1 * 0.1**t,
    steps=20,
)
formula(
    "B-step-every-epoch-or-two every other epoch",
    {**EPOCHS, "body": {"family": "step", "every": 2, "rate": 0.1}},
    lambda t: 0.1 * 0.1 ** (t // 2),
    steps=20,
)
formula(
    "B-step-every-epoch-or-two by a larger factor",
    {**EPOCHS, "body": {"family": "step", "every": 2, "rate": 0.96}},
    lambda t: 0.1 * 0.96 ** (t // 2),
)
formula(
    "B-scikit-learn",
    {"body": {"family": "inverse_power", "timescale": 1, "power": 0.25}},
    lambda t: 0.1 / (t + 1) ** 0.25,  # its t counts from 1
)
formula("B-scikit-learn constant", {"body": {"family": "constant"}}, lambda t: 0.1)
formula(
    "C-step-decay",
    {**EPOCHS, "body": {"family": "step", "every": 3, "rate": 0.5}},
    lambda t: [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125][t],
    steps=10,
)
formula(
    "C-exponential",
    {**EPOCHS, "body": {"family": "exponential", "decay_steps": 1, "rate": 0.9}},
    lambda t: 0.1 * 0.9**t,
)
formula(
    "C-half-every-ten-minutes",
    {"unit": "second", "body": {"family": "step", "every": "10min", "rate": 0.5}},
    lambda t: 0.1 * 0.5 ** (t // 600),
    steps=3600,
)
formula(
    "C-cosine-annealing",
    {"body": {"family": "cosine", "decay_steps": 200}},
    lambda t: 0.1 * (1 + math.cos(math.pi * t / 200)) / 2,
)
formula(
    "C-cosine-annealing before cycling again",
    {"body": {"family": "cosine_restarts", "first_steps": 50}},
    lambda t: 0.1 * (1 + math.cos(math.pi * (t % 50) / 50)) / 2,
)


def _one_cycle(t):
    top = 0.3 * 200 - 1
    if t <= top:
        return 0.1 + (0.004 - 0.1) * (1 + math.cos(math.pi * t / top)) / 2
    low = 0.004 / 1e4
    return low + (0.1 - low) * (1 + math.cos(math.pi * (t - top) / (199 - top))) / 2


formula("C-one-cycle", {"preset": "one_cycle"}, _one_cycle)


def _triangle(t):
    return 1 - abs(t % 40 - 20) / 20


formula(
    "C-cyclic",
    {"body": {"family": "cyclic", "up": 20, "base_factor": 0.1}},
    lambda t: 0.01 + 0.09 * _triangle(t),
)
formula(
    "C-cyclic halving",
    {"body": {"family": "cyclic", "up": 20, "base_factor": 0.1, "mode": "triangular2"}},
    lambda t: 0.01 + 0.09 * _triangle(t) / 2 ** (t // 40),
)
formula(
    "C-cyclic decaying",
    {
        "body": {
            "family": "cyclic",
            "up": 20,
            "base_factor": 0.1,
            "mode": "exp_range",
            "gamma": 0.99,
        }
    },
    lambda t: 0.01 + 0.09 * _triangle(t) * 0.99**t,
)
formula(
    "C-warmup",
    {
        "warmup": {"steps": 9},
        "body": {"family": "exponential", "decay_steps": 1, "rate": 0.98},
    },
    lambda t: 0.1 * (t + 1) / 10 if t < 9 else 0.1 * 0.98 ** (t - 9),
)
formula(
    "C-ranger",  # 100 steps up to the top, 156 there, and the last 344 down
    {"total_steps": 500, "preset": {"name": "ranger21", "beta2": 0.98}},
    lambda t: min(0.1 * (t + 1) / 100, 0.1 - (0.1 - 3e-5) * max(t + 2 - 360, 0) / (500 - 360 + 1)),
    steps=500,
)
formula(
    "D-four-decays polynomial",
    {"body": {"family": "polynomial", "decay_steps": 200, "power": 2}},
    lambda t: 0.1 * (1 - t / 200) ** 2,
)
formula(
    "D-four-decays step",
    {"body": {"family": "step", "every": 50, "rate": 0.1}},
    lambda t: 0.1 * 0.1 ** (t // 50),
)
formula(
    "D-four-decays exponential",
    {"body": {"family": "exponential", "decay_steps": 1, "rate": 0.95}},
    lambda t: 0.1 * 0.95**t,
)
formula(
    "D-four-decays cosine",
    {"body": {"family": "cosine", "decay_steps": 200, "end_factor": 0.01}},
    lambda t: 0.001 + 0.099 * (1 + math.cos(math.pi * t / 200)) / 2,
)


@pytest.mark.parametrize(("document", "rate"), FORMULAS)
def test_the_schedule_is_the_formula(document, rate):
    schedule = lrtuner.load(document)
    expected = [rate(t) for t in range(schedule.total_steps)]
    np.testing.assert_allclose(schedule.values(), expected, rtol=0, atol=WITHIN * 0.1)
    assert schedule.unit == document.get("unit", "step")


@row("A-step-decay")
def test_counting_from_1_makes_the_first_period_a_step_shorter(row):
    body = {"family": "step", "every": 10, "rate": 0.5, "offset": 1}
    rates = lrtuner.load(
        {"unit": "epoch", "total_steps": 35, "peak_lr": 0.1, "body": body}
    ).values()
    assert [t for t in range(1, 35) if rates[t] != rates[t - 1]] == [9, 19, 29]
    assert rates[[0, 9, 19, 29]].tolist() == [0.1, 0.05, 0.025, 0.0125]


@row("D-keras-exponential-staircase")
def test_the_staircase_drops_at_100000_and_200000(row):
    body = {"family": "step", "every": 100_000, "rate": 0.96}
    schedule = lrtuner.load({"total_steps": 300_000, "peak_lr": 0.1, "body": body})
    steps = [0, 99_999, 100_000, 199_999, 200_000, 299_999]
    expected = [0.1, 0.1, 0.1 * 0.96, 0.1 * 0.96, 0.1 * 0.96**2, 0.1 * 0.96**2]
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-15)
    assert len(set(schedule.values().tolist())) == 3


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("call", "body"),
    [
        pytest.param(
            lambda k: k.ExponentialDecay(0.1, 100000, 0.96, staircase=True),
            {"family": "step", "every": 100_000, "rate": 0.96},
            id="D-keras-exponential-staircase",
        ),
        pytest.param(
            lambda k: k.ExponentialDecay(0.1, decay_steps=1000, decay_rate=0.96),
            {"family": "exponential", "decay_steps": 1000, "rate": 0.96},
            id="A-tensorflow-exponential-decay",
        ),
        pytest.param(
            lambda k: k.InverseTimeDecay(0.1, decay_steps=1000, decay_rate=0.5),
            {"family": "inverse_time", "decay_steps": 1000, "rate": 0.5},
            id="A-tensorflow-inverse-time-decay",
        ),
        pytest.param(
            lambda k: k.InverseTimeDecay(0.1, 1000, 0.5, staircase=True),
            {"family": "inverse_time", "decay_steps": 1000, "rate": 0.5, "staircase": True},
            id="A-tensorflow-inverse-time-decay staircase",
        ),
    ],
)
def test_the_calls_to_keras_give_the_same(call, body):
    keras = pytest.importorskip("keras")
    native = call(keras.optimizers.schedules)
    schedule = lrtuner.load({"total_steps": 300_000, "peak_lr": 0.1, "body": body})
    steps = [0, 1, 999, 1000, 1999, 2000, 54_321, 99_999, 100_000, 199_999, 200_000, 299_999]
    expected = [float(native(step)) for step in steps]
    np.testing.assert_allclose(schedule(steps), expected, rtol=0, atol=2e-6 * 0.1)


@row("A-adaptive-methods")
def test_an_adaptive_optimizer_is_named_in_the_config_and_kept(row):
    optimizer = {"name": "adamw", "args": {"betas": [0.9, 0.99], "weight_decay": 0.05}}
    document = {"total_steps": 9, "peak_lr": 0.1, "body": {"family": "constant"}}
    loaded = lrtuner.load({**document, "optimizer": optimizer})
    assert loaded.document["optimizer"] == optimizer
    assert lrtuner.load(loaded.document).optimizer == loaded.optimizer


@row("A-step-decay-preferred")
def test_that_step_decay_beats_a_constant_is_measured_not_believed(row):
    assert {"step", "constant"} <= set(SEARCHED)
    assert set(to_schedule(constant(0.1), 100).values().tolist()) == {0.1}
    assert to_schedule(linear_to_zero(0.1), 100).values()[-1] < 0.1 / 50


@row("B-magnitude")
def test_the_peak_is_searched_between_given_bounds(row):
    peak = search_space(SEARCHED, (1e-4, 1.0)).shared["peak_lr"]
    assert [peak.at(u) for u in (0.0, 0.5, 1.0)] == pytest.approx([1e-4, 1e-2, 1.0])
    schedules = [to_schedule(constant(peak.at(u)), 10) for u in (0.0, 1.0)]
    assert [schedule(0) for schedule in schedules] == pytest.approx([1e-4, 1.0])


@row("B-slower-than-inverse-square-root")
def test_powers_below_a_half_are_searched(row):
    power = family_space("inverse_power")["inverse_power.power"]
    assert power.at(0.0) < 0.5 < power.at(1.0)


@row("B-factor-scheduler")
def test_a_factor_per_call_down_to_a_smallest_rate(row):
    rate, rates = 2.0, []
    for _ in range(60):  # the first call already multiplies
        rate = max(1e-2, rate * 0.9)
        rates.append(rate)
    body = {"family": "exponential", "decay_steps": 1, "rate": 0.9, "offset": 1}
    floor = {"min_factor": 1e-2 / 2.0}
    schedule = lrtuner.load({"total_steps": 60, "peak_lr": 2.0, "body": body, **floor})
    np.testing.assert_allclose(schedule.values(), rates, rtol=0, atol=WITHIN * 2.0)
    assert rates[-1] == schedule(59) == schedule(10**6) == 1e-2


@row("B-multi-factor-scheduler")
def test_after_the_last_milestone_the_rate_does_not_return(row):
    body = {"family": "multistep", "milestones": [15, 30], "factors": [0.5, 0.25]}
    schedule = lrtuner.load({"total_steps": 60, "peak_lr": 0.5, "body": body})
    assert np.all(np.diff(schedule.values()) <= 0)
    assert schedule(30) == schedule(59) == schedule(1000) == 0.125


@row("B-cosine-scheduler")
def test_the_final_rate_stays(row):
    body = {"family": "cosine", "decay_steps": 20, "end_factor": 0.01 / 0.3}
    schedule = lrtuner.load({"total_steps": 20, "peak_lr": 0.3, "body": body})
    assert schedule([20, 21, 40, 1000]) == pytest.approx([0.01] * 4, rel=1e-15)


@row("B-warmup")
def test_a_warmup_begins_above_0_unless_told(row):
    parts = {"total_steps": 100, "peak_lr": 0.3, "body": {"family": "constant"}}
    assert lrtuner.load({**parts, "warmup": {"steps": 5}})(0) == pytest.approx(0.3 / 6)
    assert lrtuner.load({**parts, "warmup": {"steps": 5, "start_factor": 0}})(0) == 0.0


@row("B-cyclical-and-averaging")
def test_the_way_to_a_constant_rate_for_averaging_is_a_preset(row):
    preset = {"name": "swa", "swa_lr": 0.02, "start": 100, "anneal_steps": 10}
    schedule = lrtuner.load({"total_steps": 200, "peak_lr": 0.1, "preset": preset})
    assert schedule([99, 105, 110, 199]) == pytest.approx([0.1, 0.06, 0.02, 0.02], rel=1e-15)
    assert {"cyclic", "cosine_restarts"} <= set(SEARCHED)


def plateau(**settings):
    body = {"family": "plateau", "mode": "min", "monitor": "val_loss", **settings}
    return lrtuner.load({"kind": "reactive", "peak_lr": 0.1, "body": body}).body


@row("B-plateau")
def test_without_patience_every_value_that_is_no_better_counts(row):
    rule = plateau(factor=0.1, patience=0)
    factors = rule.factors([1.0, 0.9, 0.9, 0.8, 0.8])
    assert factors == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01])


@row("C-plateau")
@pytest.mark.parametrize("needed", ["mode", "monitor"])
def test_what_is_monitored_and_which_way_is_better_must_be_said(row, needed):
    body = {"family": "plateau", "mode": "max", "monitor": "val_accuracy"}
    assert lrtuner.load({"kind": "reactive", "peak_lr": 0.1, "body": body}).body.mode == "max"
    del body[needed]
    with pytest.raises(ValueError, match=f"body.{needed}"):
        lrtuner.load({"kind": "reactive", "peak_lr": 0.1, "body": body})


@row("C-step-decay")
def test_the_printed_rate_is_the_one_in_use(row):
    torch = pytest.importorskip("torch")
    scheduler = pytest.importorskip("lrtuner.integrations.torch").scheduler

    def printed(make, rate):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        made, told = make(optimizer), []
        for _ in range(10):
            optimizer.step()
            told.append(rate(made))
            made.step()
        return told

    body = {"family": "step", "every": 3, "rate": 0.5}
    schedule = lrtuner.load({"unit": "epoch", "total_steps": 10, "peak_lr": 0.1, "body": body})
    in_use = schedule.values().tolist()
    native = torch.optim.lr_scheduler
    with warnings.catch_warnings():  # torch warns that this is not for printing
        warnings.simplefilter("ignore")
        wrong = printed(lambda o: native.StepLR(o, 3, 0.5), lambda made: made.get_lr()[0])
    assert wrong[:6] == pytest.approx([0.1, 0.1, 0.1, 0.025, 0.05, 0.05])
    assert printed(lambda o: scheduler(o, schedule), lambda made: made.get_last_lr()[0]) == in_use
    assert printed(lambda o: native.StepLR(o, 3, 0.5), lambda made: made.get_last_lr()[0]) == in_use


@row("C-half-every-ten-minutes")
def test_the_clock_is_read_between_whole_seconds_too(row):
    body = {"family": "step", "every": "10min", "rate": 0.5}
    document = {"unit": "second", "total_steps": "1h", "peak_lr": 0.1, "body": body}
    schedule = lrtuner.load(document)
    assert schedule([0.0, 599.999, 600.0, 1199.5, 1200.25]).tolist() == [
        0.1,
        0.1,
        0.05,
        0.05,
        0.025,
    ]


@row("C-finder")
def test_the_finder_raises_the_rate_by_equal_factors(row):
    told = RangeTest()
    rates = sweep_rates(told.min_lr, told.max_lr, told.num_steps)
    by_hand = [1e-6 * (10.0 / 1e-6) ** (i / 99) for i in range(100)]
    assert rates == pytest.approx(by_hand, rel=1e-13)
    assert (rates[0], rates[-1]) == (told.min_lr, told.max_lr)


@row("C-ranger")
def test_what_is_built_into_ranger_goes_up_and_down_once(row):
    schedule = lrtuner.load({"total_steps": 500, "peak_lr": 0.1, "preset": "ranger21"})
    assert schedule.warmup.steps == 109.0  # 22 % of the run: 2000 steps would be too long
    moves = np.sign(np.diff(schedule.values()))
    assert [move for i, move in enumerate(moves) if i == 0 or move != moves[i - 1]] == [1, 0, -1]
    assert schedule(499) == pytest.approx(3e-5, rel=1e-12)


@row("D-any-optimizer")
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_the_rates_do_not_depend_on_the_optimizer(row, name):
    torch = pytest.importorskip("torch")
    scheduler = pytest.importorskip("lrtuner.integrations.torch").scheduler

    body = {"family": "cosine", "decay_steps": 20}
    schedule = lrtuner.load({"total_steps": 20, "peak_lr": 0.1, "body": body})
    optimizer = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made, rates = scheduler(optimizer, schedule), []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    assert rates == schedule.values().tolist()


@row("D-any-optimizer")
def test_exponential_and_cosine_are_both_searched_and_a_range_test_comes_first(row):
    assert {"exponential", "cosine"} <= set(SEARCHED)
    spec = JobSpec.model_validate(
        {
            "model": {"source": "builtin", "name": "mlp"},
            "dataset": {"source": "builtin", "name": "digits"},
            "optimizer": {"name": "rmsprop"},
            "training": {"batch_size": 64, "epochs": 5},
        }
    )
    assert spec.search.family_names == list(SEARCHED)
    assert spec.search.lr_range is None
    assert spec.range_test == RangeTest()


def test_every_row_has_a_test():
    assert set(ROWS) == COVERED
