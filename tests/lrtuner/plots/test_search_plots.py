"""The pictures of a search: each mark is where its number says, whatever there is to draw."""

import itertools
import random

import numpy as np
import pytest

from lrtuner.agreement import agreements
from lrtuner.ledger import ledger
from lrtuner.pairs import paired_runs
from lrtuner.plots import (
    ledger_svg,
    pairs_svg,
    rungs_svg,
    schedules_pages,
    schedules_svg,
    trials_svg,
)
from tests.lrtuner.plots.reading import Picture, number, points, scale
from tests.searched import VERDICT, T, range_test, schedule, trial, trials

PAIRS = paired_runs(trials(), "val_loss", VERDICT, schedule("cosine"))


def drawn_pairs(pairs=PAIRS, metric="val_loss", sign=1.0):
    return Picture(pairs_svg(pairs, metric, sign))


def marks(picture, class_="point"):
    """Where the marks of that class are in the plot, in pixels."""
    inner = list(picture.each("svg"))[1]
    found = [p for p in inner.iter() if class_ in p.get("class", "").split()]
    return [points(path) for path in found if path.get("d") != "M0,0"]


# pairs --------------------------------------------------------------------------------------------


def test_each_pair_is_a_square_in_its_row_at_its_difference():
    picture = drawn_pairs()
    [squares] = marks(picture)
    centres = squares.reshape(-1, 4, 2).mean(axis=1)
    differences = [pair.difference for pair in PAIRS.pairs]
    assert picture.x_axis(centres[:, 0]) == pytest.approx(differences, abs=2e-5)
    labels = [t for t in picture.each("text") if t.get("text-anchor") == "end"]
    rows = [float(t.get("y")) - 4.5 for t in labels]
    assert [t.text for t in labels] == ["1", "2", "3", "4", "5"]
    assert rows == sorted(rows)  # the first on top
    assert centres[:, 1] == pytest.approx(rows, abs=0.01)


def test_the_mean_the_interval_and_zero_are_where_they_say():
    picture = drawn_pairs()
    [dot] = picture.each("circle", "dot")
    assert picture.x_axis(float(dot.get("cx"))) == pytest.approx(PAIRS.mean, abs=2e-5)
    bar = next(picture.each("path", "bar"))
    assert picture.x_axis(points(bar)[:, 0]) == pytest.approx(PAIRS.ci95, abs=2e-5)
    [zero] = picture.each("line", "mark")
    assert picture.x_axis(float(zero.get("x1"))) == pytest.approx(0.0, abs=2e-5)
    assert "mean -0.032, 95 % interval [-0.03396, -0.03004], p = 0.03125, 5 pairs" in picture.texts


@pytest.mark.parametrize(("sign", "side"), [(1.0, -1), (-1.0, 1)])
def test_the_better_side_is_shaded(sign, side):
    picture = drawn_pairs(sign=sign)
    [band] = picture.each("rect", "band")
    middle = float(band.get("x")) + float(band.get("width")) / 2
    assert np.sign(picture.x_axis(middle)) == side


@pytest.mark.parametrize("values", [(0.5, 0.5), (0.5, None), (None, 0.5)])
def test_a_pair_that_says_nothing_is_no_error(values):
    ours, theirs = values
    runs = [trial(0, "recommended", value=ours), trial(1, "reference", "linear", theirs)]
    picture = drawn_pairs(paired_runs(runs, "val_loss"))
    assert "recommended is better" in picture.texts


def test_twenty_pairs_each_have_their_number():
    runs = []
    for seed in range(20):
        runs.append(trial(2 * seed, "recommended", value=0.5 + seed % 7 / 100, seed=seed))
        runs.append(trial(2 * seed + 1, "reference", "linear", 0.52, seed=seed))
    picture = drawn_pairs(paired_runs(runs, "val_loss"))
    assert {str(i) for i in range(1, 21)} <= set(picture.texts)
    check_labels(picture)


# rungs --------------------------------------------------------------------------------------------


def panel(picture, index):
    """One of several charts of a picture."""
    group = list(picture.each("g"))[index]
    found = Picture.__new__(Picture)
    found.svg, found.root, found.width, found.height = picture.svg, group, 0, 0
    return found


