import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.budget import (
    SEARCH_FIRST,
    evaluation_steps,
    horizons,
    plan,
    probe_steps,
    run_cost,
    sweep_size,
)


def test_a_whole_run_without_evaluation_costs_one():
    assert run_cost(380, 0, 64, 380) == 1.0
    assert run_cost(190, 64 * 57, 64, 380) == pytest.approx(0.55)


@given(st.integers(2, 5000), st.integers(1, 512), st.integers(10, 10_000))
def test_evaluation_ends_the_run_and_stays_within_its_share(steps, batch, size):
    after = evaluation_steps(steps, batch, size)
    assert after[-1] == steps
    assert after[0] >= 1
    assert len(after) == 1 or run_cost(0, len(after) * size, batch, steps) <= 0.05 + 1e-9
    assert len(after) <= 8


@given(st.integers(2, 5000), st.integers(1, 512), st.integers(10, 10_000))
def test_a_run_to_a_target_is_evaluated_more_often_within_a_larger_share(steps, batch, size):
    after = evaluation_steps(steps, batch, size, to_target=True)
    assert after[-1] == steps
    assert len(evaluation_steps(steps, batch, size)) <= len(after) <= 40
    assert len(after) == 1 or run_cost(0, len(after) * size, batch, steps) <= 0.2 + 1e-9
    gaps = [b - a for a, b in zip([0, *after], after, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_a_long_run_to_a_target_is_known_to_a_fortieth():
    assert evaluation_steps(380, 64, 270, to_target=True) == [round(9.5 * i) for i in range(1, 41)]
    assert len(evaluation_steps(380, 64, 270)) == 8


@given(st.floats(0.3, 200), st.integers(2, 10_000), st.integers(1, 10))
def test_the_range_test_stays_within_what_is_allowed(allowed, steps, seeds):
    num_seeds, num_steps = sweep_size(allowed, steps, seeds, 100, 20)
    assert num_seeds * num_steps <= allowed * steps
    assert num_seeds == 0 or 20 <= num_steps <= 100


@given(st.floats(3, 200), st.floats(0.01, 1.1), st.integers(0, 20), st.floats(0, 2.2))
def test_the_plan_divides_the_budget_and_the_search_comes_first(full_runs, run, asked, kept):
    made = plan(full_runs, run, asked, kept)
    assert made.search + 2 * made.pairs * run + kept == pytest.approx(full_runs)
    assert 0 <= made.pairs <= asked
    if made.pairs:
        assert made.search >= SEARCH_FIRST * run - 1e-9
    if made.pairs < asked:  # one more would take from it
        assert made.search - 2 * run < SEARCH_FIRST * run


def test_the_documented_budget_gets_its_five_pairs():
    made = plan(30.0, 1.03, 5)
    assert made.pairs == 5
    assert made.search == pytest.approx(30 - 10 * 1.03)
    assert plan(10.0, 1.03, 5).pairs == 0
    assert plan(10.0, 0.26, 5).pairs == 5  # of runs over a quarter of the steps


@pytest.mark.parametrize(
    ("total_steps", "expected"),
    [(400, (100, 200, 400)), (41, (10, 20, 41)), (38, (10, 19, 38)), (30, (15, 30)), (18, (18,))],
)
def test_horizons_are_parts_of_the_whole_but_none_is_too_short(total_steps, expected):
    assert horizons(total_steps) == expected
    assert horizons(total_steps, compressible=False) == (total_steps,)


@given(st.integers(2, 10**6))
def test_horizons_ascend_to_the_whole(total_steps):
    found = horizons(total_steps)
    assert list(found) == sorted(set(found))
    assert found[-1] == total_steps
    assert all(steps >= 10 and 0.2 < steps / total_steps < 0.55 for steps in found[:-1])


@pytest.mark.parametrize(
    ("allowed", "total_steps", "steps"),
    [(2.2, 400, 200), (2.0, 400, 100), (1.1, 400, 100), (1.0, 400, 0), (9, 20, 10), (9, 18, 0)],
)
def test_probes_are_as_long_as_four_of_them_fit_but_not_too_short(allowed, total_steps, steps):
    assert probe_steps(allowed, lambda count: 1.05 * count / total_steps, total_steps) == steps


def test_probes_that_are_dear_beside_whole_runs_are_fewer_and_shorter():
    assert probe_steps(2.2, lambda count: 0.05 + count / 400, 400) == 200
    assert probe_steps(2.2, lambda count: 0.06 + count / 400, 400) == 100


@given(st.floats(0.01, 5), st.floats(1.0, 1.1), st.integers(2, 1000))
def test_probes_are_of_a_horizon_that_the_search_compares_over(allowed, run, total_steps):
    steps = probe_steps(allowed, lambda count: run * count / total_steps, total_steps)
    assert steps == 0 or steps in horizons(total_steps)[:-1]
