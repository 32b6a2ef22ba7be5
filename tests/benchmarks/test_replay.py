import csv
import json
import math
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.replay import __main__ as command
from benchmarks.replay import peers
from benchmarks.replay.ours import _problem, ours
from benchmarks.replay.peers import PEERS
from benchmarks.replay.reading import CurveLine, RunLine, read
from benchmarks.replay.table import Arm, RecordedShape, answer
from lrtuner.bound import bound
from lrtuner.errors import InvalidInputError
from lrtuner.strategy import Ask

LLAMA = Path(__file__).parents[3] / "shared" / "data" / "llama124m"

SHAPES = [("wsd_linear", 0.2, 0.0), ("wsd_linear", 0.5, 0.0), ("cosine", 1.0, 0.1), ("odd", 0.4, 0)]
PEAKS = [0.001, 0.002, 0.004, 0.008]
HORIZONS = [40, 80, 200]


def final_loss(shape, lr, steps):
    worse = 0.05 * SHAPES.index(shape) + 0.1 * abs(math.log2(lr / 0.004))
    return round(2.0 + worse + 10.0 / steps, 4)


def runs():
    for shape, lr, steps in product(SHAPES, PEAKS, HORIZONS):
        schedule, cooldown, end = shape
        yield {
            "run": f"{schedule}-{cooldown}-{lr}-{steps}",
            "schedule": schedule,
            "cooldown_fraction": cooldown,
            "end_factor": end,
            "peak_lr": lr,
            "total_steps": steps,
            "warmup_steps": 4,
            "final_val_loss": final_loss(shape, lr, steps),
        }


def curves(lines):
    for line in lines:
        for part in range(10):
            step = line["total_steps"] * part // 10
            yield {"run": line["run"], "step": step, "val_loss": 4.0 - 0.1 * part + line["peak_lr"]}


@pytest.fixture
def folder(tmp_path):
    """Writes a folder, after changes to its lines."""

    def written(change_runs=lambda lines: lines, change_curves=lambda points: points):
        lines = list(runs())
        points = change_curves(list(curves(lines)))
        for name, rows in (("runs.csv", change_runs(lines)), ("curves.csv", points)):
            with (tmp_path / name).open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        return tmp_path

    return written


@pytest.fixture
def table(folder):
    return read(folder(), 200)


def at(table, schedule, lr):
    shape = next(s for s in table.shapes if s.key.startswith(schedule))
    return Arm(shape, lr)


# reading ------------------------------------------------------------------------------------------


def test_a_folder_is_a_table_of_shapes_peaks_and_horizons(table):
    assert table.horizons == (40, 80, 200)
    assert [shape.key for shape in table.shapes] == [
        "wsd_linear-c0.2-e0.0",
        "wsd_linear-c0.5-e0.0",
        "cosine-c1.0-e0.1",
        "odd-c0.4-e0.0",
    ]
    assert len(table.arms) == 16
    assert table.peaks == tuple(PEAKS)
    assert table.run(table.arms[0], 40).loss == final_loss(SHAPES[0], 0.001, 40)


def test_longer_runs_than_the_target_are_left_out(folder):
    table = read(folder(), 80)
    assert table.horizons == (40, 80)
    assert table.shapes[0].peaks(200) == ()


def test_regret_is_in_thousandths_above_the_lowest_at_the_target(table):
    assert table.regret(at(table, "wsd_linear-c0.2", 0.004)) == 0.0
    assert table.regret(at(table, "wsd_linear-c0.2", 0.001)) == pytest.approx(200.0)
    assert table.regret(at(table, "wsd_linear-c0.5", 0.004)) == pytest.approx(50.0)


@pytest.mark.parametrize("written", ["nan", "inf", "", "NaN"])
def test_a_run_without_a_finite_loss_diverged(folder, written):
    def change(lines):
        return [
            line | ({"final_val_loss": written} if line["peak_lr"] == 0.008 else {})
            for line in lines
        ]

    table = read(folder(change), 200)
    diverged = at(table, "wsd_linear-c0.2", 0.008)
    assert math.isinf(table.run(diverged).loss)
    worst = max(table.regret(arm) for arm in table.arms if arm.lr < 0.008)
    assert table.regret(diverged) == worst


def test_the_logged_loss_is_interpolated(table):
    run = table.run(table.arms[0])
    assert run.loss_after(20) == pytest.approx(3.9 + 0.001)
    assert run.loss_after(30) == pytest.approx(3.85 + 0.001)
    assert run.loss_after(200) == run.loss_after(180) == pytest.approx(3.1 + 0.001)
    assert replace(run, losses=np.full(10, math.inf)).loss_after(30) == math.inf
    assert replace(run, steps=np.array([]), losses=np.array([])).loss_after(30) == math.inf


