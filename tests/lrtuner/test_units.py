"""What t counts: optimizer steps, completed epochs, or seconds of training."""

import numpy as np
import pytest

import lrtuner
from lrtuner.errors import InvalidInputError
from lrtuner.job import JobSpec
from lrtuner.schedules.grammar import Schedule
from tests.conformance.samples import SAMPLES
from worker.planner import Planner

HALVES = {"family": "step", "every": 5, "rate": 0.5}
COSINE = {"family": "cosine", "decay_steps": "1dur"}


def schedule(unit, total, body, **parts):
    return lrtuner.load({"unit": unit, "total_steps": total, "peak_lr": 0.1, "body": body, **parts})


def test_the_unit_is_the_step_unless_told():
    assert lrtuner.load({"total_steps": 9, "peak_lr": 1, "body": HALVES}).unit == "step"


def test_every_length_is_in_the_unit():
    warmup, cooldown = {"steps": 2, "start_factor": 0}, {"start": 8, "steps": 2}
    parts = {"warmup": warmup, "cooldown": cooldown}
    rates = schedule("epoch", 10, {"family": "constant"}, **parts).values()
    assert rates == pytest.approx([0.0, 0.05, *[0.1] * 7, 0.05])


def test_the_rates_of_an_epoch_hold_throughout_it():
    epochs = schedule("epoch", 20, COSINE, warmup={"steps": 3})
    steps = epochs.in_steps(19)
    assert (steps.unit, steps.total_steps) == ("step", 380)
    assert steps.values().tolist() == np.repeat(epochs.values(), 19).tolist()
    assert steps(10**6) == epochs(19)
    assert lrtuner.load(steps.document).values().tolist() == steps.values().tolist()


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_any_schedule_in_epochs_is_exact_in_steps(sample):
    epochs = sample.model_copy(update={"unit": "epoch"})
    assert epochs.in_steps(3).values().tolist() == np.repeat(epochs.values(), 3).tolist()


def test_a_schedule_in_steps_stays_as_it_is():
    steps = schedule("step", 380, COSINE)
    assert steps.in_steps(19) == steps.bare()
    assert type(steps.in_steps(19)) is Schedule


def test_a_schedule_in_seconds_has_rates_at_any_moment_but_no_steps():
    seconds = schedule("second", "1h", {"family": "step", "every": "10min", "rate": 0.5})
    moments = [0.0, 599.999, 600.0, 1800.5, 3599.9]
    assert seconds(moments).tolist() == [0.1, 0.1, 0.05, 0.0125, 0.1 / 32]
    assert seconds(3600.0) == seconds(10**9) == 0.1 / 64
    with pytest.raises(InvalidInputError, match="in seconds cannot be counted in steps"):
        seconds.in_steps(19)


def test_a_run_that_is_too_long_for_a_table_is_refused():
    with pytest.raises(InvalidInputError, match="2000000 steps; at most 1000000 can be tabled"):
        schedule("epoch", 1000, HALVES).in_steps(2000)


def job(baseline, **training):
    return {
        "model": {"source": "builtin", "name": "mlp"},
        "dataset": {"source": "builtin", "name": "digits"},
        "optimizer": {"name": "sgd"},
        "training": {"batch_size": 64, "epochs": 20, **training},
        "baseline": {"peak_lr": 0.1, "body": HALVES, **baseline},
    }


def planned(spec, total_steps):
    """The schedule that the planner runs as the baseline given."""
    user = Planner(spec, None, total_steps, steps_per_epoch=19).user
    return user.schedule(user.given.peak_lr, total_steps)


def test_a_baseline_in_epochs_is_run_in_steps():
    spec = JobSpec.model_validate(job({"unit": "epoch", "total_steps": 20}))
    run = planned(spec, 380)
    assert (run.unit, run.total_steps) == ("step", 380)
    expected = [0.1 * 0.5 ** (step // 19 // 5) for step in range(380)]
    assert run.values() == pytest.approx(expected, rel=1e-15)
    assert spec.baseline.unit == "epoch"  # the job keeps what was given


def test_a_baseline_in_steps_is_run_as_it_is():
    body = {"family": "cosine", "decay_steps": "50%"}
    spec = JobSpec.model_validate(job({"total_steps": 380, "body": body}))
    assert spec.baseline.body.decay_steps == 190.0
    assert planned(spec, 380) == spec.baseline.bare()


def test_a_baseline_may_be_a_preset_with_relative_lengths():
    preset = {"name": "wsd", "warmup_steps": "1ep", "cooldown_steps": "25%"}
    given = job({"unit": "epoch", "total_steps": "20ep", "preset": preset})
    del given["baseline"]["body"]
    spec = JobSpec.model_validate(given)
    assert (spec.baseline.warmup.steps, spec.baseline.cooldown.start) == (1.0, 15.0)
    assert planned(spec, 380).total_steps == 380


@pytest.mark.parametrize(
    ("baseline", "training", "told"),
    [
        ({"unit": "epoch", "total_steps": 21}, {}, "21, but this job trains 20 epochs"),
        ({"unit": "epoch", "total_steps": 380}, {}, "380, but this job trains 20 epochs"),
        ({"total_steps": 20}, {}, "20, but this job trains 380 steps"),
        ({"unit": "second", "total_steps": 380}, {}, "'second' does not fit: it must be step"),
        (
            {"unit": "epoch", "total_steps": 20},
            {"epochs": None, "steps": 380},
            "'epoch' does not fit: it must be step, or epoch where training.epochs is given",
        ),
        (
            {"unit": "epoch", "total_steps": 1000},
            {"epochs": 1000, "batch_size": 1},
            "at most 1000000 steps, this one has 1258000: give the baseline in steps",
        ),
    ],
)
def test_a_baseline_of_another_length_is_refused(baseline, training, told):
    with pytest.raises(ValueError, match=told):
        JobSpec.model_validate(job(baseline, **training))