def plotted(chart, class_):
    inner = next(chart.each("svg"))
    return [p for p in inner.iter() if class_ in p.get("class", "").split()]


def test_each_arm_is_where_its_two_values_are():
    found = agreements(trials())
    picture = Picture(rungs_svg(found, "val_loss", 1.0))
    assert len(list(picture.each("g"))) == 3
    chart = panel(picture, 0)
    [path] = plotted(chart, "point")
    starts = np.array(
        [[float(n) for n in p.split("a")[0].split(",")] for p in path.get("d").split("M")[1:]]
    )
    x, y = chart.x_axis, scale(left_ticks(chart))
    arms = found[0].arms
    assert x(starts[:, 0] + 2.5) == pytest.approx([a.shorter_value for a in arms], abs=1e-3)
    assert y(starts[:, 1]) == pytest.approx([a.longer_value for a in arms], abs=1e-3)


def left_ticks(chart):
    labels = [t for t in chart.each("text") if t.get("text-anchor") == "end"]
    return [(float(t.get("y")) - 4.5, t.text) for t in labels]


def test_the_correlation_and_the_best_have_their_words():
    texts = Picture(rungs_svg(agreements(trials()), "val_loss", 1.0)).texts
    assert "3 schedules, Spearman's rank correlation 1.00" in texts
    assert "2 schedules: no rank correlation" in texts
    assert "val_loss after 20 steps" in texts
    assert "#5 cosine" in texts


@pytest.mark.parametrize(("sign", "best"), [(1.0, "#10 cosine"), (-1.0, "#19 cosine")])
def test_the_best_three_are_named(sign, best):
    runs = [trial(i, steps=20, peak=3.0**i, arm=f"a{i}") for i in range(10)]
    runs += [trial(10 + i, value=0.1 + 0.01 * i, peak=3.0**i) for i in range(10)]
    texts = Picture(rungs_svg(agreements(runs), "val_loss", sign)).texts
    named = [text for text in texts if text.startswith("#")]
    assert len(named) == 3
    assert best in named


# ledger -------------------------------------------------------------------------------------------


def test_bars_are_as_long_as_what_was_spent_and_saved():
    found = ledger(range_test(), trials(), 30.0)
    picture = Picture(ledger_svg(found))
    bars = list(picture.each("rect", "block"))[: len(found.entries)]
    widths = [float(bar.get("width")) for bar in bars]
    unit = widths[-2] / found.entries[-2].cost
    assert widths == pytest.approx([entry.cost * unit for entry in found.entries], abs=0.02)
    dashed, sample = picture.each("rect", "line")
    assert float(dashed.get("width")) == pytest.approx(found.saved * unit, abs=0.02)
    screen = bars[2]
    assert float(dashed.get("x")) == pytest.approx(
        float(screen.get("x")) + float(screen.get("width")), abs=0.02
    )
    assert float(sample.get("y")) > float(dashed.get("y"))  # in the legend


def test_the_ledger_says_its_numbers():
    texts = Picture(ledger_svg(ledger(range_test(), trials(), 30.0))).texts
    assert "20.44 of 30 full trainings, 28 runs; 0.3125 saved" in texts
    assert "0.4375 (3 runs, 1 diverged)" in texts
    assert "3 (3 runs, 1 failed)" in texts


def test_without_savings_there_is_no_dashed_bar():
    picture = Picture(ledger_svg(ledger(None, [trial(0)], 30.0)))
    assert not list(picture.each("rect", "line"))
    assert "spent" not in picture.texts


# trials -------------------------------------------------------------------------------------------


def test_a_chart_for_each_horizon_and_one_for_fresh_seeds():
    texts = Picture(trials_svg(trials(), 1.0)).texts
    assert [text for text in texts if text.startswith("Runs ")] == [
        "Runs over 80 steps",
        "Runs over 40 steps",
        "Runs over 20 steps",
        "Runs on fresh seeds",
    ]
    assert "5 runs, 1 diverged" in texts
    assert {"recommended", "reference", "comparison"} <= set(texts)


