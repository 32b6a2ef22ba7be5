"""Presets: each against what it is named after, and what is stored of them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtuner
from lrtuner.errors import InvalidScheduleError
from lrtuner.schedules.presets import PRESETS

PEAK = 0.1
WITHIN = 1e-12 * PEAK

# The least that each needs said.
ARGUMENTS = {
    "linear": {},
    "one_cycle": {},
    "wsd": {},
    "flat_cosine": {},
    "sgdr": {"cycles": 3},
    "noam": {"width": 512, "warmup_steps": 20},
    "ranger21": {},
    "swa": {"swa_lr": 0.01},
}


def document(name, total=200, **arguments):
    peak = {} if name == "noam" else {"peak_lr": PEAK}
    return {"total_steps": total, **peak, "preset": {"name": name, **arguments}}


def loaded(name, total=200, **arguments):
    return lrtuner.load(document(name, total, **arguments))


def close(schedule, rate, within=WITHIN):
    expected = [rate(t) for t in range(schedule.total_steps)]
    np.testing.assert_allclose(schedule.values(), expected, rtol=0, atol=within)


def native(make, steps):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = make(torch, optimizer)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        if step < steps - 1:
            optimizer.step()
            scheduler.step()
    return rates


def test_linear():
    def rate(t):
        return PEAK * (t + 1) / 21 if t < 20 else PEAK * (0.1 + 0.9 * (1 - (t - 20) / 180))

    close(loaded("linear"), lambda t: PEAK * (1 - t / 200))
    close(loaded("linear", warmup_steps=20, end_factor=0.1), rate)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize(
    ("pct", "div", "final"), [(0.3, 25.0, 1e4), (0.1, 10.0, 1e3), (0.47, 3.0, 1.0)]
)
def test_one_cycle_is_torchs(strategy, three_phase, pct, div, final):
    expected = native(
        lambda torch, o: torch.optim.lr_scheduler.OneCycleLR(
            o,
            PEAK,
            total_steps=200,
            pct_start=pct,
            anneal_strategy=strategy,
            cycle_momentum=False,
            div_factor=div,
            final_div_factor=final,
            three_phase=three_phase,
        ),
        200,
    )
    schedule = loaded(
        "one_cycle",
        pct_start=pct,
        div_factor=div,
        final_div_factor=final,
        three_phase=three_phase,
        anneal={"cos": "cosine"}.get(strategy, strategy),
    )
    np.testing.assert_allclose(schedule.values(), expected, rtol=0, atol=WITHIN)
    assert schedule(200) == schedule(10**6) == pytest.approx(expected[-1])


@pytest.mark.parametrize(
    ("curve", "fall"),
    [
        ({}, lambda u: 1 - u),
        ({"curve": "cosine"}, lambda u: (1 + math.cos(math.pi * u)) / 2),
        ({"curve": "1-sqrt"}, lambda u: 1 - math.sqrt(u)),
        ({"curve": "power", "power": 3}, lambda u: (1 - u) ** 3),
    ],
)
def test_warmup_stable_decay(curve, fall):
    schedule = loaded("wsd", warmup_steps=9, cooldown_steps=50, end_factor=0.02, **curve)

    def rate(t):
        if t < 9:
            return PEAK * (t + 1) / 10
        return PEAK * (0.02 + 0.98 * fall(max(t - 150, 0) / 50))

    close(schedule, rate)
    assert loaded("wsd").cooldown.steps == 40.0


def test_flat_cosine_is_fastais():
    # fit_flat_cos: at position t / T a constant, from 0.75 on a cosine to the rate over 1e5
    def rate(t):
        u = max(t / 200 - 0.75, 0) / 0.25
        return PEAK + (1 + math.cos(math.pi * (1 - u))) * (PEAK / 1e5 - PEAK) / 2

    close(loaded("flat_cosine"), rate)


def test_sgdr_by_the_length_of_the_first_cycle_and_by_their_number():
    by_length = loaded("sgdr", total=70, first_steps=10)
    by_number = loaded("sgdr", total=70, cycles=3)
    starts = [(0, 10), (10, 20), (30, 40)]

    def rate(t):
        start, length = next((s, n) for s, n in reversed(starts) if t >= s)
        return PEAK * (1 + math.cos(math.pi * (t - start) / length)) / 2

    close(by_length, rate)
    close(by_number, rate)
    assert loaded("sgdr", total=90, cycles=3, t_mult=1).body.first_steps == 30.0


@pytest.mark.parametrize(("width", "n"), [(512, 4000), (1024, 100.0), (1, 2)])
def test_noam_is_the_formula_of_the_paper(width, n):
    schedule = loaded("noam", total=9000, width=width, warmup_steps=n)
    peak = width**-0.5 * n**-0.5
    assert schedule.peak_lr == pytest.approx(peak, rel=1e-15)
    close(schedule, lambda t: width**-0.5 * min((t + 1) ** -0.5, (t + 1) * n**-1.5), 1e-15 * peak)
    assert loaded("noam", width=width, warmup_steps=20, scale=2).peak_lr == pytest.approx(
        2 * width**-0.5 * 20**-0.5
    )


@pytest.mark.parametrize("total", [3, 4, 17, 100, 4444, 4445, 10_000])
@pytest.mark.parametrize("beta2", [0.999, 0.98, 0.9])
def test_ranger21_is_what_the_optimizer_does(total, beta2):
    # its step s counts from 1
    warmup = math.ceil(2 / (1 - beta2))
    if warmup / total > 0.45:
        warmup = int(0.22 * total)
    down = int(0.72 * total)

    def rate(t):
        s = t + 1
        if s >= down:
            return PEAK - (PEAK - 3e-5) * min((s + 1 - down) / (total - down + 1), 1)
        return PEAK * min(1, s / warmup) if warmup else PEAK

    schedule = loaded("ranger21", total=total, beta2=beta2)
    close(schedule, rate)
    assert schedule(total - 1) == pytest.approx(3e-5, rel=1e-11)


@pytest.mark.parametrize(("anneal", "strategy"), [("cosine", "cos"), ("linear", "linear")])
def test_swa_is_torchs(anneal, strategy):
    def make(torch, optimizer):
        return torch.optim.swa_utils.SWALR(
            optimizer, swa_lr=0.01, anneal_epochs=12, anneal_strategy=strategy
        )

    schedule = loaded("swa", swa_lr=0.01, start=150, anneal_steps=12, anneal=anneal)
    assert set(schedule.values()[:151].tolist()) == {PEAK}
    np.testing.assert_allclose(schedule.values()[150:], native(make, 50), rtol=0, atol=WITHIN)
    assert loaded("swa", swa_lr=0.01).cooldown.start == 150.0


def test_every_preset_is_here():
    assert set(ARGUMENTS) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_stored_has_no_preset_and_loads_as_the_same(name):
    schedule = loaded(name, **ARGUMENTS[name])
    stored = schedule.document
    assert "preset" not in stored
    again = lrtuner.load(stored)
    assert again == schedule
    assert again.document == stored
    assert again.values().tolist() == schedule.values().tolist()


@pytest.mark.parametrize("name", [n for n, told in ARGUMENTS.items() if not told])
def test_a_preset_without_arguments_is_just_a_name(name):
    short = lrtuner.load({"total_steps": 200, "peak_lr": PEAK, "preset": name})
    assert short == loaded(name)


def test_lengths_of_a_preset_may_be_relative():
    relative = loaded("wsd", warmup_steps="5%", cooldown_steps="0.2dur")
    assert relative == loaded("wsd", warmup_steps=10, cooldown_steps=40)
    assert loaded("swa", swa_lr=0.01, start="0.5dur", anneal_steps="20st").cooldown.start == 100.0
    assert loaded("sgdr", first_steps="0.1dur").body.first_steps == 20.0
    assert loaded("linear", warmup_steps="10st") == loaded("linear", warmup_steps=10)
    context = {"context": {"steps_per_epoch": 10, "batch_size": 8}}
    epochs = lrtuner.load(document("linear", warmup_steps="2ep") | context)
    assert epochs.warmup.steps == 20.0
    noam = lrtuner.load(document("noam", width=512, warmup_steps="0.2dur"))
    assert noam.warmup.steps == 39.0


def test_other_parts_may_stand_beside_a_preset():
    schedule = lrtuner.load(document("linear") | {"min_factor": 0.2})
    assert schedule.values().min() == pytest.approx(0.02)
    cooled = lrtuner.load(document("linear") | {"cooldown": {"start": 100, "steps": 100}})
    assert cooled(150) == pytest.approx(0.5 * PEAK * 0.25)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        (
            "linear",
            {"colour": 1},
            "preset.colour: unknown; the arguments are warmup_steps, end_factor",
        ),
        ("linear", {"warmup_steps": -1}, "preset.warmup_steps: Input should be greater"),
        ("linear", {"warmup_steps": 200}, "preset.warmup_steps: 200 is too long"),
        ("linear", {"warmup_steps": "3dr"}, "preset.warmup_steps: '3dr' is no length"),
        ("linear", {"end_factor": 2}, "preset.end_factor: Input should be less"),
        ("linear", {"end_factor": "0.5"}, "preset.end_factor: Input should be a valid number"),
        ("linear", {"end_factor": math.nan}, "preset.end_factor: Input should be a finite number"),
        ("one_cycle", {"pct_start": 0.004}, "preset.pct_start: 0.004 of 200"),
        ("one_cycle", {"pct_start": 0.6, "three_phase": True}, "preset.pct_start: 0.6: two"),
        ("one_cycle", {"anneal": "cos"}, "preset.anneal: Input should be 'cosine' or 'linear'"),
        ("one_cycle", {"div_factor": 0.5}, "preset.div_factor"),
        ("wsd", {"cooldown_steps": 201}, "preset.cooldown_steps: 201 is too long"),
        ("wsd", {"warmup_steps": 201}, "preset.warmup_steps: 201 is too long"),
        ("wsd", {"warmup_steps": 100, "cooldown_steps": 101}, "preset.cooldown_steps: 101"),
        ("wsd", {"curve": "zigzag"}, "preset.curve: Input should be 'linear', 'cosine'"),
        ("wsd", {"curve": "power"}, "preset.power: the curve 'power' needs one"),
        ("wsd", {"power": 2}, "preset.power: 2.0 has no meaning for the curve 'linear'"),
        ("sgdr", {}, "preset.first_steps: give exactly one of first_steps and cycles"),
        ("sgdr", {"cycles": 2, "first_steps": 9}, "preset.first_steps: give exactly one"),
        ("sgdr", {"cycles": 2, "t_mult": 1.005}, "preset.t_mult: it must be 1, or 1.01 and more"),
        ("sgdr", {"cycles": 100, "t_mult": 1000}, "preset.cycles: 100 leave 1.998e-295"),
        ("noam", {"warmup_steps": 5}, "preset.width: Field required"),
        ("noam", {"width": 512, "warmup_steps": 500}, "preset.warmup_steps: 500 is too long"),
        ("ranger21", {"end_lr": 0.2}, "preset.end_lr: 0.2 is above the peak of 0.1"),
        ("ranger21", {"cooldown_from": 0.1}, "preset.cooldown_from: 0.1 of 200: the warmup of 44"),
        ("swa", {}, "preset.swa_lr: Field required"),
        ("swa", {"swa_lr": 0.2}, "preset.swa_lr: 0.2 is above the peak of 0.1"),
        ("swa", {"swa_lr": 0.01, "start": 300}, "preset.start: 300 is after the end"),
        ("zigzag", {}, "preset.name: 'zigzag' is unknown; it must be one of linear, one_cycle"),
    ],
)
def test_a_wrong_argument_is_named(name, arguments, told):
    with pytest.raises(InvalidScheduleError) as caught:
        loaded(name, **arguments)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"body": {"family": "constant"}}, "body: comes with the preset: leave out body (got"),
        ({"warmup": {"steps": 5}}, "warmup: comes with the preset: leave out warmup (got"),
        (
            {"body": {"family": "constant"}, "warmup": {"steps": 5}},
            "body: comes with the preset: leave out body, warmup (got",
        ),
        ({"preset": 7}, "preset: must be a name, or an object with a name and arguments (got 7)"),
        ({"preset": {}}, "preset.name: missing; it must be one of linear, one_cycle"),
        ({"preset": {"name": ["linear"]}}, "preset.name"),
        ({"preset": "noam"}, "preset.width: Field required"),
        ({"total_steps": 0}, "total_steps: a positive whole number is needed here (got 0)"),
        ({"total_steps": None}, "total_steps: a positive whole number is needed here"),
        ({"preset": {"name": "swa", "swa_lr": 1}, "peak_lr": 0}, "'swa' needs peak_lr, above 0"),
        ({"preset": {"name": "ranger21"}, "peak_lr": "x"}, "'ranger21' needs peak_lr"),
        ({"preset": {"name": "noam", "width": 9, "warmup_steps": 9}}, "leave peak_lr out"),
        ({"kind": "reactive"}, "preset: Extra inputs"),
    ],
)
def test_what_does_not_go_with_a_preset_is_refused(change, told):
    with pytest.raises(InvalidScheduleError) as caught:
        lrtuner.load({"total_steps": 200, "peak_lr": PEAK, "preset": "linear", **change})
    assert told in str(caught.value)


numbers: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 1100),
    st.floats(-0.1, 1.2),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.5, "0.1dur", "110%", "3st", "2ep", 10**400, True, None, "", [], {}]),
)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(PRESETS)), total=st.integers(1, 1000))
def test_any_arguments_give_a_schedule_or_an_error_that_names_them(data, name, total):
    fields = sorted(set(PRESETS[name].model_fields) - {"name"})
    words = st.sampled_from(["linear", "cosine", "power", "1-sqrt"])
    chosen = data.draw(st.dictionaries(st.sampled_from(fields), st.one_of(numbers, words)))
    given_document = document(name, total, **{**ARGUMENTS[name], **chosen})
    try:
        schedule = lrtuner.load(given_document)
    except InvalidScheduleError as error:
        told = str(error)
        assert told.startswith("not a valid schedule config: preset.")
        assert told.split("preset.")[1].split(":")[0].split(".")[0] in [*fields, "name"]
    else:
        values = schedule.values()
        assert np.all((values >= 0) & (values <= schedule.peak_lr))
        assert lrtuner.load(schedule.document).values().tolist() == values.tolist()
