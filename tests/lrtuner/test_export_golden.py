"""Exports to frameworks that are not installed here: published values, and recorded ones.

The recorded values were given by the frameworks themselves on a CPU (torch 2.13.0).
"""

import json

import numpy as np
import pytest

from lrtuner.document import load
from lrtuner.errors import UnsupportedError
from lrtuner.export import EXPORTERS, _deepspeed_json
from tests.conformance.replays import composer, deepspeed, fastai, timm
from tests.conformance.replays._standins import (
    FastaiBatches,
    FastaiLearner,
    FastaiParamScheduler,
    FastaiTrackerCallback,
    installed,
)
from tests.conformance.replays.torch import load_module
from tests.conformance.test_schedules import GOLDEN, W

pytest.importorskip("torch")

REPLAYS = {"timm": timm, "deepspeed": deepspeed, "fastai": fastai, "composer": composer}
STEPS = [0, 5, 9, 10, 50, 80, 99, 120]
CONTEXT = {"steps_per_epoch": 3, "batch_size": 4}

every_framework = pytest.mark.parametrize("name", REPLAYS)


def document(**fields):
    return load({"total_steps": 100, "peak_lr": 0.1, **fields})


def rates(name, schedule, steps):
    return REPLAYS[name].replay(EXPORTERS[name].render(schedule), schedule, steps)


@pytest.mark.parametrize(("parts", "expected"), GOLDEN.values(), ids=GOLDEN)
@every_framework
def test_golden_values(name, parts, expected):
    given = np.array(rates(name, document(**{"warmup": W, **parts}), 121))
    np.testing.assert_allclose(given[STEPS], expected, rtol=1e-11)


# timm 1.0.31: step_update, t_in_epochs=False; with warmup_t=10, warmup_lr_init=0.01 and
# warmup_prefix=True but for the second. At STEPS.
TIMM = {
    "CosineLRScheduler(t_initial=90, lr_min=0.001)": (
        {"warmup": W, "body": {"family": "cosine", "decay_steps": 90, "end_factor": 0.01}},
        [0.01, 0.055, 0.091, 0.1, 0.05909558479451, 0.01258080006561, 0.001030154062555, 0.001],
    ),
    "StepLRScheduler(decay_t=10, decay_rate=0.5)": (
        {"total_steps": 200, "body": {"family": "step", "every": 10, "rate": 0.5}},
        [0.1, 0.1, 0.1, 0.05, 0.003125, 0.000390625, 0.0001953125, 2.44140625e-05],
    ),
    "PolyLRScheduler(t_initial=90, power=2, lr_min=0.001)": (
        {
            "warmup": W,
            "body": {"family": "polynomial", "decay_steps": 90, "power": 2, "end_factor": 0.01},
        },
        [0.01, 0.055, 0.091, 0.1, 0.03155555555556, 0.005888888888889, 0.001012222222222, 0.001],
    ),
    "WSDLRScheduler(t_initial=90, decay_t=20, decay_fn='1-sqrt')": (
        {
            "warmup": W,
            "body": {"family": "constant"},
            "cooldown": {"start": 80, "steps": 20, "curve": "1-sqrt"},
        },
        [0.01, 0.055, 0.091, 0.1, 0.1, 0.1, 0.00253205655191, 0.0],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "recorded"), TIMM.values(), ids=TIMM)
def test_timms_own_schedulers_give_the_rates_of_the_export(parts, recorded):
    given = np.array(rates("timm", document(**parts), 121))
    np.testing.assert_allclose(given[STEPS], recorded, rtol=0, atol=1e-13)