def test_the_best_and_the_baseline_stand_out_and_go_through_their_losses():
    chart = panel(Picture(trials_svg(trials(), 1.0)), 0)
    texts = [t.text for t in chart.each("text")]
    assert {"best: #8 cosine", "baseline: #9 polynomial"} <= set(texts)
    [best] = plotted(chart, "s0")
    xs, ys = points(best).T
    assert chart.x_axis(xs) == pytest.approx([20, 40, 80], abs=0.1)
    assert scale(left_ticks(chart))(ys) == pytest.approx([2.0, 1.0, 0.5], abs=0.01)


@pytest.mark.parametrize(("sign", "best"), [(1.0, "best: #0 cosine"), (-1.0, "best: #1 step")])
def test_better_may_be_more(sign, best):
    runs = [trial(0, value=0.4), trial(1, body="step", value=0.9)]
    assert best in Picture(trials_svg(runs, sign)).texts


def test_what_diverged_ends_in_a_cross_in_sight():
    chart = panel(Picture(trials_svg(trials(), 1.0)), 2)
    [cross] = plotted(chart, "point")
    y2 = points(cross)[:2, 1].max()
    [frame] = list(chart.each("svg"))
    assert float(frame.get("y")) <= y2 <= float(frame.get("y")) + float(frame.get("height"))
    assert "diverged" in [t.text for t in chart.each("text")]


def test_losses_of_several_orders_are_over_a_log_axis():
    runs = [trial(0, value=0.001)]
    chart = panel(Picture(trials_svg(runs, 1.0)), 0)
    ticks = [number(text) for _, text in left_ticks(chart)]
    assert ticks[1] / ticks[0] > 2
    assert min(ticks) < 0.01


@pytest.mark.parametrize(
    "run",
    [
        trial(0, value=None),
        trial(0, value=None, curve=None),
        trial(0, value=None, state="running", curve=None),
        trial(0, state="complete", value=None),  # missed its target
        trial(0, curve={"steps": [T], "train_loss": [0.1], "val_loss": [0.5]}),
        trial(0, curve={"steps": [T], "train_loss": [0.1], "val_loss": [0.0]}),
    ],
)
def test_one_run_of_any_kind_is_no_error(run):
    assert Picture(trials_svg([run], 1.0)).height > 0
    assert Picture(schedules_svg([run], 1.0)).height > 0


# schedules ----------------------------------------------------------------------------------------


def cells(svg):
    """Place, number and value of each cell, in the order they are drawn."""
    texts = Picture(svg).texts
    return [(text, texts[i + 1]) for i, text in enumerate(texts) if ". #" in text]


def test_schedules_are_in_the_order_of_their_values_by_horizon():
    svg = schedules_svg(trials(), 1.0)
    assert cells(svg) == [
        ("1. #8", "0.5"),  # and five runs on fresh seeds
        ("2. #9", "0.53"),
        ("3. #10", "failed"),
        ("1. #5", "0.6"),
        ("2. #6", "0.62"),
        ("3. #7", "0.66"),
        ("1. #2", "0.75"),
        ("2. #1", "0.8"),
        ("3. #3", "0.85"),
        ("4. #0", "0.9"),
        ("5. #4", "diverged"),
    ]
    assert Picture(svg).texts.count("x 6") == 2


def test_schedules_are_compared_on_one_seed():
    lucky = trial(0, value=0.1, seed=3)  # on a seed that no other schedule was run on
    runs = [lucky, trial(1, value=0.6), trial(2, value=0.5, body="step")]
    assert cells(schedules_svg(runs, 1.0)) == [("1. #2", "0.5"), ("2. #0", "0.6")]
    assert "best: #2 step" in Picture(trials_svg(runs, 1.0)).texts
    runs += [trial(3, value=0.9, body="constant"), trial(4, value=0.4, body="linear", seed=3)]
    assert cells(schedules_svg(runs, 1.0))[0] == ("1. #4", "0.4")  # it has no other


def test_of_an_accuracy_the_largest_is_best():
    runs = [
        trial(0, value=0.4),
        trial(1, body="step", value=0.9),
        trial(2, body="linear", value=None),
    ]
    assert [text for text, _ in cells(schedules_svg(runs, -1.0))] == ["1. #1", "2. #0", "3. #2"]


