"""The bound on the loss of a schedule's shape: closed forms, its definition, and real trainings."""

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.bound import DUST, bound, transferred_lr
from lrtuner.errors import InvalidInputError
from lrtuner.schedules.grammar import Schedule

POINTS = 2000
"""A shape is looked at on so many points, whatever the steps of the training."""

STEPS = st.tuples(st.floats(0, 1), st.floats(0.01, 100))
RUNS = st.lists(STEPS, min_size=1, max_size=30).filter(lambda run: max(run)[0] > DUST)
"""Factors with their gradient norms."""


def split(run):
    return np.array(run).T


def by_definition(e, norms, distance):
    """Both parts of the bound, sum by sum, over the steps that move."""
    run = [(factor, (factor * norm) ** 2) for factor, norm in zip(e, norms, strict=True)]
    run = [step for step in run if step[0] > DUST]
    e, squares = zip(*run, strict=True)
    total = sum(e)
    gradients = sum(squares) / (2 * total)
    for k in range(len(e) - 1):
        later = sum(e[k + 1 :])
        gradients += e[k] / later * sum(squares[k:]) / (e[k] + later) / 2
    return distance**2 / (2 * total), gradients


def linear(steps):
    return (steps - np.arange(steps)) / steps


@given(RUNS, st.floats(0.01, 100))
def test_the_running_sums_give_what_the_definition_says(run, distance):
    e, norms = split(run)
    found = bound(e, norms, distance)
    assert (found.distance, found.gradients) == pytest.approx(by_definition(e, norms, distance))


@given(RUNS, st.floats(1e-6, 1e6))
def test_no_step_size_is_better_than_the_best(run, ratio):
    found = bound(*split(run))
    assert found.at(found.best_gamma) == pytest.approx(found.best_value)
    assert found.at(found.best_gamma * ratio) >= found.best_value * (1 - 1e-12)


@given(RUNS, st.floats(0.01, 100))
def test_doubled_norms_halve_the_best_step_size_and_a_doubled_distance_doubles_it(run, by):
    e, norms = split(run)
    one, steeper, farther = bound(e, norms), bound(e, by * norms), bound(e, norms, by)
    assert steeper.best_gamma == pytest.approx(one.best_gamma / by)
    assert farther.best_gamma == pytest.approx(one.best_gamma * by)
    assert steeper.best_value == pytest.approx(one.best_value * by)
    assert farther.best_value == pytest.approx(one.best_value * by)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.floats(0.01, 1))
def test_lower_factors_need_a_higher_peak_and_give_the_same_bound(e, by):
    one, lower = bound(e), bound(by * np.array(e))
    assert lower.best_gamma == pytest.approx(one.best_gamma / by)
    assert lower.best_value == pytest.approx(one.best_value)


@given(RUNS, st.lists(st.integers(0, 29), max_size=5), st.floats(0, DUST))
def test_steps_that_move_nothing_count_for_nothing(run, places, dust):
    paused = list(run)
    for place in places:
        paused.insert(place, (dust, 100.0))
    assert bound(*split(paused)) == bound(*split(run))


def test_one_norm_for_all_is_the_same_norm_for_each():
    assert bound(linear(9), 3.0) == bound(linear(9), [3.0] * 9)


def test_a_single_step_is_bounded_by_what_it_cannot_do_better():
    found = bound([1.0], 2.0, 3.0)
    assert (found.distance, found.gradients) == (4.5, 2.0)
    assert (found.best_gamma, found.best_value) == (1.5, 6.0)  # D / G, D G
    assert found.at(3.0) == 4.5 / 3.0 + 2.0 * 3.0


@pytest.mark.parametrize(
    ("factor", "gamma", "value"),
    [
        (lambda t: (100 - t) / 100, 0.097255, 0.20361),
        (lambda t: (1 + math.cos(math.pi * t / 100)) / 2, 0.094695, 0.20911),
        (lambda t: min(1.0, 1 - (t - 80) / 20), 0.049544, 0.22303),
        (lambda t: 1.0, 0.040234, 0.24854),
    ],
    ids=["linear", "cosine", "wsd", "constant"],
)
def test_the_usual_shapes_over_100_steps(factor, gamma, value):
    found = bound([factor(t) for t in range(100)])
    assert found.best_gamma == pytest.approx(gamma, abs=5e-7)
    assert found.best_value == pytest.approx(value, abs=5e-6)


