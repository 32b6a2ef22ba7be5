"""The sampler by ask and tell: inside the space, seeded per ask, the same after a resume."""

import math

import pytest

from lrtuner.candidates import search_space, to_schedule
from lrtuner.evidence import TrialRecord
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.schedules import SEARCHED
from worker.search import ask

SPACE = search_space(list(SEARCHED), (1e-4, 1.0))


def told(number, params, value, state=TrialState.COMPLETE):
    return TrialRecord(
        number=number,
        phase=Stage.SEARCH,
        purpose="search",
        arm=f"arm-{number}",
        params=params,
        schedule=to_schedule(params, 100),
        seed=0,
        state=state,
        value=value,
    )


def loss(params):
    """Best at a peak of 0.1, and a little better for cosine."""
    off = abs(math.log10(params["peak_lr"] / 0.1))
    return off + (0.0 if params["family"] == "cosine" else 0.05)


def searched(count, *, seed=0, restart_at=()):
    trials = []
    for number in range(count):
        if number in restart_at:  # as after a crash: only what was stored is known
            trials = [TrialRecord.model_validate_json(t.model_dump_json()) for t in trials]
        params = ask(SPACE, trials, seed=seed, number=number, sign=1.0)
        trials.append(told(number, params, loss(params)))
    return trials


def test_every_ask_is_a_schedule_of_the_space():
    for trial in searched(15):
        names = SPACE.names(trial.params["family"])
        assert set(trial.params) == {"family", *names}
        assert 1e-4 <= trial.params["peak_lr"] <= 1.0
        assert trial.schedule.peak_lr == trial.params["peak_lr"]


def test_a_resumed_search_equals_an_uninterrupted_one():
    whole = [t.params for t in searched(16)]
    for cut in ([0], [1], [7], [10, 11], [15]):
        assert [t.params for t in searched(16, restart_at=cut)] == whole


def test_seeds_differ_and_no_point_is_asked_twice():
    first = [t.params for t in searched(12)]
    assert [t.params for t in searched(12, seed=1)] != first
    assert len({str(p) for p in first}) == 12


def peaks(count, sign):
    """Peaks asked over a space of one family, each told sign times its loss."""
    space = search_space(["cosine"], (1e-4, 1.0))
    trials = []
    for number in range(count):
        params = ask(space, trials, seed=0, number=number, sign=sign)
        trials.append(told(number, params, sign * loss(params)))
    return trials


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_learns_from_what_it_is_told_whichever_side_is_better(sign):
    losses = [loss(t.params) for t in peaks(40, sign)]
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])


def test_diverged_runs_teach_and_failed_ones_do_not():
    base = searched(12)
    high = [{**t.params, "peak_lr": 0.5 + 0.04 * i} for i, t in enumerate(base[:8])]
    diverged = [told(12 + i, p, None, TrialState.DIVERGED) for i, p in enumerate(high)]
    failed = [told(12 + i, p, None, TrialState.FAILED) for i, p in enumerate(high)]
    alone, with_failed, with_diverged = (
        [ask(SPACE, base + more, seed=seed, number=30, sign=1.0) for seed in range(5)]
        for more in ([], failed, diverged)
    )
    assert with_failed == alone
    assert with_diverged != alone


def test_points_outside_the_space_are_left_out_of_the_history():
    cosine_only = search_space(["cosine"], (1e-2, 1e-1))
    params = ask(cosine_only, searched(12), seed=0, number=12, sign=1.0)
    assert params["family"] == "cosine"
    assert 1e-2 <= params["peak_lr"] <= 1e-1
