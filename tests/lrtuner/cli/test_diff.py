"""diff on real configs, without a service."""

import json

import pytest

from tests.lrtuner.plots.reading import Picture

BODY = {"family": "constant"}


@pytest.fixture
def files(tmp_path):
    """Write configs of a constant rate; their paths."""

    def write(**peaks):
        for name, peak in peaks.items():
            data = {"total_steps": 20, "peak_lr": peak, "body": BODY}
            (tmp_path / f"{name}.json").write_text(json.dumps(data))
        return [f"{name}.json" for name in peaks]

    return write


def test_it_says_in_words_numbers_and_a_drawing_what_differs(run, files):
    result = run("diff", *files(old=0.1, new=0.2))
    assert (result.exit_code, result.stderr) == (0, "")
    for words in (
        "A  old.json: constant, peak 0.1, 20 steps",
        "B  new.json: constant, peak 0.2, 20 steps",
        "peak  0.1 -> 0.2",
        "B has 2 times that of A",
        "o  B, where it differs",
    ):
        assert words in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_same_rates_are_said_to_be_the_same(run, files):
    same, changed = files(a=0.1, b=0.1), files(a=0.1, c=0.1000001)
    result = run("diff", *same, "--exit-code")
    assert result.exit_code == 0
    assert "the same at every step" in result.stdout
    assert "they say the same" in result.stdout
    assert " o " not in result.stdout
    assert run("diff", *changed).exit_code == 0
    assert run("diff", *changed, "--exit-code").exit_code == 3


def test_as_json(run, files):
    told = json.loads(run("diff", *files(a=0.1, b=0.2), "--json").stdout)
    assert (told["equal"], told["changed"]["peak"]) == (False, ["0.1", "0.2"])
    assert told["rates"]["peak_ratio"] == 2.0
    assert told["rates"]["largest_difference"]["at"] == 0.0
    assert (told["b"]["family"], told["b"]["verdict"]) == ("constant", None)


@pytest.mark.parametrize("steps", [20, 40])
def test_the_plot_has_both_curves_apart_without_colour(run, files, tmp_path, steps):
    one, other = files(a=0.1, b=0.2)
    data = json.loads((tmp_path / other).read_text()) | {"total_steps": steps}
    (tmp_path / other).write_text(json.dumps(data))
    result = run("diff", one, other, "--plot", "diff.svg")
    assert result.exit_code == 0
    picture = Picture((tmp_path / "diff.svg").read_text())
    assert "a.json: constant, peak 0.1, 20 steps" in picture.texts
    assert f"b.json: constant, peak 0.2, {steps} steps" in picture.texts
    assert picture.lines().keys() == {"s0", "s1"}  # each style has a dash of its own
    assert picture.values("s0")[1] == pytest.approx(0.1, rel=0.01)
    assert picture.values("s1")[1] == pytest.approx(0.2, rel=0.01)
    label = "completed optimizer steps" if steps == 20 else "share of the run"
    assert label in picture.texts


def test_the_plot_can_go_to_stdout_alone(run, files):
    result = run("diff", *files(a=0.1, b=0.2), "--plot", "-")
    assert result.stdout.startswith("<svg")
    assert "peak  0.1 -> 0.2" in result.stderr


def test_a_rule_that_reacts_is_compared_in_words(run, files, tmp_path):
    [one] = files(a=0.1)
    rule = {"kind": "reactive", "peak_lr": 0.1, "body": {"mode": "min", "monitor": "val_loss"}}
    (tmp_path / "rule.json").write_text(json.dumps(rule))
    result = run("diff", one, "rule.json", "--exit-code")
    assert result.exit_code == 3
    assert "none -> val_loss, once per epoch" in result.stdout
    assert run("diff", "rule.json", "rule.json", "--exit-code").exit_code == 0
    assert json.loads(run("diff", one, "rule.json", "--json").stdout)["rates"] is None
    refused = run("diff", one, "rule.json", "--plot", "x.svg")
    assert refused.exit_code == 2
    assert "no curve" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.json", "missing.json"], "cannot read missing.json"),
        (["a.json", "a.json", "--plot", "no/such/x.svg"], "does not exist"),
        (["a.json", "a.json", "--plot", "-", "--json"], "give one of them"),
        (["a.json"], "B.json"),
    ],
)
def test_what_cannot_work_is_refused(run, files, arguments, words):
    files(a=0.1)
    result = run("diff", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