def test_a_decay_whose_last_step_is_zero_ends_one_step_earlier():
    found = bound([(99 - t) / 100 for t in range(100)])
    assert found.best_value == pytest.approx(0.20466, abs=5e-6)


def test_what_rounding_leaves_of_a_zero_is_a_zero():
    steps = 0.07 * 100  # 7.000000000000001
    body = {"family": "polynomial", "decay_steps": steps}
    rates = Schedule.model_validate({"total_steps": 20, "peak_lr": 1.0, "body": body}).values()
    assert 0 < rates[7] < DUST
    assert bound(rates).best_value == pytest.approx(bound(linear(7)).best_value)


def test_a_schedule_that_restarts_from_zero_is_bounded_over_all_its_steps():
    rates = np.tile((50 - np.arange(51)) / 50, 2)
    assert rates[50] == 0.0
    restarted, once = bound(rates), bound(linear(100))
    assert once.best_value < restarted.best_value < bound(np.ones(100)).best_value


def test_shapes_are_ordered_at_one_peak_otherwise_than_each_at_its_best():
    decays, holds = bound(linear(100)), bound(np.ones(100))
    assert decays.best_value < holds.best_value
    small = holds.best_gamma / 10  # too small a rate: better not to lower it further
    assert holds.at(small) < decays.at(small)


def test_a_peak_is_carried_to_another_shape_and_back():
    decays, holds = bound(linear(100)), bound(np.ones(100))
    lr = transferred_lr(0.01, tuned=holds, other=decays)
    assert lr == pytest.approx(0.01 * 0.097255 / 0.040234, rel=1e-4)
    assert transferred_lr(lr, tuned=decays, other=holds) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "nothing moves"),
        (([0.0, 1e-12],), "nothing moves"),
        ((1.0,), "one per step"),
        (([[1.0, 0.5]],), "one per step"),
        (([1.0, -0.1],), "0 to 1, got -0.1"),
        (([1.0, 1.1],), "0 to 1, got 1.1"),
        (([1.0, math.nan],), "0 to 1, got nan"),
        (([1.0, 0.5], [1.0]), r"\(1,\) for 2 factors"),
        (([1.0, 0.5], [[1.0, 1.0]]), r"\(1, 2\) for 2 factors"),
        (([1.0, 0.5], [1.0, 0.0]), "norms must be 1e-50 to 1e+50, got 0.0".replace("+", r"\+")),
        (([1.0, 0.5], [1.0, math.inf]), "got inf"),
        (([1.0, 0.5], math.nan), "got nan"),
        (([1.0, 0.5], 1.0, 0.0), "distance must be .*, got 0.0"),
        (([1.0, 0.5], 1.0, math.nan), "distance must be .*, got nan"),
    ],
)
def test_what_cannot_be_bounded_is_refused(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        bound(*arguments)


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan])
def test_a_step_size_is_more_than_zero(gamma):
    with pytest.raises(InvalidInputError, match="gamma must be more than 0"):
        bound([1.0]).at(gamma)


@pytest.mark.parametrize("norm", [1e-50, 1e50])
@pytest.mark.parametrize("distance", [1e-50, 1e50])
def test_extremes_stay_within_the_range_of_floats(norm, distance):
    found = bound([1.0, 1e-8, 2e-9], norm, distance)
    assert 0 < found.best_gamma < math.inf
    assert 0 < found.best_value < math.inf


# Trainings of a 124M-parameter Llama by Schaipp et al. (see the module): warmup of 300 steps, then
# a constant rate and a cooldown over a last fraction, or a cosine.

WARMUP = 300