# fastai 2.8.12: Learner.fit over 2 epochs of 5 batches, the rate of each optimizer step. What
# fastai combines of several pieces it computes in single precision.
FASTAI = {
    "SchedCos(0.1, 0.001)": (
        {"body": {"family": "cosine", "decay_steps": 10, "end_factor": 0.01}},
        [
            0.1, 0.09757729755661, 0.09054634122156, 0.07959536998848, 0.06579634122156, 0.0505,
            0.03520365877844, 0.02140463001152, 0.01045365877844, 0.00342270244339,
        ],
        1e-13,
    ),
    "SchedExp(0.1, 0.001)": (
        {"body": {"family": "exponential", "decay_steps": 10, "rate": 0.01}},
        [
            0.1, 0.06309573444802, 0.03981071705535, 0.0251188643151, 0.01584893192461, 0.01,
            0.006309573444802, 0.003981071705535, 0.00251188643151, 0.001584893192461,
        ],
        1e-13,
    ),
    "fit_flat_cos(lr=0.1, div_final=100, pct_start=0.5)": (
        {
            "body": {"family": "constant"},
            "cooldown": {"start": 5, "steps": 5, "curve": "cosine", "end_factor": 0.01},
        },
        [
            0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.09054633686299, 0.06579634474772, 0.03520365525228,
            0.01045366313701,
        ],
        3e-8,
    ),
    "fit_one_cycle(lr_max=0.1, pct_start=0.3)": (
        {
            "warmup": {"steps": 3, "start_factor": 0.04, "curve": "cosine"},
            "body": {"family": "cosine", "decay_steps": 7, "end_factor": 1e-5},
        },
        [
            0.004, 0.02799999740534, 0.07599999481068, 0.1, 0.09504849349101, 0.08117468043945,
            0.06112643022144, 0.03887456977856, 0.01882631956055, 0.004952510571261,
        ],
        3e-8,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "recorded", "within"), FASTAI.values(), ids=FASTAI)
def test_fastais_own_schedules_give_the_rates_of_the_export(parts, recorded, within):
    given = rates("fastai", document(total_steps=10, **parts), 10)
    np.testing.assert_allclose(given, recorded, rtol=0, atol=within)


