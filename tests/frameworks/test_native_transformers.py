"""The grammar says what the schedulers of transformers do: each is run and compared at each step.

Their warmup is t / W and starts at 0; all but two count the body from the end of the warmup. Past
the horizon their cosines rise again, so that the comparison ends there.
"""

import numpy as np
import pytest

from lrtuner.document import load

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks

T, W = 240, 24
PEAK = 0.1
WITHIN = 1e-12 * PEAK
FROM_ZERO = {"steps": W, "start_factor": 0.0}
REST = T - W


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers")


def native(transformers, name, settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = transformers.get_scheduler(
        name, optimizer, W, T, scheduler_specific_kwargs=settings
    )
    rates = []
    for _ in range(T):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def stable(**cooldown):
    return {
        "warmup": FROM_ZERO,
        "body": {"family": "constant"},
        "cooldown": {"start": 180, "steps": 60, **cooldown},
    }


CASES = {
    "constant": ("constant", {}, {"body": {"family": "constant"}}),
    "constant_with_warmup": (
        "constant_with_warmup",
        {},
        {"warmup": FROM_ZERO, "body": {"family": "constant"}},
    ),
    "linear": (
        "linear",
        {},
        {"warmup": FROM_ZERO, "body": {"family": "polynomial", "decay_steps": REST}},
    ),
    "cosine": (
        "cosine",
        {},
        {"warmup": FROM_ZERO, "body": {"family": "cosine", "decay_steps": REST}},
    ),
    "cosine_with_restarts": (
        "cosine_with_restarts",
        {"num_cycles": 3},
        {
            "warmup": FROM_ZERO,
            "body": {"family": "cosine_restarts", "first_steps": REST / 3, "cycles": 3},
        },
    ),
    "polynomial": (
        "polynomial",
        {"lr_end": 0.002, "power": 1.7},
        {
            "warmup": FROM_ZERO,
            "body": {
                "family": "polynomial",
                "decay_steps": REST,
                "power": 1.7,
                "end_factor": 0.02,
            },
        },
    ),
    "inverse_sqrt": (
        "inverse_sqrt",
        {},
        {"warmup": FROM_ZERO, "body": {"family": "inverse_power", "timescale": W}},
    ),
    "inverse_sqrt of a timescale": (
        "inverse_sqrt",
        {"timescale": 100},
        {"warmup": FROM_ZERO, "body": {"family": "inverse_power", "timescale": 100}},
    ),
    "cosine_with_min_lr": (
        "cosine_with_min_lr",
        {"min_lr": 0.005},
        {
            "warmup": FROM_ZERO,
            "body": {"family": "cosine", "decay_steps": REST, "end_factor": 0.05},
        },
    ),
    # this one alone warms up over (t + 1) / W, and is a step ahead in the body
    "cosine_warmup_with_min_lr": (
        "cosine_warmup_with_min_lr",
        {"min_lr_rate": 0.05},
        {
            "warmup": {"steps": W - 1, "start_factor": 1 / W},
            "body": {"family": "cosine", "decay_steps": REST, "end_factor": 0.05},
        },
    ),
    "warmup_stable_decay, cosine": (
        "warmup_stable_decay",
        {"num_decay_steps": 60},
        stable(curve="cosine"),
    ),
    "warmup_stable_decay, linear": (
        "warmup_stable_decay",
        {"num_decay_steps": 60, "decay_type": "linear", "min_lr_ratio": 0.1},
        stable(end_factor=0.1) | {"warmup": {"steps": W, "start_factor": 0.1}},
    ),
    "warmup_stable_decay, 1-sqrt": (
        "warmup_stable_decay",
        {"num_decay_steps": 60, "decay_type": "1-sqrt", "warmup_type": "cosine"},
        stable(curve="1-sqrt") | {"warmup": {**FROM_ZERO, "curve": "cosine"}},
    ),
}


@pytest.mark.parametrize(("name", "settings", "parts"), CASES.values(), ids=CASES)
def test_the_grammar_gives_the_rates_of_transformers(transformers, name, settings, parts):
    schedule = load({"total_steps": T, "peak_lr": PEAK, **parts})
    expected = native(transformers, name, settings)
    np.testing.assert_allclose(schedule.values(), expected, rtol=0, atol=WITHIN)


def test_every_scheduler_of_transformers_with_a_closed_form_is_here(transformers):
    known = {name for name, _, _ in CASES.values()}
    assert {kind.value for kind in transformers.SchedulerType} - known == {
        "reduce_lr_on_plateau",
        "greedy",
    }