def first(**changes):
    return lambda lines: [lines[0] | changes, *lines[1:]]


def without(column):
    return lambda lines: [{k: v for k, v in line.items() if k != column} for line in lines]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (first(peak_lr="a lot"), "runs.csv, line 2: peak_lr: .* got 'a lot'"),
        (first(peak_lr=0), "runs.csv, line 2: peak_lr: .* greater than 0"),
        (first(peak_lr="inf"), "runs.csv, line 2: peak_lr: .* finite"),
        (first(cooldown_fraction=1.5), "runs.csv, line 2: cooldown_fraction: "),
        (first(end_factor=-0.1), "runs.csv, line 2: end_factor: "),
        (first(total_steps=2.5), "runs.csv, line 2: total_steps: "),
        (first(warmup_steps=41), "runs.csv, line 2: the warmup is longer than the run"),
        (first(final_val_loss="-1"), "runs.csv, line 2: final_val_loss: "),
        (first(schedule=""), "runs.csv, line 2: schedule: "),
        (lambda lines: [*lines, lines[5]], "runs.csv, line 50: .* is there already: .* line 7"),
        (lambda lines: [*lines, lines[5] | {"run": "again"}], "line 50: 'again' is of the same"),
        (without("warmup_steps"), "runs.csv: there is no column warmup_steps"),
        (lambda lines: lines[:1] * 2, "is there already"),
        (
            lambda lines: [x for x in lines if x["total_steps"] < 200],
            "no run of 200 steps; .* 40, 80",
        ),
    ],
)
def test_what_is_wrong_with_runs_is_said_with_its_line(folder, change, told):
    with pytest.raises(InvalidInputError, match=told):
        read(folder(change), 200)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (first(run="unheard of"), "curves.csv, line 2: runs.csv has no run 'unheard of'"),
        (first(step=20), "curves.csv, line 3: step 4 of .* comes after step 20"),
        (first(step=4), "curves.csv, line 3: step 4 of .* comes after step 4"),
        (first(step=-1), "curves.csv, line 2: step: "),
        (first(val_loss="low"), "curves.csv, line 2: val_loss: "),
        (lambda points: [points[9] | {"step": 41}, *points[10:]], "line 2: step 41 of .* has 40"),
        (lambda points: points[:-10], "curves.csv: it has nothing of the run 'odd-0.4-0.008-200'"),
        (without("step"), "curves.csv: there is no column step"),
    ],
)
def test_what_is_wrong_with_curves_is_said_with_its_line(folder, change, told):
    with pytest.raises(InvalidInputError, match=told):
        read(folder(change_curves=change), 200)


@pytest.mark.parametrize("text", ["", "run,schedule\na,b,c\n", 'run,step,val_loss\n"open,1,2\n'])
def test_a_file_that_is_no_such_table_is_refused(folder, text):
    file = folder() / "curves.csv"
    file.write_text(text)
    with pytest.raises(InvalidInputError, match=r"curves\.csv"):
        read(file.parent, 200)
    file.unlink()
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read(file.parent, 200)


def test_a_line_with_too_few_fields_is_refused(folder):
    file = folder() / "curves.csv"
    file.write_text(file.read_text() + "cosine\n")
    with pytest.raises(InvalidInputError, match="not as many fields"):
        read(file.parent, 200)


def test_further_columns_are_left_alone(folder):
    def noted(lines):
        return [line | {"note": "anything"} for line in lines]

    assert len(read(folder(noted, noted), 200).arms) == 16


def test_the_columns_are_those_that_are_documented():
    columns = "run schedule cooldown_fraction end_factor peak_lr total_steps warmup_steps"
    assert set(RunLine.model_fields) == {*columns.split(), "final_val_loss", "where"}
    assert set(CurveLine.model_fields) == {"run", "step", "val_loss", "where"}


# shapes -------------------------------------------------------------------------------------------


def shape(schedule, cooldown, end, warmup=10):
    return RecordedShape(schedule, cooldown, end, {100: (0.1,)}, {100: warmup})


