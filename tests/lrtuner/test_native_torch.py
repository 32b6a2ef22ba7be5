"""The grammar says what torch's own schedulers do: each one is run and compared at every step.

Where torch leaves its documented range the comparison ends: past `T_max` its cosine rises again,
past `total_steps` OneCycleLR raises. There ours hold.
"""

import math
import re

import numpy as np
import pytest

from lrtuner.document import load

torch = pytest.importorskip("torch")
s = torch.optim.lr_scheduler
SWALR = torch.optim.swa_utils.SWALR

T = 240
WARMUP = {"steps": 24.0, "start_factor": 0.1}
WITHIN = 1e-12


def native(make, steps):
    """The rates of so many updates under a scheduler of torch, at a base rate of 0.1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        if step < steps - 1:
            optimizer.step()
            scheduler.step()
    return rates


def ours(parts, steps=T):
    return load({"total_steps": steps, "peak_lr": 0.1, **parts}).values()


def one_cycle(**settings):
    return lambda o: s.OneCycleLR(o, 0.1, total_steps=T, cycle_momentum=False, **settings)


def cyclic(base, *, top=0.1, **settings):
    return lambda o: s.CyclicLR(o, base, top, cycle_momentum=False, **settings)


def warmed(after):
    """A linear warmup and then another scheduler, which starts at its own step 0."""
    return lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, total_iters=24), after(o)], [24])


def stable_then_linear(o):
    parts = [s.LinearLR(o, 0.1, 1.0, 24), s.ConstantLR(o, 1.0), s.LinearLR(o, 1.0, 0.02, 40)]
    return s.SequentialLR(o, parts, [24, 200])


def cosine(end_factor=0.0, steps=float(T)):
    return {"family": "cosine", "decay_steps": steps, "end_factor": end_factor}


CASES = {
    "ConstantLR of factor 1": (
        lambda o: s.ConstantLR(o, factor=1.0),
        {"body": {"family": "constant"}},
    ),
    "ConstantLR, then the base": (
        lambda o: s.ConstantLR(o, factor=1 / 3, total_iters=5),
        {"body": {"family": "multistep", "milestones": [5], "factors": [1 / 3, 1.0]}},
    ),
    "LinearLR up": (
        lambda o: s.LinearLR(o, start_factor=1 / 3, total_iters=50),
        {"warmup": {"steps": 50, "start_factor": 1 / 3}, "body": {"family": "constant"}},
    ),
    "LinearLR down": (
        lambda o: s.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=180),
        {"body": {"family": "polynomial", "decay_steps": 180, "end_factor": 0.1}},
    ),
    "StepLR": (
        lambda o: s.StepLR(o, step_size=7, gamma=0.6),
        {"body": {"family": "step", "every": 7, "rate": 0.6}},
    ),
    "StepLR by halves": (
        lambda o: s.StepLR(o, step_size=50, gamma=0.5),
        {"body": {"family": "step", "every": 50, "rate": 0.5}},
    ),
    "MultiStepLR": (
        lambda o: s.MultiStepLR(o, [30, 80, 200], gamma=0.3),
        {
            "body": {
                "family": "multistep",
                "milestones": [30, 80, 200],
                "factors": [0.3, 0.3**2, 0.3**3],
            }
        },
    ),
    "MultiStepLR, a milestone twice": (
        lambda o: s.MultiStepLR(o, [30, 80, 80], gamma=0.3),
        {"body": {"family": "multistep", "milestones": [30, 80], "factors": [0.3, 0.3**3]}},
    ),
    "ExponentialLR": (
        lambda o: s.ExponentialLR(o, gamma=0.97),
        {"body": {"family": "exponential", "decay_steps": 1, "rate": 0.97}},
    ),
    "PolynomialLR of power 1": (
        lambda o: s.PolynomialLR(o, total_iters=T),
        {"body": {"family": "polynomial", "decay_steps": T}},
    ),
    "PolynomialLR that ends early": (
        lambda o: s.PolynomialLR(o, total_iters=180, power=1.7),
        {"body": {"family": "polynomial", "decay_steps": 180, "power": 1.7}},
    ),
    "CosineAnnealingLR": (lambda o: s.CosineAnnealingLR(o, T_max=T), {"body": cosine()}),
    "CosineAnnealingLR with a floor": (
        lambda o: s.CosineAnnealingLR(o, T_max=T, eta_min=0.004),
        {"body": cosine(0.04)},
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: s.CosineAnnealingWarmRestarts(o, T_0=50),
        {"body": {"family": "cosine_restarts", "first_steps": 50}},
    ),
    "CosineAnnealingWarmRestarts, doubling": (
        lambda o: s.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2, eta_min=0.001),
        {
            "body": {
                "family": "cosine_restarts",
                "first_steps": 10,
                "t_mult": 2,
                "end_factor": 0.01,
            }
        },
    ),
    "CosineAnnealingWarmRestarts, tripling from 1": (
        lambda o: s.CosineAnnealingWarmRestarts(o, T_0=1, T_mult=3),
        {"body": {"family": "cosine_restarts", "first_steps": 1, "t_mult": 3}},
    ),
    "OneCycleLR": (one_cycle(), {"preset": "one_cycle"}),
    "OneCycleLR, linear": (
        one_cycle(anneal_strategy="linear"),
        {"preset": {"name": "one_cycle", "anneal": "linear"}},
    ),
    "OneCycleLR, three phases": (
        one_cycle(three_phase=True),
        {"preset": {"name": "one_cycle", "three_phase": True}},
    ),
    "OneCycleLR, three linear phases": (
        one_cycle(three_phase=True, anneal_strategy="linear", pct_start=0.42),
        {
            "preset": {
                "name": "one_cycle",
                "three_phase": True,
                "anneal": "linear",
                "pct_start": 0.42,
            }
        },
    ),
    "OneCycleLR, other divisors": (
        one_cycle(pct_start=0.123, div_factor=7.0, final_div_factor=300.0),
        {
            "preset": {
                "name": "one_cycle",
                "pct_start": 0.123,
                "div_factor": 7,
                "final_div_factor": 300,
            }
        },
    ),
    "CyclicLR": (
        cyclic(0.01, step_size_up=20),
        {"body": {"family": "cyclic", "up": 20, "base_factor": 0.1}},
    ),
    "CyclicLR, uneven": (
        cyclic(0.01, step_size_up=20, step_size_down=37),
        {"body": {"family": "cyclic", "up": 20, "down": 37, "base_factor": 0.1}},
    ),
    "CyclicLR, triangular2": (
        cyclic(0.01, step_size_up=20, step_size_down=30, mode="triangular2"),
        {
            "body": {
                "family": "cyclic",
                "up": 20,
                "down": 30,
                "base_factor": 0.1,
                "mode": "triangular2",
            }
        },
    ),
    "CyclicLR, exp_range": (
        cyclic(0.0, step_size_up=30, mode="exp_range", gamma=0.99),
        {
            "body": {
                "family": "cyclic",
                "up": 30,
                "base_factor": 0.0,
                "mode": "exp_range",
                "gamma": 0.99,
            }
        },
    ),
    "LinearLR, then cosine": (
        warmed(lambda o: s.CosineAnnealingLR(o, T_max=T - 24, eta_min=0.001)),
        {"warmup": WARMUP, "body": cosine(0.01, T - 24.0)},
    ),
    "LinearLR, then exponential": (
        warmed(lambda o: s.ExponentialLR(o, 0.98)),
        {"warmup": WARMUP, "body": {"family": "exponential", "decay_steps": 1, "rate": 0.98}},
    ),
    "LinearLR, then polynomial": (
        warmed(lambda o: s.PolynomialLR(o, T - 24, power=2.0)),
        {"warmup": WARMUP, "body": {"family": "polynomial", "decay_steps": T - 24, "power": 2}},
    ),
    "LinearLR, then steps": (
        warmed(lambda o: s.StepLR(o, 50, 0.2)),
        {"warmup": WARMUP, "body": {"family": "step", "every": 50, "rate": 0.2}},
    ),
    "LinearLR, then milestones": (
        warmed(lambda o: s.MultiStepLR(o, [60, 120], 0.2)),
        {
            "warmup": WARMUP,
            "body": {"family": "multistep", "milestones": [60, 120], "factors": [0.2, 0.2**2]},
        },
    ),
    "LinearLR, then warm restarts": (
        warmed(lambda o: s.CosineAnnealingWarmRestarts(o, 20, 2)),
        {
            "warmup": WARMUP,
            "body": {"family": "cosine_restarts", "first_steps": 20, "t_mult": 2},
        },
    ),
    "warmup, stable, linear": (
        stable_then_linear,
        {
            "warmup": WARMUP,
            "body": {"family": "constant"},
            "cooldown": {"start": 200, "steps": 40, "end_factor": 0.02},
        },
    ),
    "ChainedScheduler of two decays": (
        lambda o: s.ChainedScheduler([s.ExponentialLR(o, 0.99), s.ExponentialLR(o, 0.98)]),
        {"body": {"family": "exponential", "decay_steps": 1, "rate": 0.99 * 0.98}},
    ),
    "ChainedScheduler of a warmup and steps": (
        lambda o: s.ChainedScheduler([s.LinearLR(o, 0.1, 1.0, 24), s.StepLR(o, 60, 0.5)]),
        {"warmup": WARMUP, "body": {"family": "step", "every": 60, "rate": 0.5, "offset": 24}},
    ),
    "SWALR": (
        lambda o: SWALR(o, swa_lr=0.02, anneal_epochs=15),
        {"preset": {"name": "swa", "swa_lr": 0.02, "start": 0, "anneal_steps": 15}},
    ),
    "SWALR, linear, after a constant": (
        lambda o: s.SequentialLR(
            o,
            [
                s.ConstantLR(o, 1.0),
                SWALR(o, swa_lr=0.02, anneal_epochs=15, anneal_strategy="linear"),
            ],
            [180],
        ),
        {"preset": {"name": "swa", "swa_lr": 0.02, "anneal_steps": 15, "anneal": "linear"}},
    ),
    "LambdaLR": (
        lambda o: s.LambdaLR(o, lambda t: 1.0 / (1.0 + 0.03 * t)),
        {"body": {"family": "inverse_time", "decay_steps": 1, "rate": 0.03}},
    ),
    "LambdaLR over the inverse square root": (
        lambda o: s.LambdaLR(o, lambda t: (t + 1) ** -0.5),
        {"body": {"family": "inverse_power", "timescale": 1}},
    ),
    "LambdaLR over anything": (
        lambda o: s.LambdaLR(o, lambda t: abs(math.sin(t))),
        {"body": {"family": "table", "values": [abs(math.sin(t)) for t in range(T)]}},
    ),
    "MultiplicativeLR": (
        lambda o: s.MultiplicativeLR(o, lambda t: 0.95),
        {"body": {"family": "exponential", "decay_steps": 1, "rate": 0.95}},
    ),
}


@pytest.mark.parametrize(("make", "parts"), CASES.values(), ids=CASES)
def test_the_grammar_gives_the_rates_of_torch(make, parts):
    expected = native(make, T)
    assert len(set(expected)) > 1 or parts["body"] == {"family": "constant"}
    np.testing.assert_allclose(ours(parts), expected, rtol=0, atol=WITHIN * 0.1)


def test_every_scheduler_of_torch_with_a_closed_form_is_here():
    used = set(re.findall(r"\w+", " ".join(CASES)))
    classes = {name for name in s.__all__ if name not in ("LRScheduler", "ReduceLROnPlateau")}
    assert classes - used == {"SequentialLR"}  # it is in `warmed`


@pytest.mark.parametrize("total", [4, 7, 10, 33, 1000])
@pytest.mark.parametrize("pct_start", [0.3, 0.5, 0.77])
def test_one_cycle_is_torchs_at_any_length(total, pct_start):
    expected = native(
        lambda o: s.OneCycleLR(
            o, 0.1, total_steps=total, pct_start=pct_start, cycle_momentum=False
        ),
        total,
    )
    found = ours({"preset": {"name": "one_cycle", "pct_start": pct_start}}, total)
    np.testing.assert_allclose(found, expected, rtol=0, atol=WITHIN * 0.1)


def test_torchs_cosine_rises_again_where_ours_holds():
    past = native(lambda o: s.CosineAnnealingLR(o, T_max=T), int(1.5 * T) + 1)
    schedule = load({"total_steps": T, "peak_lr": 0.1, "body": cosine()})
    assert past[-1] == pytest.approx(0.05)
    assert schedule(1.5 * T) == schedule(T) == pytest.approx(0, abs=1e-17)


def test_torch_finds_the_wrong_cycle_from_a_logarithm_and_ours_does_not():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = s.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=3)
    scheduler.step(121)  # the start of the sixth cycle: 1 + 3 + 9 + 27 + 81
    body = {"family": "cosine_restarts", "first_steps": 1, "t_mult": 3}
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    assert load({"total_steps": 2000, "peak_lr": 0.1, "body": body})(121) == 0.1
