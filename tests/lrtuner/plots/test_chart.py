"""The chart: marks where their values are, labels apart, whatever there is to draw."""

import itertools
import random

import numpy as np
import pytest

from lrtuner.plots._axis import Axis, from_zero
from lrtuner.plots._card import card
from lrtuner.plots._chart import Area, Band, Chart, Interval, Line, Note, Points, Vertical
from lrtuner.plots._labels import in_rows
from lrtuner.plots._panels import panels
from lrtuner.plots._svg import STYLES, element, width_of, words, wrapped
from tests.lrtuner.plots.reading import Picture

RATES = np.geomspace(1e-6, 10.0, 50)
X = Axis("learning rate", 1e-6, 10.0, log=True)


def drawn(*marks, x=X, y=None):
    return Picture(Chart("title", x, y or from_zero("loss", 3.0), marks).svg())


def place(picture, x):
    """Where a rate is on the log axis, by its ticks at 1e-6 and 10."""
    told = {t.text: float(t.get("x")) for t in picture.each("text") if t.get("x")}
    left, right = told["1e-6"], told["10"]
    return left + (right - left) * (np.log10(x) + 6) / 7


def test_a_line_on_a_log_axis_goes_through_its_points():
    picture = drawn(Line(RATES, np.linspace(0.5, 2.0, 50)))
    xs, ys = picture.lines()["s0"].T
    assert xs == pytest.approx(place(picture, RATES), abs=0.01)
    assert picture.y_axis(ys) == pytest.approx(np.linspace(0.5, 2.0, 50), abs=1e-3)


def test_a_line_has_a_gap_where_there_is_no_value():
    ys = np.ones(50)
    ys[10], ys[20:22] = np.nan, np.inf
    [path] = [p for p in drawn(Line(RATES, ys)).each("path") if p.get("class") == "line s0"]
    assert path.get("d").count("M") == 3
    xs = RATES.copy()
    xs[5] = 0.0  # no place on a log axis
    [path] = [p for p in drawn(Line(xs, np.ones(50))).each("path") if p.get("class") == "line s0"]
    assert path.get("d").count("M") == 2


def test_raw_points_are_left_out_where_there_is_no_value():
    [path] = [
        p
        for p in drawn(Points(RATES[:4], [1.0, np.nan, 2.0, -np.inf])).each("path")
        if p.get("class") == "point s0"
    ]
    assert path.get("d").count("M") == 2


def test_an_area_lies_between_its_curves_and_has_a_gap_where_one_has():
    highs = np.full(50, 2.0)
    highs[20] = np.nan
    picture = drawn(Area(RATES, np.linspace(0.5, 1.5, 50), highs))
    [area] = [p for p in picture.each("path") if p.get("class") == "area s0"]
    assert area.get("d").count("M") == area.get("d").count("z") == 2
    xs, ys = picture.lines()["s0"].T
    first = np.r_[0:20, 19:-1:-1]
    assert xs[:40] == pytest.approx(place(picture, RATES[first]), abs=0.01)
    assert picture.y_axis(ys[:20]) == pytest.approx(np.full(20, 2.0), abs=1e-3)
    assert picture.y_axis(ys[20:40]) == pytest.approx(np.linspace(0.5, 1.5, 50)[19::-1], abs=0.01)


@pytest.mark.parametrize("kind", [Line, Points, Area])
@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_to_draw_is_no_error(kind, values):
    told = [values] * (3 if kind is Area else 2)
    assert drawn(kind(*told, "a"), kind(*told, "b")).root is not None


def test_what_is_beyond_the_axes_is_cut_off_and_not_drawn_elsewhere():
    picture = drawn(Line([1e-3, 1e-2], [1e300, 1.0]), Note(1e-3, 2.0, "here"))
    [inner] = list(picture.each("svg"))[1:]
    assert inner.get("overflow") == "hidden"
    assert float(inner.get("y")) + float(inner.get("height")) < picture.height
    assert "e+" not in picture.svg


def test_bands_verticals_and_intervals_are_where_they_say():
    picture = drawn(
        Band(1e-4, 1e-2, "range"), Vertical(0.5, "diverged"), Interval(1e-3, 1e-2, "hint", at=2e-3)
    )
    [band] = picture.each("rect", "band")
    assert float(band.get("x")) == pytest.approx(place(picture, 1e-4), abs=0.01)
    assert float(band.get("width")) == pytest.approx(
        place(picture, 1e-2) - place(picture, 1e-4), abs=0.02
    )
    [mark] = picture.each("line", "mark")
    assert float(mark.get("x1")) == pytest.approx(place(picture, 0.5), abs=0.01)
    [dot] = picture.each("circle", "dot")
    assert float(dot.get("cx")) == pytest.approx(place(picture, 2e-3), abs=0.01)
    assert {"range", "diverged", "hint"} <= set(picture.texts)


def test_a_band_beyond_the_axis_ends_at_its_edge():
    [band] = drawn(Band(0.0, 1e9, "all")).each("rect", "band")
    assert float(band.get("width")) == pytest.approx(
        place(drawn(), 10.0) - place(drawn(), 1e-6), abs=0.01
    )


def test_the_legend_has_what_has_a_name_once_there_are_two():
    one = Line(RATES, RATES, "only one")
    assert "only one" not in drawn(one).texts
    two = Line(RATES, RATES, "second", style=1), Points(RATES, RATES, style=2)
    texts = drawn(*two, Line(RATES, RATES, "first")).texts
    assert texts[-2:] == ["first", "second"]
    area = Area(RATES, RATES, RATES, "an area")
    assert drawn(area, *two, one).texts[-3:] == ["only one", "second", "an area"]


