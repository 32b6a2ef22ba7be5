import math

import pytest

from benchmarks.finder.scoring import SCHEDULES, Curve, Found, drifts, scatters, score

CURVE = Curve(lrs=[0.001, 0.01, 0.1], losses=[0.8, 0.1, 0.4])
TRUTH = {"a": dict.fromkeys(SCHEDULES, CURVE), "b": dict.fromkeys(SCHEDULES, CURVE)}
INSTEAD = {"a": 0.001, "b": 0.001}


def found(task, lr, points=100, seed=0):
    return Found(task, points, seed, dict.fromkeys(SCHEDULES, lr))


def test_regret_is_one_at_the_best_rate_of_the_grid():
    assert CURVE.best_lr == 0.01
    assert CURVE.regret(0.01) == pytest.approx(1.0)


def test_between_two_rates_log_loss_is_linear_in_log_rate():
    assert CURVE.loss(10**-1.5) == pytest.approx(0.2)  # half way between 0.1 and 0.4


@pytest.mark.parametrize(("lr", "loss"), [(1e-9, 0.8), (0.001, 0.8), (0.1, 0.4), (50.0, 0.4)])
def test_beyond_the_grid_its_end_counts(lr, loss):
    assert CURVE.loss(lr) == loss


def test_the_plateau_holds_what_is_nearly_as_good():
    curve = Curve([1e-3, 1e-2, 1e-1, 1.0], [0.3, 0.12, 0.1, 0.5])
    assert curve.plateau() == (1e-2, 1e-1)


def test_a_task_with_many_sweeps_weighs_no_more_than_one_with_few():
    sweeps = [found("a", 0.01, seed=seed) for seed in range(9)] + [found("b", 0.1)]
    one = score(sweeps, TRUTH, INSTEAD, "constant")
    assert one.regret == pytest.approx(2.0)  # sqrt(1 * 4)
    assert one.worst == pytest.approx(4.0)


def test_whose_finder_is_silent_keeps_the_rate_that_was_there():
    assert score([found("a", None)], TRUTH, INSTEAD, "cosine").regret == pytest.approx(8.0)


def test_drift_is_between_the_means_over_seeds():
    sweeps = [
        *(found("a", lr, points=60) for lr in (0.01, 1.0)),  # mean 0.1
        *(found("a", lr, points=100) for lr in (0.01, 0.01)),
        *(found("a", lr, points=300) for lr in (0.1, 0.1)),
    ]
    assert drifts(sweeps) == {"a": pytest.approx(1.0)}


def test_drift_and_scatter_are_those_of_the_worst_schedule():
    steady = dict.fromkeys(SCHEDULES, 0.1)
    moving = steady | {"constant": 0.01}
    sweeps = [Found("a", 60, 0, steady), Found("a", 60, 1, moving), Found("a", 300, 0, moving)]
    assert drifts(sweeps) == {"a": pytest.approx(0.5)}
    assert scatters(sweeps) == {"a": pytest.approx(0.5**0.5)}


def test_one_length_has_no_drift_and_one_seed_no_scatter():
    assert drifts([found("a", 0.1), found("a", 0.2, seed=1)]) == {}
    assert scatters([found("a", 0.1), found("a", 0.2, points=300)]) == {}


def test_the_centre_of_a_curve_is_weighted_by_the_cubed_inverse_of_the_loss():
    even = Curve([0.01, 0.1, 1.0], [0.2, 0.2, 0.2])
    assert math.isclose(even.centre, 0.1)
    tilted = Curve([0.01, 0.1], [0.4, 0.2])
    assert math.isclose(math.log10(tilted.centre), -(1 + 2 / 8) / (1 + 1 / 8))