def test_a_schedule_that_failed_once_is_last():
    runs = [trial(0, value=0.1), trial(1, value=None, seed=2), trial(2, body="step", value=0.9)]
    assert [text for text, _ in cells(schedules_svg(runs, 1.0))] == ["1. #2", "2. #0"]


def test_every_curve_is_the_schedules_up_to_its_own_peak():
    small, large = trial(0, peak=1e-4), trial(1, peak=10.0)
    paths = [p.get("d") for p in Picture(schedules_svg([small, large], 1.0)).each("path")]
    one, other = (
        np.array([[float(n) for n in p.split(",")] for p in d[1:].split("L")]) for d in paths
    )
    assert one[:, 1] == pytest.approx(other[:, 1])
    share = (one[:, 1] - one[-1, 1]) / (one[0, 1] - one[-1, 1])
    rates = schedule("cosine").values()
    assert share == pytest.approx((rates - rates[-1]) / (rates[0] - rates[-1]), abs=1e-3)


def test_pages_hold_one_horizon_and_few_enough_each_once():
    runs = [trial(i, value=0.1 + i / 100, peak=0.01 * 1.1**i) for i in range(45)]
    pages = schedules_pages([*runs, trial(45, steps=20)], 1.0)
    assert [len(cells(page)) for page in pages] == [20, 20, 5, 1]
    [whole] = [schedules_svg([*runs, trial(45, steps=20)], 1.0)]
    assert [cell for page in pages for cell in cells(page)] == cells(whole)
    assert all(Picture(page).height < 600 for page in pages)


# all of them --------------------------------------------------------------------------------------


def check_labels(picture):
    """No label lies on another or outside; texts in groups are moved with them."""
    boxes = list(picture.boxes())
    for text, (left, top, right, bottom) in boxes:
        assert min(left, top) >= 0, text
        assert right <= picture.width, text
        assert bottom <= picture.height, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (one, other)


@pytest.mark.parametrize("seed", range(6))
def test_no_label_of_a_schedule_or_a_phase_lies_on_another(seed):
    rng = random.Random(seed)
    runs = [
        trial(
            i + 90 * rng.randrange(2) * 10,
            rng.choice(["screen", "rung", "final"]),
            rng.choice(["cosine", "linear", "step", "constant"]),
            rng.choice([None, 1.234e-5 * rng.random(), 12345.6 * rng.random(), 0.1]),
            steps=rng.choice([20, 80]),
            peak=rng.choice([1.234e-05, 0.1, 10.0]) * (1 + i),
        )
        for i in range(rng.randrange(1, 40))
    ]
    check_labels(Picture(schedules_svg(runs, 1.0)))
    check_labels(Picture(ledger_svg(ledger(range_test(), runs, 30.0))))
    for index, _ in enumerate({run.schedule.total_steps for run in runs}):
        check_within(panel(Picture(trials_svg(runs, 1.0)), index))


def check_within(chart):
    """No label of a chart lies on another."""
    for (one, a), (other, b) in itertools.combinations(chart.boxes(), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (one, other)


def test_the_same_evidence_gives_the_same_pictures():
    assert trials_svg(trials(), 1.0) == trials_svg(trials(), 1.0)
    assert schedules_svg(trials(), 1.0) == schedules_svg(trials(), 1.0)


def test_what_a_picture_shows_is_said_in_words():
    told = Picture(pairs_svg(PAIRS, "val_loss", 1.0)).root
    title, described = told[0].text, told[1].text
    assert title == "Paired differences on fresh seeds"
    assert all(f"{pair.difference:+.4g}" in described for pair in PAIRS.pairs)
    assert "screen: 0.4375" in ledger_svg(ledger(range_test(), trials(), 30.0)).split("<style")[0]
    assert "#8 cosine 0.5," in schedules_svg(trials(), 1.0).split("<style")[0]


def test_sides_and_the_best_differ_without_colour():
    svg = trials_svg(trials(), 1.0)
    assert {"s0", "s1", "s2"} <= {
        p.get("class").split()[1] for p in Picture(svg).each("path", "line")
    }
