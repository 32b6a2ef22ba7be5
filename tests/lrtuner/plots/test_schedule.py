"""The picture of a schedule, read back."""

import itertools
import re

import numpy as np
import pytest

import lrtuner
from lrtuner.document import Verdict
from lrtuner.export import EXPORTERS, fidelities
from lrtuner.plots import schedule_svg
from lrtuner.plots.schedule import MAX_POINTS, curve, phases
from lrtuner.words import rule_rows
from tests.conformance.samples import SAMPLES, config, reactive
from tests.lrtuner.plots.reading import Picture

CONSTANT = {"family": "constant"}
BASELINE = {"peak_lr": 0.2, "body": {"family": "cosine", "decay_steps": 300.0}}

SPECIAL = {
    "one step": {"total_steps": 1, "peak_lr": 0.1, "body": CONSTANT},
    "long": {
        "total_steps": 1_000_000_000,
        "peak_lr": 3e-4,
        "warmup": {"steps": "1%"},
        "body": {"family": "cosine_restarts", "first_steps": "12%", "t_mult": 1.5},
        "cooldown": {"start": "98%", "steps": "2%"},
    },
    "warmup all the way": {
        "total_steps": 90,
        "peak_lr": 1e-8,
        "warmup": {"steps": 90},
        "body": CONSTANT,
    },
    "narrow phases": {
        "preset": {"name": "wsd", "warmup_steps": "1%", "cooldown_steps": "1%"},
        "total_steps": 5000,
        "peak_lr": 123.0,
    },
    "seconds": {
        "unit": "second",
        "total_steps": "3h",
        "peak_lr": 0.1,
        "body": {"family": "step", "every": "61min", "rate": 0.3},
    },
    "epochs": {
        "unit": "epoch",
        "total_steps": 30,
        "peak_lr": 0.1,
        "body": {"family": "multistep", "milestones": [15, 20], "factors": [0.1, 0.01]},
    },
    "end far below": {"preset": "one_cycle", "total_steps": 700, "peak_lr": 0.1},
}


def compared(schedule, **verdict):
    told = {"status": "estimated", "metric": "val_loss", "pairs": 5, "reason": "because"}
    baseline = {"total_steps": schedule.total_steps, **BASELINE}
    told |= {"baseline": baseline, "difference": -0.012, "ci95": [-0.019, -0.005], "p_value": 0.03}
    return schedule.model_copy(update={"verdict": Verdict.model_validate(told | verdict)})


DOCUMENTS = (
    {name: config(schedule) for name, schedule in SAMPLES.items()}
    | {name: lrtuner.load(data) for name, data in SPECIAL.items()}
    | {f"{name}, compared": compared(config(SAMPLES[name])) for name in ("step-4", "cyclic-5")}
    | {"plateau": reactive(patience=3), "long name": reactive(monitor="m" * 100)}
)
every_document = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)


@every_document
def test_a_picture_needs_nothing_but_itself(document):
    svg = schedule_svg(document)
    picture = Picture(svg)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"script|href|@import|url\(|<image|nan|inf\b", svg, flags=re.IGNORECASE)
    assert not {"width", "height"} & set(picture.root.keys())
    title, desc = picture.root[0], picture.root[1]
    assert (title.tag, desc.tag) == (f"{title.tag[:28]}title", f"{title.tag[:28]}desc")
    assert title.text
    assert len(desc.text) > 40
    assert "prefers-color-scheme:dark" in svg
    assert schedule_svg(document) == svg


@every_document
def test_no_label_lies_on_another_or_outside(document):
    picture = Picture(schedule_svg(document))
    boxes = list(picture.boxes())
    for text, (left, top, right, bottom) in boxes:
        assert left >= 0, text
        assert top >= 0, text
        assert right <= picture.width, text
        assert bottom <= picture.height, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (one, other)


@pytest.mark.parametrize("name", [n for n, s in SAMPLES.items() if s.total_steps < 1000])
def test_each_rate_is_drawn_where_it_is_used(name):
    schedule = SAMPLES[name]
    t, rates = Picture(schedule_svg(config(schedule))).values()
    one_pixel_x, one_pixel_y = schedule.total_steps / 700, np.max(rates) / 240
    assert np.max(np.abs(t[0::2] - np.arange(schedule.total_steps))) < 0.05 * one_pixel_x
    assert np.max(np.abs(t[1::2] - np.arange(schedule.total_steps) - 1)) < 0.05 * one_pixel_x
    for drawn in (rates[0::2], rates[1::2]):
        assert np.max(np.abs(drawn - schedule.values())) < 0.05 * one_pixel_y