def llama_shape(schedule, fraction, end, total_steps):
    u, warmup = np.arange(POINTS) / POINTS, WARMUP / total_steps
    v = np.maximum(u - (1 - fraction), 0.0) / fraction
    cosine = (1 + np.cos(np.pi * np.maximum(u - warmup, 0.0) / (1 - warmup))) / 2
    shape = {
        "wsd_linear": 1 - v,
        "wsd_one_minus_sqrt": 1 - np.sqrt(v),
        "cosine": end + (1 - end) * cosine,
    }[schedule]
    return np.minimum(np.minimum(1.0, (u + 1 / POINTS) / warmup), shape)


@pytest.mark.parametrize(
    ("schedule", "fraction", "end", "gamma", "value"),
    [
        ("wsd_linear", 0.1, 0.0, 0.010300, 0.051396),
        ("wsd_linear", 0.2, 0.0, 0.011511, 0.048562),
        ("wsd_linear", 0.4, 0.0, 0.013618, 0.046213),
        ("wsd_linear", 0.6, 0.0, 0.015899, 0.045282),
        ("wsd_linear", 0.8, 0.0, 0.018713, 0.044944),
        ("wsd_linear", 0.9, 0.0, 0.020454, 0.044894),
        ("wsd_one_minus_sqrt", 0.2, 0.0, 0.012158, 0.047755),
        ("cosine", 1.0, 0.1, 0.018905, 0.048097),
        ("cosine", 1.0, 0.0, 0.021632, 0.046182),
    ],
)
def test_the_usual_shapes_with_a_warmup(schedule, fraction, end, gamma, value):
    found = bound(llama_shape(schedule, fraction, end, 25_000))
    assert found.best_gamma == pytest.approx(gamma, abs=5e-7)
    assert found.best_value == pytest.approx(value, abs=5e-7)


@pytest.fixture(scope="module")
def llama_runs():
    """The runs, 20 of 15,000 steps and 36 of 25,000."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("LRTUNER_RESEARCH_DATA") or beside) / "llama124m" / "runs.csv"
    if not path.exists():
        pytest.skip("needs the published runs: set LRTUNER_RESEARCH_DATA to their folder")
    with path.open() as file:
        return list(csv.DictReader(file))


def llama_bound(run):
    fraction, end = float(run["cooldown_fraction"]), float(run["end_factor"])
    return bound(llama_shape(run["schedule"], fraction, end, int(run["total_steps"])))


def loss(run):
    return float(run["final_val_loss"])


def spearman(one, other):
    assert len(set(one)) == len(one)
    assert len(set(other)) == len(other)  # without ties, the correlation of ranks is this
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return np.corrcoef(*ranks)[0, 1]


def agreement(runs, scale):
    """The rank correlation of the bound of the longer runs with the loss that they ended with."""
    longer = [run for run in runs if run["total_steps"] == "25000"]
    assert len(longer) == 36
    predicted = [llama_bound(run).at(scale * float(run["peak_lr"])) for run in longer]
    return spearman(predicted, [loss(run) for run in longer])


def test_the_bound_orders_real_trainings_at_the_best_scale(llama_runs):
    assert agreement(llama_runs, 10.98) == pytest.approx(0.921, abs=5e-4)


@pytest.mark.parametrize(("exponent", "expected"), [(0.1, 0.904), (0.25, 0.907), (0.5, 0.911)])
def test_a_sweep_of_a_shorter_training_tells_the_scale(llama_runs, exponent, expected):
    swept = [
        run
        for run in llama_runs
        if (run["schedule"], run["cooldown_fraction"]) == ("wsd_linear", "0.2")
        and run["total_steps"] == "15000"
    ]
    assert len(swept) == 3
    square, slope, _ = np.polyfit(
        [math.log(float(run["peak_lr"])) for run in swept], [loss(run) for run in swept], 2
    )
    best_lr = math.exp(-slope / (2 * square))
    assert best_lr == pytest.approx(1.292e-3, abs=5e-7)
    scale = llama_bound(swept[0]).best_gamma / best_lr
    assert scale == pytest.approx(8.934, abs=5e-4)
    assert agreement(llama_runs, scale * (25 / 15) ** exponent) == pytest.approx(expected, abs=5e-4)
