import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.budget import evaluation_steps, plan, probe_steps, run_cost, sweep_size


def test_a_whole_run_without_evaluation_costs_one():
    assert run_cost(380, 0, 64, 380) == 1.0
    assert run_cost(190, 64 * 57, 64, 380) == pytest.approx(0.55)


@given(st.integers(2, 5000), st.integers(1, 512), st.integers(10, 10_000))
def test_evaluation_ends_the_run_and_stays_within_its_share(steps, batch, size):
    after = evaluation_steps(steps, batch, size)
    assert after[-1] == steps
    assert after[0] >= 1
    assert len(after) == 1 or run_cost(0, len(after) * size, batch, steps) <= 0.05 + 1e-9


@given(st.floats(0.3, 200), st.integers(2, 10_000), st.integers(1, 10))
def test_the_range_test_stays_within_what_is_allowed(allowed, steps, seeds):
    num_seeds, num_steps = sweep_size(allowed, steps, seeds, 100, 20)
    assert num_seeds * num_steps <= allowed * steps
    assert num_seeds == 0 or 20 <= num_steps <= 100


@given(st.floats(3, 200), st.floats(0, 0.1), st.integers(0, 20))
def test_a_plan_never_promises_more_than_there_is(full_runs, share, asked):
    run = 1.03
    made = plan(full_runs, share * full_runs, run, asked)
    assert 0 <= made.pairs <= asked
    follow_up = (2 * made.pairs + (made.finalists + 1 if made.finalists else 0)) * run
    assert made.search_until + follow_up <= full_runs + 1e-9
    if made.finalists:
        assert made.search_until - share * full_runs >= 6 * run - 1e-9


def test_the_documented_budget_gets_its_five_pairs():
    made = plan(30.0, 0.6, 1.03, 5)
    assert (made.pairs, made.finalists) == (5, 3)
    assert made.search_until == pytest.approx(30 - 14 * 1.03)


@pytest.mark.parametrize(
    ("allowed", "total_steps", "steps"),
    [(2.2, 400, 200), (2.0, 400, 100), (1.1, 400, 100), (1.0, 400, 0), (9, 20, 10), (9, 18, 0)],
)
def test_probes_are_as_long_as_four_of_them_fit_but_not_too_short(allowed, total_steps, steps):
    assert probe_steps(allowed, 1.05, total_steps) == steps