# Composer 0.32.1: Trainer.fit over 10 batches, the optimizer's rate in each forward pass.
COMPOSER = {
    "LinearScheduler(t_max='10ba', alpha_f=0.1)": (
        {"body": {"family": "polynomial", "decay_steps": 10, "end_factor": 0.1}},
        [0.1, 0.1, 0.091, 0.082, 0.073, 0.064, 0.055, 0.046, 0.037, 0.028],
    ),
    "CosineAnnealingScheduler(t_max='10ba', alpha_f=0.1)": (
        {"body": {"family": "cosine", "decay_steps": 10, "end_factor": 0.1}},
        [
            0.1, 0.1, 0.09779754323328, 0.09140576474687, 0.08145033635316, 0.06890576474687,
            0.055, 0.04109423525313, 0.02854966364684, 0.01859423525313,
        ],
    ),
    "LinearWithWarmupScheduler(t_warmup='4ba', t_max='10ba')": (
        {
            "warmup": {"steps": 4, "start_factor": 0.0},
            "body": {"family": "polynomial", "decay_steps": 6},
        },
        [
            0.0, 0.0, 0.025, 0.05, 0.075, 0.1, 0.08333333333333, 0.06666666666667, 0.05,
            0.03333333333333,
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "recorded"), COMPOSER.values(), ids=COMPOSER)
def test_composers_own_schedulers_run_a_step_behind_the_export(parts, recorded):
    given = rates("composer", document(total_steps=10, **parts), 10)
    np.testing.assert_allclose([given[0], *given[:-1]], recorded, rtol=0, atol=1e-13)


# DeepSpeed 0.19.8: the rates of an engine's updates under the "scheduler" of its ds_config, which
# accumulates two micro-batches; the optimizer's rate is 0.1. With each what the export says of it.
WARMUP = {"steps": 4, "start_factor": 0.1}
LENGTHS = {"warmup_num_steps": 4, "total_num_steps": 10}
DEEPSPEED = {
    "WarmupLR": (
        {"warmup": WARMUP, "body": {"family": "constant"}},
        {"warmup_min_lr": 0.01, "warmup_max_lr": 0.1, "warmup_num_steps": 4},
        [0.01, 0.01, 0.0325, 0.055, 0.0775, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
        "Shifted by one step: off by up to 0.23 of PEAK_LR, most at update ",
    ),
    "WarmupDecayLR": (
        {"warmup": WARMUP, "body": {"family": "polynomial", "decay_steps": 6, "end_factor": 0.01}},
        {"warmup_min_lr": 0.001, "warmup_max_lr": 0.1, **LENGTHS},
        [
            0.001, 0.001, 0.02575, 0.0505, 0.07525, 0.1, 0.0835, 0.067, 0.0505, 0.034, 0.0175,
            0.001, 0.001,
        ],
        "Approximate: off by up to 0.32 of PEAK_LR, most at update 1.",
    ),
    "WarmupCosineLR": (
        {"warmup": WARMUP, "body": {"family": "cosine", "decay_steps": 6, "end_factor": 0.01}},
        {"warmup_min_ratio": 0.1, "cos_min_ratio": 0.01, **LENGTHS},
        [
            0.0, 0.01, 0.0325, 0.055, 0.0775, 0.09336825748733, 0.07525, 0.0505, 0.02575,
            0.00763174251267, 0.001, 0.001, 0.001,
        ],
        "Approximate: off by up to 0.23 of PEAK_LR, most at update ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEEPSPEED)
def test_the_nearest_of_deepspeeds_json_is_emulated_and_says_how_near_it_is(kind):
    parts, params, recorded, told = DEEPSPEED[kind]
    schedule = document(total_steps=10, **parts)
    config = _deepspeed_json.nearest(schedule)
    assert config["type"] == kind
    numbers = {**config["params"]}
    assert numbers.pop("warmup_type") == "linear"
    assert numbers == pytest.approx(params, rel=1e-15)
    emulated = _deepspeed_json.rates(config, np.arange(13.0), peak_lr=0.1)
    np.testing.assert_allclose(emulated, recorded, rtol=0, atol=1e-13)
    text = EXPORTERS["deepspeed"].render(schedule)
    assert load_module(text)["DS_CONFIG_SCHEDULER"] == config
    assert f"# {told}" in text


def test_a_constant_rate_is_exact_in_deepspeeds_json():
    text = EXPORTERS["deepspeed"].render(document(body={"family": "constant"}))
    assert "# Exact: the rates are the same." in text
    params = load_module(text)["DS_CONFIG_SCHEDULER"]["params"]
    assert params["warmup_min_lr"] == params["warmup_max_lr"] == 0.1


@pytest.mark.parametrize("total", [1, 2, 3, 50])
@pytest.mark.parametrize("body", ["constant", "polynomial", "cosine"])
@pytest.mark.parametrize("warmup", [None, {"steps": 1.0}, {"steps": 0.6, "start_factor": 0.3}])
def test_the_error_that_deepspeeds_json_states_is_true_for_short_runs_too(total, body, warmup):
    lengths = {} if body == "constant" else {"decay_steps": total}
    schedule = document(total_steps=total, body={"family": body, **lengths}, warmup=warmup)
    config, t = _deepspeed_json.nearest(schedule), np.arange(total + 3.0)
    assert config["params"]["warmup_num_steps"] >= 2  # DeepSpeed takes 1 for 2
    given = _deepspeed_json.rates(config, t, peak_lr=0.1)
    assert np.all(np.isfinite(given))
    assert np.all((given >= 0) & (given <= 0.1 * (1 + 1e-15)))
    worst = np.max(np.abs(given - schedule(t))) / 0.1
    assert ("Exact" if worst < 1e-12 else f"up to {worst:.2g} of") in _deepspeed_json.source(
        schedule
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"body": {"family": "exponential", "decay_steps": 10, "rate": 0.5}},
        {"body": {"family": "polynomial", "decay_steps": 100, "power": 2}},
        {"body": {"family": "cosine", "decay_steps": 100}, "min_factor": 0.1},
        {"body": {"family": "cosine", "decay_steps": 100, "offset": 1}},
        {"body": {"family": "constant"}, "cooldown": {"start": 80, "steps": 20}},
        {"body": {"family": "constant"}, "warmup": {"steps": 10, "curve": "cosine"}},
        {"body": {"family": "constant"}, "unit": "epoch", "context": CONTEXT},
    ],
)
def test_what_deepspeeds_json_cannot_say_is_left_out(parts):
    assert "DS_CONFIG_SCHEDULER" not in EXPORTERS["deepspeed"].render(document(**parts))


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")  # DeepSpeed's own
@pytest.mark.parametrize("steps", [0.6, 1.0, 4.0, 7.4])
@pytest.mark.parametrize("kind", DEEPSPEED)
def test_the_emulation_is_deepspeed_where_that_is_installed(kind, steps):
    lr_schedules = pytest.importorskip("deepspeed.runtime.lr_schedules")
    import torch  # noqa: PLC0415 - skipped without it

    parts = {**DEEPSPEED[kind][0], "warmup": {"steps": steps, "start_factor": 0.1}}
    config = _deepspeed_json.nearest(document(total_steps=10, **parts))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = getattr(lr_schedules, kind)(optimizer, **config["params"])
    given = []
    for _ in range(20):
        given.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    emulated = _deepspeed_json.rates(config, np.arange(20.0), peak_lr=0.1)
    np.testing.assert_allclose(emulated, given, rtol=0, atol=1e-15)


@every_framework
def test_a_schedule_in_epochs_holds_its_rate_throughout_each(name):
    parts = {"family": "multistep", "milestones": [2, 5], "factors": [1.0, 0.5, 0.2]}
    schedule = document(unit="epoch", total_steps=8, body=parts, context=CONTEXT)
    steps = np.arange(11) if name != "deepspeed" else np.arange(33) // CONTEXT["steps_per_epoch"]
    np.testing.assert_array_equal(rates(name, schedule, len(steps)), schedule(steps))


@every_framework
def test_a_schedule_in_seconds_is_refused(name):
    schedule = document(unit="second", body={"family": "constant"})
    with pytest.raises(UnsupportedError, match="follow the clock; torch, lightning and keras can"):
        EXPORTERS[name].render(schedule)


@every_framework
def test_only_who_counts_no_epochs_needs_to_be_told_their_length(name):
    schedule = document(unit="epoch", body={"family": "constant"})
    stated = EXPORTERS[name].fidelity(schedule)
    assert stated.fidelity == ("unsupported" if name == "deepspeed" else "exact")


def fitted(schedule, epochs, batches):
    """The rate of each batch of a fit with the fastai module."""
    with installed("fastai.callback.schedule", ParamScheduler=FastaiParamScheduler):
        callback = load_module(EXPORTERS["fastai"].render(schedule))["callback"]()
    seen = []
    FastaiLearner(FastaiBatches(batches), groups=1, seen=seen.append).fit(epochs, [1.0], callback)
    return [rate for (rate,) in seen]


def test_fastai_counts_optimizer_steps_where_batches_are_accumulated():
    linear = {"family": "polynomial", "decay_steps": 6}
    schedule = document(total_steps=6, body=linear, context={**CONTEXT, "grad_accum": 4})
    assert fitted(schedule, epochs=8, batches=3) == schedule(np.arange(24) // 4).tolist()


def test_fastai_finds_the_step_in_a_long_run_whatever_the_sum_of_shares_is():
    values = np.random.default_rng(0).random(30_000).tolist()
    schedule = document(total_steps=30_000, body={"family": "table", "values": values})
    assert fitted(schedule, epochs=3, batches=10_000) == schedule.values().tolist()


@pytest.mark.parametrize(("unit", "made"), [("step", 90), ("epoch", 9)])
def test_a_fit_of_another_length_is_refused(unit, made):
    schedule = document(unit=unit, body={"family": "constant"}, context=CONTEXT)
    with pytest.raises(ValueError, match=f"for 100 {unit}s, this fit makes {made}: change"):
        fitted(schedule, epochs=9, batches=10)


def test_fastais_plateau_in_steps_looks_at_the_loss_of_each_update():
    body = {"family": "plateau", "mode": "min", "monitor": "loss", "patience": 1, "factor": 0.5}
    reactive = load({"kind": "reactive", "unit": "step", "peak_lr": 0.1, "body": body})
    with installed("fastai.callback.tracker", TrackerCallback=FastaiTrackerCallback):
        callback = load_module(EXPORTERS["fastai"].render(reactive))["callback"]()
    losses, seen = np.array([3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]), []
    learner = FastaiLearner(FastaiBatches(4), 1, batch_losses=losses, seen=seen.append)
    learner.fit(2, [1.0], callback)
    factors = reactive.body.factors(losses)
    assert [rate for (rate,) in seen] == [0.1, *(0.1 * factor for factor in factors[:-1])]
    assert len(set(factors)) == 3


def test_the_docstring_says_what_gradient_accumulation_means():
    context = {**CONTEXT, "grad_accum": 4}
    text = {
        name: EXPORTERS[name].render(document(body={"family": "constant"}, context=context))
        for name in REPLAYS
    }
    assert '"gradient_accumulation_steps": 4' in text["deepspeed"]
    assert "a batch of Composer is all of it, 16." in text["composer"]
    assert "GRAD_ACCUM = 4" in text["fastai"]
    assert "not micro-batches" in text["timm"]
    for lines in text.values():
        assert max(map(len, lines.splitlines())) <= 100


def test_the_scheduler_of_ds_config_is_json():
    schedule = document(body={"family": "constant"}, peak_lr=1e-5)
    config = _deepspeed_json.nearest(schedule)
    assert json.loads(json.dumps(config)) == config
