"""Reduce on plateau is torch's `ReduceLROnPlateau`, value by value."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtuner
from lrtuner.errors import UnsupportedError
from lrtuner.schedules.plateau import Plateau, PlateauRule

torch = pytest.importorskip("torch")


def native(plateau, values):
    """The factors under torch; by default it ignores reductions below 1e-8."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    settings = plateau.model_dump(exclude={"family", "monitor", "min_factor"})
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, **settings, min_lr=plateau.min_factor, eps=0.0
    )
    factors = []
    for value in values:
        scheduler.step(value)
        factors.append(optimizer.param_groups[0]["lr"])
    return factors


plateaus = st.builds(
    Plateau,
    mode=st.sampled_from(["min", "max"]),
    monitor=st.just("val_loss"),
    factor=st.floats(0.01, 0.99),
    patience=st.integers(0, 4),
    threshold=st.sampled_from([0.0, 1e-4, 0.1, 1.0, 3.0]) | st.floats(0, 2),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    cooldown=st.integers(0, 3),
    min_factor=st.just(0.0) | st.floats(0, 1),
)
few = st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.1, -1.0, math.nan, math.inf, -math.inf])
metrics = st.lists(few | st.floats() | st.floats(-2, 2), max_size=60)


@settings(max_examples=500, deadline=None)
@given(plateau=plateaus, values=metrics)
def test_the_factors_are_torchs(plateau, values):
    assert plateau.factors(values) == native(plateau, values)


def rule(**settings):
    return Plateau(mode="min", monitor="val_loss", **settings)


def drops(factors):
    """At which values, counted from 1, the factor fell."""
    return [i + 1 for i, (a, b) in enumerate(zip([1.0, *factors], factors, strict=False)) if b < a]


def test_with_patience_3_a_constant_metric_drops_at_5_and_9():
    assert drops(rule(patience=3).factors([1.0] * 12)) == [5, 9]
    assert drops(native(rule(patience=3), [1.0] * 12)) == [5, 9]


def test_values_during_a_cooldown_do_not_count():
    assert drops(rule(patience=1, cooldown=3).factors([1.0] * 14)) == [3, 8, 13]


def test_nan_never_improves():
    assert drops(rule(patience=1).factors([math.nan] * 6)) == [2, 4, 6]


def test_the_factor_stops_at_the_floor():
    factors = rule(patience=0, factor=0.5, min_factor=0.2).factors([1.0] * 6)
    assert factors == [1.0, 0.5, 0.25, 0.2, 0.2, 0.2]


def test_what_improves_depends_on_the_mode_of_the_threshold():
    fall = [10.0, 9.5, 9.0, 8.5]
    relative = rule(patience=0, threshold=0.04, threshold_mode="rel")
    absolute = rule(patience=0, threshold=0.6, threshold_mode="abs")
    assert drops(relative.factors(fall)) == []
    assert drops(absolute.factors(fall)) == [2, 4]  # 0.5 is too little, 1.0 is not


def test_the_rule_goes_value_by_value():
    working, values = PlateauRule(rule(patience=2)), [1.0, 0.5, 0.6, 0.6, 0.6, 0.4]
    assert [working.step(value) for value in values] == rule(patience=2).factors(values)
    assert working.best == 0.4


def test_it_has_no_rate_at_a_step_and_survives_being_stored():
    body = {"family": "plateau", "mode": "max", "monitor": "val_accuracy", "patience": 3}
    document = lrtuner.load({"kind": "reactive", "peak_lr": 0.1, "body": body})
    with pytest.raises(UnsupportedError, match="no rate at step 7: it reacts to val_accuracy"):
        document(7)
    assert lrtuner.load(document.document) == document