@pytest.mark.parametrize(
    ("schedule", "cooldown", "end", "expected"),
    [
        ("wsd_linear", 0.5, 0.0, {20: 1.0, 50: 1.0, 75: 0.5, 99: 0.02}),
        ("wsd_one_minus_sqrt", 0.5, 0.2, {50: 1.0, 75: 0.2 + 0.8 * (1 - 0.5**0.5)}),
        ("wsd_1-sqrt", 0.5, 0.2, {50: 1.0, 75: 0.2 + 0.8 * (1 - 0.5**0.5)}),
        ("wsd_cosine", 0.5, 0.0, {50: 1.0, 75: 0.5}),
        ("wsd", 0.5, 0.0, {50: 1.0, 75: 0.5}),
        ("cosine", 1.0, 0.1, {10: 1.0, 55: 0.55}),
        ("linear", 1.0, 0.1, {10: 1.0, 55: 0.55}),
        ("exponential", 1.0, 0.25, {10: 1.0, 55: 0.5}),
        ("constant", 0.0, 0.0, {10: 1.0, 99: 1.0}),
        ("nobody knows", 0.5, 0.0, {50: 1.0, 75: 0.5}),
        ("nobody knows", 0.0, 0.0, {50: 1.0, 99: 1.0}),
    ],
)
def test_a_name_stands_for_a_curve(schedule, cooldown, end, expected):
    factors = shape(schedule, cooldown, end).factors(100)
    assert len(factors) == 100
    assert factors[4] == pytest.approx(5 / 11)  # on its way up
    assert {step: factors[step] for step in expected} == pytest.approx(expected)


def test_a_warmup_is_as_long_as_recorded_and_else_takes_its_share():
    recorded = RecordedShape("constant", 0, 1, {}, {100: 20, 400: 20})
    assert (np.count_nonzero(recorded.factors(100) < 1)) == 20
    assert (np.count_nonzero(recorded.factors(400) < 1)) == 20
    assert (np.count_nonzero(recorded.factors(200) < 1)) == 10
    assert shape("cosine", 1, 0, warmup=0).factors(100)[0] == 1.0


# asking -------------------------------------------------------------------------------------------


def test_an_answer_is_the_recorded_loss_charged_its_steps(table):
    ask = Ask(table.shapes[1], 0.002, 80, 0, "screen", "bound")
    result = answer(table, ask)
    assert result.ask is ask
    assert result.loss == final_loss(SHAPES[1], 0.002, 80)
    assert result.cost == 80 / 200


@pytest.mark.parametrize(("lr", "steps", "seed"), [(0.003, 80, 0), (0.002, 81, 0), (0.002, 80, 1)])
def test_what_was_not_recorded_has_no_answer(table, lr, steps, seed):
    with pytest.raises(InvalidInputError, match="was recorded"):
        answer(table, Ask(table.shapes[1], lr, steps, seed, "screen", "bound"))


# peers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("budget", [1.0, 4.0])
def test_peers_keep_to_their_budget_and_repeat_themselves(table, name, budget):
    choices = [PEERS[name](table, budget, seed) for seed in range(3)]
    assert all(0 < choice.spent <= budget for choice in choices)
    assert all(choice.arm in table.arms for choice in choices)
    assert PEERS[name](table, budget, 2) == choices[2]


@pytest.mark.parametrize("name", ["random", "tpe", "tpe, 2 random"])
def test_who_can_try_all_finds_the_best(table, name):
    choice = PEERS[name](table, 1000.0, 0)
    assert table.regret(choice.arm) == 0.0
    assert choice.spent == 16.0  # none twice


def test_random_search_takes_the_best_of_whole_runs(table):
    spent = {PEERS["random"](table, 3.7, seed).spent for seed in range(5)}
    assert spent == {3.0}


@pytest.mark.parametrize(("count", "cost"), [(1, 1.0), (2, 1.25), (4, 2.0), (6, 2.75), (16, 8.0)])
def test_halving_charges_what_each_took(count, cost):
    # 4: four quarters, two quarters more, a half more
    assert peers._halving_cost(count) == cost


def test_halving_is_misled_by_curves_as_they_are(table):
    # the logged losses rise with the peak: the lowest peak goes on, whatever it ends with
    choices = [PEERS["random, halving"](table, 8.0, seed) for seed in range(5)]
    assert {choice.arm.lr for choice in choices} == {0.001}
    assert {choice.spent for choice in choices} == {8.0}