def test_series_differ_without_colour():
    lines = [Line(RATES, RATES, str(i), style=i) for i in range(STYLES)]
    points = [Points(RATES[:1], RATES[:1], style=i) for i in range(STYLES)]
    picture = drawn(*lines, *points)
    dashes = {line.partition("}")[0] for line in picture.svg.split("stroke-dasharray:")[1:]}
    assert len(dashes) >= STYLES
    shapes = [p.get("d") for p in picture.each("path") if "point" in p.get("class")]
    assert len(set(shapes)) == STYLES


@pytest.mark.parametrize("seed", range(20))
def test_no_label_lies_on_another_or_outside(seed):
    rng = random.Random(seed)

    def some(make, most):
        return [make(rng.choice(RATES[:-1])) for _ in range(rng.randrange(most))]

    def interval(low):
        return Interval(low, low * 3, "interval " * rng.randrange(1, 9), at=low * 2)

    marks = [
        *some(lambda x: Band(x, x * 10, "band"), 4),
        *some(lambda x: Vertical(x, "a vertical"), 6),
        *some(interval, 4),
        *some(lambda x: Note(x, rng.uniform(0, 3), "what there is to say"), 3),
        *[Line(RATES, RATES**0.1, f"line {i} " * 5, i) for i in range(rng.randrange(6))],
    ]
    picture = drawn(*marks)
    boxes = list(picture.boxes())
    for _text, (left, top, right, bottom) in boxes:
        assert min(left, top) >= 0
        assert right <= picture.width
        assert bottom <= picture.height
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (one, other)


def test_names_share_a_row_where_they_fit():
    apart = in_rows([(100, "one"), (300, "two")], 0, 700)
    assert [name.row for name in apart] == [0, 0]
    close = in_rows([(100, "one"), (102, "two"), (104, "three"), (300, "four")], 0, 700)
    assert [name.row for name in close] == [0, 1, 2, 0]
    [edge] = in_rows([(699, "at the edge")], 0, 700)
    assert edge.start + width_of("at the edge") <= 700


def test_a_note_keeps_off_the_curve():
    rising = Line([1e-6, 10.0], [0.0, 3.0])  # through the upper right and the lower left
    picture = drawn(rising, Note(10**-2.5, 1.5, "on the line"))
    [(left, top, right, bottom)] = [box for text, box in picture.boxes() if text == "on the line"]
    [(x0, y0), (x1, y1)] = picture.lines()["s0"]
    xs, ys = np.linspace(x0, x1, 1000), np.linspace(y0, y1, 1000)
    assert not np.any((xs > left) & (xs < right) & (ys > top) & (ys < bottom))


def test_long_words_are_wrapped_and_broken_only_if_they_must():
    lines = wrapped("one two three " + "x" * 200 + " end", 120)
    assert " ".join(lines).replace(" ", "") == "onetwothree" + "x" * 200 + "end"
    assert all(width_of(line) <= 120 for line in lines)
    assert lines[0] == "one two three"


def test_faint_lines_and_points_are_grey_and_named_after_the_others():
    lines = [Line(RATES, RATES, "one of many", STYLES - 1, faint=True), Line(RATES, RATES, "best")]
    picture = drawn(*lines, Points(RATES, RATES, faint=True))
    assert [p.get("class") for p in picture.each("path", "faint")] == [
        "line faint",
        "point faint",
        "line faint",  # in the legend
    ]
    assert picture.texts[-2:] == ["best", "one of many"]


def test_charts_can_be_of_other_sizes():
    small = Chart("title", X, from_zero("loss", 3.0), [Line(RATES, RATES)], width=380, height=100)
    picture, usual = Picture(small.svg()), drawn(Line(RATES, RATES))
    assert picture.width == 380
    assert usual.height - picture.height == 180
    assert len(picture.texts) < len(usual.texts)  # fewer ticks
    xs, _ = picture.lines()["s0"].T
    assert xs.max() < 380


def test_panels_stand_side_by_side_and_below_each_other():
    chart = Chart("a chart", X, from_zero("loss", 3.0), [Line(RATES, RATES)], width=380)
    picture = Picture(panels("three", [chart] * 3, columns=2))
    one = Picture(chart.svg())
    moved = [group.get("transform") for group in picture.each("g")]
    assert moved == [
        "translate(0 0)",
        "translate(380 0)",
        f"translate(0 {one.height:g})",
    ]
    assert (picture.width, picture.height) == (760, 2 * one.height)
    assert picture.root[0].text == "three"
    assert picture.root[1].text.count("a chart") >= 3


def test_a_note_keeps_off_points():
    xs = np.geomspace(1e-3, 1e-2, 12)  # where the note's words would go first
    picture = drawn(
        Points(xs, np.full(12, 1.68), style=3), Note(1e-3, 1.5, "a note of some length")
    )
    [(left, top, right, bottom)] = [box for text, box in picture.boxes() if text[:6] == "a note"]
    squares = picture.lines()["s3"].reshape(-1, 4, 2).mean(axis=1)
    assert len(squares) == 12
    assert not any(left < x < right and top < y < bottom for x, y in squares)


def test_a_printed_picture_is_light():
    svg = drawn(Line(RATES, RATES)).svg
    assert svg.count("prefers-color-scheme") == svg.count("@media screen and (prefers") == 1


def test_text_is_escaped_everywhere():
    bad = "<b>&\"'\x07"
    for svg in (card(bad, [(bad, bad)]), drawn(Band(1e-3, 1e-2, bad), Note(1e-3, 1, bad)).svg):
        picture = Picture(svg)
        assert "<b>&\"' " in picture.texts
        assert not list(picture.each("b"))
    assert element("a", x='"<') == '<a x="&quot;&lt;"/>'
    assert words(1, -0.001, "&") == '<text x="1" y="0">&amp;</text>'
