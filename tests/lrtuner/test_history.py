"""Headlines of recommendations, and what changes from run to run."""

from itertools import pairwise

import pytest

from lrtuner.headline import Headline, headline
from lrtuner.history import Run, changes
from lrtuner.plots import history_svg
from tests.lrtuner.plots.reading import Picture
from tests.searched import recommendation

FOUND = {
    "status": "confirmed",
    "metric": "val_loss",
    "difference": -0.02,
    "ci95": [-0.03, -0.01],
    "pairs": 5,
    "peak_lr": 0.1,
    "family": "cosine",
    "title": "cosine, peak 0.1, 80 steps",
    "content_hash": "sha256:a",
}


def run(number=0, status="succeeded", **found):
    """A run; `found=None` for one without a result."""
    told = None if found.get("found", 1) is None else Headline.model_validate(FOUND | found)
    return Run(
        job_id=f"job_{number}",
        status=status,
        at="2031-07-09T12:34:56Z",
        commit=f"{number}abc",
        found=told,
    )


def test_the_headline_is_what_the_config_says():
    config = recommendation()
    found = headline(config.text())
    assert found.status == config.verdict.status == "confirmed"
    assert (found.difference, found.ci95) == (-0.032, [-0.03396, -0.03004])
    assert (found.metric, found.pairs) == ("val_loss", 5)
    assert (found.peak_lr, found.family) == (0.1, "cosine")
    assert found.title == "cosine, peak 0.1, 80 steps"
    assert found.content_hash == config.provenance.content_hash


@pytest.mark.parametrize("text", ["{}", "", "[1]", '{"total_steps": 0}'])
def test_what_is_no_schedule_has_no_headline(text):
    assert headline(text) is None


def test_a_schedule_without_a_verdict_has_a_headline():
    found = headline('{"total_steps": 9, "peak_lr": 0.5, "body": {"family": "constant"}}')
    assert (found.status, found.difference, found.content_hash) == (None, None, None)
    assert (found.peak_lr, found.family, found.pairs) == (0.5, "constant", 0)


def test_changes_are_told_from_the_last_run_that_found_something():
    runs = [
        run(0, "failed", found=None),
        run(1),
        run(2),
        run(3, content_hash="sha256:b", peak_lr=0.2),
        run(4, "cancelled", found=None),
        run(5, content_hash="sha256:c", peak_lr=0.1, family="cosine_restarts"),
        run(6, content_hash="sha256:d", peak_lr=0.1002, family="cosine_restarts"),
        run(7, content_hash="sha256:e", family="cosine_restarts", title="longer"),
    ]
    assert changes(runs) == [
        "",
        "first",
        "the same result",
        "peak x 2",
        "",
        "cosine -> cosine restarts, peak x 0.5",
        "the same schedule",
        "was cosine, peak 0.1, 80 steps",
    ]
    assert changes([]) == []


def test_the_picture_has_a_point_for_each_run_with_a_result():
    peaks = [0.1, 0.2, None, 0.4]
    runs = [run(i, **({"peak_lr": p} if p else {"found": None})) for i, p in enumerate(peaks)]
    picture = Picture(history_svg("resnet", runs))
    assert "resnet: peak learning rate" in picture.texts
    assert "val_loss, recommended minus baseline" in picture.texts
    assert {"0abc", "1abc", "2abc", "3abc"} <= set(picture.texts)
    plots = [
        [path for path in plot if "point" in path.get("class")]
        for plot in list(picture.each("svg"))[1:]
    ]
    assert [path.get("d").count("z") for points in plots for path in points] == [3, 3]


def test_many_runs_and_long_names_leave_the_labels_apart():
    families = ["cosine", "cosine_restarts", "inverse_power"]
    runs = [run(i, family=families[i % 3], peak_lr=0.1 * 1.1**i) for i in range(60)]
    picture = Picture(history_svg("r" * 80, runs))
    boxes = [box for text, box in picture.boxes() if text in {f"{i}abc" for i in range(60)}]
    assert len(boxes) == 16
    rows = {}
    for left, top, right, _ in boxes:
        rows.setdefault(top, []).append((left, right))
    # both panels are drawn from 0: their rows are at one height of their own
    for row in rows.values():
        row = sorted(row)[::2] if len(row) == 16 else sorted(row)
        assert all(one[1] < other[0] for one, other in pairwise(row))


@pytest.mark.parametrize("runs", [[], [run(found=None)], [run(metric=None, difference=None)]])
def test_what_has_no_result_can_be_drawn(runs):
    assert "runs" in history_svg("n", runs) or "1 run" in history_svg("n", runs)


def test_differences_of_another_metric_are_left_out():
    runs = [run(0, metric="val_accuracy", difference=0.5, ci95=None), run(1)]
    svg = history_svg("n", runs)
    assert "val_loss, recommended" in svg
    assert "0.5" not in Picture(svg).texts