def test_a_pruned_run_is_charged_up_to_the_report(table, monkeypatch):
    class Always(peers.optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number > 0 and trial.last_step == 2

    pick = peers.optuna_search(table, 4.0, 0, num_random=2, pruner=Always)
    # a whole run and then halves, as long as a whole one still fits
    assert pick.spent == 1.0 + 0.5 * 5


def test_brackets_of_hyperband_are_the_same_each_time():
    names = {peers._study(3, 2, peers._PRUNERS[" + hyperband"]).study_name for _ in range(2)}
    assert names == {"replay 3"}


def test_an_arm_with_a_peak_that_its_shape_lacks_is_the_nearest(folder):
    def ragged(lines):
        return [x for x in lines if x["schedule"] != "cosine" or x["peak_lr"] in (0.001, 0.008)]

    def known(points):
        return [
            p
            for p in points
            if "cosine" not in p["run"] or "-0.001-" in p["run"] or "-0.008-" in p["run"]
        ]

    table = read(folder(ragged, known), 200)
    assert len(table.arms) == 14
    choice = PEERS["tpe"](table, 100.0, 0)
    assert choice.spent == 14.0


# ours and the command -----------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1.0, 3.0, 8.0])
def test_ours_keeps_to_its_budget(table, budget):
    choice = ours(table, budget, 0)
    assert choice.arm in table.arms
    assert 0 < choice.spent <= budget + 1e-9
    assert ours(table, budget, 0) == choice


def test_ours_chooses_where_nothing_shorter_was_recorded(folder):
    table = read(folder(), 40)
    assert table.horizons == (40,)
    assert ours(table, 8.0, 1).arm in table.arms


def test_ours_looks_at_a_shorter_horizon_only_where_most_was_recorded(folder):
    def change(lines):
        return [x for x in lines if x["total_steps"] != 40 or x["schedule"] == "cosine"]

    def known(points):
        return [p for p in points if not p["run"].endswith("-40") or "cosine" in p["run"]]

    assert _problem(read(folder(change, known), 200), 8.0, 0).horizons == (80, 200)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["replay", *map(str, arguments)])
    command.main()


def test_the_command_prints_and_keeps_everything(folder, tmp_path, monkeypatch, capsys):
    file = tmp_path / "found.json"
    data = ("--data", folder(), "--target-steps", 200)
    run(monkeypatch, *data, "--budgets", 2, 3.5, "--repetitions", 3, "--json", file)
    shown = capsys.readouterr().out
    assert "16 schedules over 200 steps; recorded horizons: 40, 80, 200" in shown
    assert shown.count("| ours ") == 2
    assert "## Budget 3.5" in shown
    assert "the best of the others" in shown
    found = json.loads(file.read_text())
    assert set(found) == {"2", "3.5"}
    assert set(found["2"]) == {*PEERS, "ours"}
    assert len(found["2"]["tpe"]["regrets"]) == 3


def test_a_table_says_how_far_everybody_was_from_the_best():
    def made(*regrets):
        return command.Outcome(regrets, [2.0, 3.0], ["a", "b"])

    outcomes = {name: made(8.0, 6.0) for name in PEERS} | {"ours": made(0.0, 3.0)}
    outcomes["random"] = made(4.0, 6.0)
    shown = command.told(3, outcomes)
    assert "| ours                      | 1.50 ± 1.50   | 50%        | 2.50      |" in shown
    assert "Mean regret of ours / of random, the best of the others: 0.30" in shown
    outcomes["tpe"] = made(0.0, 0.0)
    assert "of tpe, the best of the others: none" in command.told(3, outcomes)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--target-steps", 70), "no run of 70 steps; there are runs of 40, 80, 200"),
        (("--budgets", 0.5), "0.5: it must be 1 or more"),
        (("--repetitions", 0), "0: it must be 1 or more"),
    ],
)
def test_what_cannot_work_is_a_usage_error(folder, monkeypatch, capsys, changed, told):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--data", folder(), "--target-steps", 200, *changed)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


# the recorded runs of others ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama():
    if not LLAMA.exists():
        pytest.skip("the recorded runs are not here")
    return read(LLAMA, 25000)


def test_the_llama_runs_are_read(llama):
    assert len(llama.arms) == 36
    assert llama.horizons == (15000, 25000)
    best = min(llama.arms, key=llama.regret)
    assert (best.shape.key, best.lr) == ("wsd_linear-c0.6-e0.0", 0.002)
    assert llama.regret(at(llama, "cosine-c1.0-e0.0", 0.001)) == pytest.approx(22.522)


def test_the_bound_orders_the_llama_shapes_as_published(llama):
    rated = {shape.key: bound(shape.factors(25000)).best_value for shape in llama.shapes}
    order = ["0.9", "0.8", "0.6", "0.4", "0.2", "0.1"]
    linear = [rated[f"wsd_linear-c{fraction}-e0.0"] for fraction in order]
    assert linear == sorted(linear)
    assert rated["cosine-c1.0-e0.0"] < rated["wsd_one_minus_sqrt-c0.2-e0.0"]
    assert rated["wsd_one_minus_sqrt-c0.2-e0.0"] < rated["cosine-c1.0-e0.1"]