def test_epochs_drop_all_at_once():
    t, rates = Picture(schedule_svg(DOCUMENTS["epochs"])).values()
    assert np.max(np.abs(t - np.rint(t))) < 1e-3
    at_15 = rates[np.abs(t - 15) < 1e-3]
    assert sorted(at_15) == pytest.approx([0.01, 0.1], abs=1e-4)


@pytest.mark.parametrize(("name", "height"), [("seconds", 40), ("long", 100)])
def test_jumps_of_long_schedules_are_vertical(name, height):
    picture = Picture(schedule_svg(DOCUMENTS[name]))
    xs, ys = picture.lines()["s0"].T
    jumps = np.abs(np.diff(ys)) > height
    assert np.count_nonzero(jumps) >= 2
    assert np.max(np.diff(xs)[jumps]) < 0.1


def test_cycles_too_fast_to_see_fill_all_between_their_bounds():
    # a sample at every 1,000,000th step would always meet the same phase
    body = {"family": "cyclic", "up": 2500.0, "base_factor": 0.1}
    schedule = lrtuner.load({"total_steps": 10**9, "peak_lr": 1.0, "body": body})
    _, rates = curve(schedule, schedule.total_steps)
    assert len(rates) > MAX_POINTS / 2
    some = rates[: len(rates) // 6 * 6].reshape(-1, 6)
    assert np.median(some.max(axis=1)) > 0.99
    assert np.median(some.min(axis=1)) < 0.11


def test_a_spike_of_one_step_is_kept():
    values = [0.1] * 150_000
    values[77_777] = 1.0
    body = {"family": "table", "values": values}
    schedule = lrtuner.load({"total_steps": len(values), "peak_lr": 1.0, "body": body})
    t, rates = curve(schedule, schedule.total_steps)
    assert len(t) <= MAX_POINTS
    assert t[np.argmax(rates)] == 77_777
    assert np.max(rates) == 1.0
    assert "peak 1" in Picture(schedule_svg(schedule)).texts


@every_document
def test_a_curve_has_few_points_and_ends_at_the_horizon(document):
    if not callable(getattr(document, "values", None)):
        return
    t, rates = curve(document, document.total_steps)
    assert len(t) == len(rates) <= MAX_POINTS
    assert np.all(np.diff(t) >= 0)
    assert (t[0], t[-1]) == (0, document.total_steps)
    seconds = document.unit == "second"
    assert rates[-1] == document(document.total_steps - (not seconds))


def test_phases_are_shaded_and_named_over_their_place():
    data = {
        "total_steps": 100,
        "peak_lr": 0.1,
        "warmup": {"steps": 30},
        "body": {"family": "cosine", "decay_steps": 70.0},
        "cooldown": {"start": 80, "steps": 20},
    }
    picture = Picture(schedule_svg(lrtuner.load(data)))
    bands = [(float(b.get("x")), float(b.get("width"))) for b in picture.each("rect", "band")]
    assert [picture.x_axis([x, x + w]).round(2).tolist() for x, w in bands] == [[0, 30], [80, 100]]
    middles = {text: (box[0] + box[2]) / 2 for text, box in picture.boxes()}
    named = picture.x_axis([middles[name] for name in ("warmup", "cosine", "cooldown")])
    assert named == pytest.approx([15, 55, 90], abs=1)


@pytest.mark.parametrize(
    ("warmup", "cooldown", "expected"),
    [
        (30, 60, [("warmup", 0, 30), ("body", 30, 60), ("cooldown", 60, 100)]),
        (30, 20, [("warmup", 0, 30), ("cooldown", 30, 100)]),  # the warmup comes first
        (None, 0, [("cooldown", 0, 100)]),
        (100, None, [("warmup", 0, 100)]),
        (None, 200, [("body", 0, 100)]),
    ],
)
def test_phases(warmup, cooldown, expected):
    data = {
        "total_steps": 100,
        "peak_lr": 0.1,
        "warmup": warmup and {"steps": warmup},
        "body": CONSTANT,
        "cooldown": None if cooldown is None else {"start": cooldown, "steps": 20},
    }
    assert phases(lrtuner.load(data)) == expected


def test_the_baseline_is_dashed_and_both_are_named():
    schedule = lrtuner.load({"total_steps": 300, "peak_lr": 0.1, "body": CONSTANT})
    picture = Picture(schedule_svg(compared(schedule)))
    _, rates = picture.values("s1")
    baseline = lrtuner.Schedule(total_steps=300, **BASELINE)
    assert rates[0::2] == pytest.approx(baseline.values(), abs=1e-4)
    assert set(picture.lines()) == {"s0", "s1"}
    assert "recommended: constant, peak 0.1, 300 steps" in picture.texts
    assert "baseline: cosine, peak 0.2, 300 steps" in picture.texts
    assert ".line.s1{stroke-dasharray:7 4}" in picture.svg
    assert ".line.s0{stroke-dasharray:none}" in picture.svg


def test_what_is_nearest_to_the_eye_is_the_recommended_curve():
    schedule = lrtuner.load({"total_steps": 300, "peak_lr": 0.1, "body": CONSTANT})
    assert list(Picture(schedule_svg(compared(schedule))).lines()) == ["s1", "s0"]


@pytest.mark.parametrize(
    "baseline",
    [None, {"family": "of a later version"}, {"unit": "epoch", "total_steps": 30} | BASELINE],
)
def test_a_baseline_that_cannot_be_drawn_is_left_out(baseline):
    schedule = lrtuner.load({"total_steps": 30, "peak_lr": 0.1, "body": CONSTANT})
    picture = Picture(schedule_svg(compared(schedule, baseline=baseline)))
    assert set(picture.lines()) == {"s0"}
    assert not any("recommended" in text for text in picture.texts)


def test_the_head_says_what_it_is_and_how_sure():
    schedule = lrtuner.load({"total_steps": 30, "peak_lr": 0.1, "body": CONSTANT})
    texts = Picture(schedule_svg(compared(schedule))).texts
    assert texts[0] == "constant, peak 0.1, 30 steps"
    assert texts[1].startswith("verdict: estimated (not confirmed); val_loss -0.012")
    assert "no verdict" in Picture(schedule_svg(schedule)).texts[1]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"body": CONSTANT}, {"peak 0.1", "end 0.1"}),
        ({"body": {"family": "table", "values": [0.2, 0.5, 0.3]}}, {"highest 0.05", "end 0.03"}),
        ({"preset": "linear"}, {"peak 0.1", "end 0.001"}),
    ],
)
def test_the_highest_and_the_last_rate_are_told(data, told):
    picture = Picture(schedule_svg(lrtuner.load({"total_steps": 100, "peak_lr": 0.1, **data})))
    assert told <= set(picture.texts)


