"""What a run is worth, what it is ranked by, and the target that it may be for."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from lrtuner.job import JobSpec
from lrtuner.lifecycle import TrialState
from lrtuner.metrics import LEAST_ERROR, LEAST_LOSS
from lrtuner.objective import Objective, Target
from tests.lrtuner.test_job import JOB

COMPLETE = TrialState.COMPLETE
LOSS = Objective()
ACCURACY = Objective(metric="val_accuracy")
TO_LOSS = Objective(metric="steps_to_target", target=Target(metric="val_loss", value=0.5))
TO_ACCURACY = Objective(metric="steps_to_target", target=Target(metric="val_accuracy", value=0.9))
ALL = [LOSS, ACCURACY, TO_LOSS, TO_ACCURACY]

losses = st.floats(0, 1e6)
accuracies = st.floats(0, 1)


def metrics(loss, accuracy):
    return {"val_loss": loss, "val_accuracy": accuracy}


def ranked(objective, measured, updates=400, total_steps=400):
    value = objective.value(measured, updates)
    return objective.loss(COMPLETE, value, measured, total_steps)


def test_the_value_is_the_metric_or_the_updates_to_the_target():
    measured = metrics(0.4, 0.8)
    assert [objective.value(measured, 120) for objective in ALL] == [0.4, 0.8, 120.0, None]
    assert TO_LOSS.value(metrics(0.5, 0.8), 120) == 120
    assert TO_ACCURACY.value(metrics(0.5, 0.9), 120) == 120


def test_the_way_is_the_natural_one():
    assert [objective.sign for objective in ALL] == [1, -1, 1, 1]
    assert [objective.measured for objective in ALL] == [
        "val_loss", "val_accuracy", "val_loss", "val_accuracy",
    ]  # fmt: skip
    assert [objective.compressible for objective in ALL] == [True, True, False, False]
    with pytest.raises(ValidationError, match="steps_to_target can only be minimized"):
        Objective(metric="steps_to_target", direction="maximize", target=TO_LOSS.target)


def test_what_ranks_is_the_loss_the_share_of_errors_or_the_steps():
    measured = metrics(0.4, 0.95)
    assert ranked(LOSS, measured) == 0.4
    assert ranked(ACCURACY, measured) == pytest.approx(0.05)
    assert ranked(TO_LOSS, measured, updates=120) == 120
    assert ranked(ACCURACY, metrics(0.4, 1.0)) == LEAST_ERROR
    assert ranked(LOSS, metrics(0.0, 1.0)) == LEAST_LOSS


def test_a_target_missed_by_half_counts_as_half_as_long_again():
    assert ranked(TO_LOSS, metrics(0.75, 0.0)) == pytest.approx(600)
    assert ranked(TO_ACCURACY, metrics(9.0, 0.85)) == pytest.approx(600)
    sure = Objective(metric="steps_to_target", target=Target(metric="val_accuracy", value=1))
    assert ranked(sure, metrics(9.0, 1.0)) == 400
    assert ranked(sure, metrics(9.0, 1 - LEAST_ERROR)) == pytest.approx(800)


@pytest.mark.parametrize("objective", ALL)
@pytest.mark.parametrize("state", [s for s in TrialState if s is not COMPLETE])
def test_a_run_that_did_not_complete_is_behind_all(objective, state):
    assert objective.loss(state, None, metrics(0.1, 0.99), 400) == math.inf
    assert objective.loss(state, None, {}, 400) == math.inf


@pytest.mark.parametrize("objective", ALL)
@given(losses, accuracies, st.integers(1, 1000))
def test_what_ranks_is_positive_and_finite(objective, loss, accuracy, updates):
    assert 0 < ranked(objective, metrics(loss, accuracy), updates, 1000) < math.inf


@given(losses, losses, accuracies, accuracies)
def test_the_better_run_never_ranks_behind(loss, other_loss, accuracy, other_accuracy):
    one, other = metrics(loss, accuracy), metrics(other_loss, other_accuracy)
    for objective in (LOSS, TO_LOSS):
        ahead = ranked(objective, one) <= ranked(objective, other)
        assert ahead or loss > other_loss
    for objective in (ACCURACY, TO_ACCURACY):
        ahead = ranked(objective, one) <= ranked(objective, other)
        assert ahead or accuracy < other_accuracy


@given(st.integers(1, 400), st.floats(0.5, 1e6))
def test_whoever_reaches_the_target_ranks_before_whoever_does_not(updates, missed):
    assume(missed > 0.5 + 1e-9)
    assert ranked(TO_LOSS, metrics(0.5, 0.0), updates) <= 400 < ranked(TO_LOSS, metrics(missed, 0))


@given(st.floats(1e-6, 1), st.floats(1e-6, 1))
def test_a_target_is_reached_exactly_from_its_value_on(value, found):
    assert Target(metric="val_loss", value=value).reached({"val_loss": found}) == (found <= value)
    accuracy = Target(metric="val_accuracy", value=value)
    assert accuracy.reached({"val_accuracy": found}) == (found >= value)


def test_what_was_not_measured_is_not_reached():
    assert not TO_LOSS.target.reached({"val_loss": None, "val_accuracy": 1.0})
    assert not TO_LOSS.target.reached({})


REFUSED = [
    ({"metric": "steps_to_target"}, "objective.target", "needs a target"),
    ({"target": {"metric": "val_loss", "value": 0.1}}, "objective.target", "has no target"),
    (
        {"metric": "val_accuracy", "target": {"metric": "val_accuracy", "value": 0.9}},
        "objective.target",
        "has no target",
    ),
    (
        {"metric": "steps_to_target", "target": {"metric": "val_accuracy", "value": 90}},
        "objective.target.value",
        "at most 1, got 90",
    ),
    (
        {"metric": "steps_to_target", "target": {"metric": "val_loss", "value": 0.0}},
        "objective.target.value",
        "greater than 0",
    ),
    (
        {"metric": "steps_to_target", "target": {"metric": "test_loss", "value": 1.0}},
        "objective.target.metric",
        "'val_loss', 'val_accuracy'",
    ),
    (
        {"metric": "steps_to_target", "target": {"metric": "val_loss"}},
        "objective.target.value",
        "required",
    ),
]


def field_of(error):
    parts = [str(part) for part in error["loc"]]
    return ".".join([*parts, *error.get("ctx", {}).get("field", "").split(".")]).rstrip(".")


@pytest.mark.parametrize(("objective", "field", "told"), REFUSED)
def test_a_target_that_does_not_fit_is_refused_and_told_why(objective, field, told):
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate({**JOB, "objective": objective})
    [error] = caught.value.errors()
    assert field_of(error) == field
    assert told in error["msg"]


def test_an_accuracy_that_a_text_model_is_to_reach_is_refused():
    text = {**JOB, "model": {"name": "gpt"}, "dataset": {"name": "python_stdlib_text"}}
    with pytest.raises(ValidationError, match="classification") as caught:
        JobSpec.model_validate({**text, "objective": TO_ACCURACY.model_dump()})
    assert field_of(caught.value.errors()[0]) == "objective.target.metric"
    assert JobSpec.model_validate({**text, "objective": TO_LOSS.model_dump()})


def test_a_job_for_a_target_survives_json():
    spec = JobSpec.model_validate({**JOB, "objective": TO_ACCURACY.model_dump()})
    assert JobSpec.model_validate_json(json.dumps(spec.model_dump(mode="json"))) == spec
