"""How two configs differ: against rates worked out by hand, and by properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.comparing import changed_rows, compare, comparison_rows, same_rates
from lrtuner.document import ScheduleDocument, load
from tests.conformance.samples import SAMPLES
from tests.conformance.samples import config as sample_config


def constant(peak, steps=10, **more):
    body = {"family": "constant"}
    return load({"total_steps": steps, "peak_lr": peak, "body": body, **more})


def table(*rates, **more):
    values = [rate / max(rates) for rate in rates]
    body = {"family": "table", "values": values}
    return load({"total_steps": len(rates), "peak_lr": max(rates), "body": body, **more})


def test_the_numbers_are_those_of_the_rates():
    found = compare(table(1.0, 2.0, 4.0, 0.0), table(1.0, 4.0, 2.0, 1.0))
    assert (found.by, found.points, found.equal) == ("step", 4, False)
    assert (found.peak_ratio, found.mean_ratio) == (1.0, 8 / 7)
    assert found.largest_ratio.model_dump() == {"at": 1.0, "a": 2.0, "b": 4.0, "apart": 2.0}
    assert found.largest_difference.model_dump() == {"at": 1.0, "a": 2.0, "b": 4.0, "apart": 0.5}
    assert found.zero_in_one == 1


def test_a_ratio_below_one_counts_as_far_as_its_inverse():
    found = compare(table(1.0, 8.0, 2.0), table(1.0, 2.0, 4.0))
    assert (found.largest_ratio.at, found.largest_ratio.apart) == (1.0, 0.25)
    assert found.largest_difference.apart == -0.75


@pytest.mark.parametrize(("change", "equal"), [(0.0, True), (4e-13, True), (4e-12, False)])
def test_rates_are_the_same_up_to_rounding(change, equal):
    one, other = constant(0.1), constant(0.1 * (1 + change))
    assert compare(one, other).equal is equal
    assert same_rates(one, other) is equal
    # the share is of the highest rate: where rates are tiny, they may be anything as tiny
    tail = table(1.0, 1e-9), table(1.0, 1e-9 + change)
    assert compare(*tail).equal is equal


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_family_equals_itself_and_no_scaled_copy(sample):
    one = sample_config(SAMPLES[sample])
    assert compare(one, one).equal
    assert same_rates(one, one)
    other = one.model_copy(update={"peak_lr": 1.5 * one.peak_lr})
    found = compare(one, other)
    assert not found.equal
    assert found.mean_ratio == pytest.approx(1.5)
    assert found.largest_ratio.apart == pytest.approx(1.5)


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=20), st.data())
def test_turning_the_two_around_turns_the_ratios_around(rates, data):
    others = data.draw(st.lists(st.floats(1e-6, 1.0), min_size=len(rates), max_size=len(rates)))
    there, back = (compare(*pair) for pair in _both_ways(table(*rates), table(*others)))
    assert there.peak_ratio * back.peak_ratio == pytest.approx(1.0)
    assert there.mean_ratio * back.mean_ratio == pytest.approx(1.0)
    assert there.largest_ratio.apart * back.largest_ratio.apart == pytest.approx(1.0)
    assert there.largest_difference.apart == -back.largest_difference.apart
    logs = np.abs(np.log(table(*others).values() / table(*rates).values()))
    assert abs(math.log(there.largest_ratio.apart)) == pytest.approx(float(np.max(logs)), abs=1e-12)


def _both_ways(one, other):
    return (one, other), (other, one)


def test_other_horizons_are_compared_at_equal_shares():
    short, long = table(4.0, 2.0), table(4.0, 4.0, 2.0, 2.0)
    found = compare(short, long)
    assert (found.by, found.mean_ratio, found.largest_ratio.apart) == ("share", 1.0, 1.0)
    assert not found.equal  # of other lengths they cannot be used for each other
    assert not same_rates(short, long)
    assert "not equally long" in dict(comparison_rows(found))["compared"]


@pytest.mark.parametrize("which", [0, 1])
def test_epochs_and_steps_are_compared_step_by_step_where_an_epoch_is_known(which):
    context = {"steps_per_epoch": 3, "batch_size": 8}
    more = [{}, {}]
    more[which] = {"context": context}
    epochs = table(4.0, 2.0, unit="epoch", **more[0])
    steps = table(4.0, 4.0, 4.0, 2.0, 2.0, 2.0, **more[1])
    found = compare(epochs, steps)
    assert (found.by, found.points, found.equal) == ("step", 6, True)
    unknown = compare(table(4.0, 2.0, unit="epoch"), table(4.0, 4.0, 4.0, 2.0, 2.0, 2.0))
    assert (unknown.by, unknown.equal) == ("share", False)


def test_a_run_of_a_billion_steps_is_compared_with_its_corners():
    steps = 1_000_000_000
    plain = constant(0.1, steps)
    dips = {"family": "multistep", "milestones": [123_456_789.0], "factors": [0.5]}
    other = load({"total_steps": steps, "peak_lr": 0.1, "body": dips})
    found = compare(plain, other)
    assert found.points <= 1_000_100
    assert not found.equal
    assert found.mean_ratio == pytest.approx(1 - 0.5 * (1 - 0.123456789), rel=1e-5)


def test_what_has_no_ratio_is_left_out():
    tiny, other = constant(5e-324), constant(1e6)
    found = compare(tiny, other)
    assert (found.peak_ratio, found.mean_ratio, found.largest_ratio) == (None, None, None)
    assert found.zero_in_one == 10
    assert not {"peak", "mean rate", "ratio"} & dict(comparison_rows(found)).keys()


def test_words_say_what_changed_and_nothing_else():
    optimizer = {"name": "sgd", "args": {"momentum": 0.9}}
    one = constant(0.1, optimizer=optimizer)
    other = constant(0.2, optimizer=optimizer | {"name": "adamw"})
    changed = {name: (a, b) for name, a, b in changed_rows(one, other)}
    assert changed["peak"] == ("0.1", "0.2")
    assert changed["optimizer"] == ("sgd (momentum 0.9)", "adamw (momentum 0.9)")
    assert "body" not in changed
    assert changed_rows(one, one) == []


def test_verdicts_are_among_the_words():
    verdict = {"status": "confirmed", "metric": "val_loss", "difference": -0.1, "reason": "x"}
    one = constant(0.1, verdict={**verdict, "ci95": [-0.2, -0.05], "pairs": 5})
    other = constant(0.1, verdict={**verdict, "difference": -0.3, "reason": "y"})
    changed = [name for name, _, _ in changed_rows(one, other)]
    assert changed == ["difference", "interval"]
    assert compare(one, other).equal
    assert isinstance(other, ScheduleDocument)