@pytest.mark.parametrize(
    ("seconds", "label", "last"),
    [
        (90, "seconds of training", 90),
        (600, "minutes of training", 10),
        ("3h", "hours of training", 3),
    ],
)
def test_the_clock_is_read_in_the_unit_that_fits(seconds, label, last):
    data = {"unit": "second", "total_steps": seconds, "peak_lr": 0.1, "body": CONSTANT}
    picture = Picture(schedule_svg(lrtuner.load(data)))
    assert label in picture.texts
    assert picture.values()[0][-1] == pytest.approx(last, abs=0.01)


def test_words_of_strangers_are_words():
    bad = '</text><script>alert(1)</script>&amp;"\x00\x1b[2J\ufffe\ud800'
    schedule = lrtuner.load({"total_steps": 30, "peak_lr": 0.1, "body": CONSTANT})
    picture = Picture(schedule_svg(compared(schedule, metric=bad, reason=bad)))
    assert not list(picture.each("script"))
    assert any("</text><script>alert(1)" in text for text in picture.texts)
    assert picture.svg.encode()


@pytest.mark.parametrize("document", [config(SAMPLES["cosine-4"]), reactive()])
def test_it_can_be_downloaded_and_no_fidelity_of_it_is_published(document):
    assert EXPORTERS["svg"].render(document) == schedule_svg(document)
    assert set(fidelities(document)) == set(EXPORTERS) - {"svg"}


def test_a_rule_that_reacts_is_put_in_words():
    document = reactive(patience=3, min_factor=0.01, threshold=0.02)
    picture = Picture(schedule_svg(document))
    assert not list(picture.each("path"))
    told = " ".join(picture.texts)
    for name, text in rule_rows(document):
        assert name in picture.texts
        assert text in told
    assert "4 epochs in a row did not improve" in told
    assert "never below 0.001" in told
    assert "more than 2 % below" in told
