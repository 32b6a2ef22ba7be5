import json
import math
import multiprocessing.dummy
import sys
from types import SimpleNamespace

import optuna
import pytest

from benchmarks.finder.tasks import digest, load
from benchmarks.search import __main__ as command
from benchmarks.search import trainings as memo
from benchmarks.search.attempts import measured
from benchmarks.search.peers import PEERS, lr_range, peer, told
from benchmarks.search.trainings import Trained, Trainings
from lrtuner.range_test import suggest
from worker.training import full_cost, train

STEPS = 32

JOB = {
    "model": {"name": "mlp", "args": {"hidden": [8]}},
    "dataset": {"name": "wine"},
    "optimizer": {"name": "sgd"},
    "training": {"batch_size": 16, "steps": STEPS},
}


@pytest.fixture
def job(tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps(JOB))
    return str(file)


@pytest.fixture
def trainings(job, tmp_path):
    return Trainings(load(job), tmp_path / "memo")


# trainings ----------------------------------------------------------------------------------------


def test_a_run_is_that_of_a_job_whichever_way_it_is_evaluated(trainings):
    rates = [0.1] * STEPS
    run = train(trainings.task, rates, seed=3, test=True)
    whole, along = trainings.whole(rates, 3), trainings.along(rates, 3)
    assert whole.loss == along.loss == run.metrics["val_loss"]
    assert whole.test_loss == run.metrics["test_loss"]
    assert along.steps == (4, 8, 12, 16, 20, 24, 28, 32)
    assert along.test_loss is None
    beginning = train(trainings.task, rates[:12], seed=3)
    assert along.losses[2] == beginning.metrics["val_loss"]


def test_what_was_trained_is_not_trained_again(trainings, job, tmp_path, monkeypatch):
    rates = [0.1] * STEPS
    known = trainings.whole(rates, 0), trainings.along(rates, 0)
    monkeypatch.setattr(memo, "train", lambda *_a, **_k: pytest.fail("trained again"))
    monkeypatch.setattr(memo, "train_together", lambda *_a, **_k: pytest.fail("trained again"))
    again = Trainings(load(job), tmp_path / "memo")
    assert (again.whole(rates, 0), again.along(rates, 0)) == known
    for other in (lambda: again.whole(rates, 1), lambda: again.whole([0.2, *rates[1:]], 0)):
        with pytest.raises(pytest.fail.Exception):
            other()


def test_broken_lines_are_left_out(trainings, job, tmp_path):
    rates = [0.1] * STEPS
    (tmp_path / "memo" / f"{digest(trainings.task)}.jsonl").write_text('{"key": "cut o\n')
    known = trainings.whole(rates, 0)
    assert Trainings(load(job), tmp_path / "memo").whole(rates, 0) == known


def test_what_another_process_adds_is_seen_once_its_line_is_whole(
    trainings, job, tmp_path, monkeypatch
):
    rates = [0.1] * STEPS
    known = trainings.whole(rates, 0)
    (file,) = (tmp_path / "memo").iterdir()
    line = file.read_text()
    file.write_text(line[:50])
    other = Trainings(load(job), tmp_path / "memo")
    monkeypatch.setattr(memo, "train", lambda *_a, **_k: pytest.fail("trained"))
    with pytest.raises(pytest.fail.Exception):
        other.whole(rates, 0)
    file.write_text(line)
    assert other.whole(rates, 0) == known


def test_a_run_that_diverges_is_infinitely_bad_and_ends_there(trainings):
    run = trainings.along([1e30] * STEPS, 0)
    assert not run.completed
    assert math.isinf(run.loss)
    assert run.updates < STEPS
    assert trainings.whole([1e30] * STEPS, 0).test_loss is None


def test_a_run_costs_what_a_job_is_charged(trainings):
    assert trainings.cost(STEPS) == full_cost(trainings.task, test=False)
    assert trainings.cost(1) == pytest.approx(1 / STEPS)


def test_fresh_seeds_are_shared_and_a_search_without_a_pick_ends_at_chance(trainings):
    one = peer("random", trainings, 2.0, 0)
    fresh = measured(one.schedule, trainings, 3)
    assert len(set(fresh.val_losses)) == len(fresh.test_losses) == 3
    assert measured(None, trainings, 2).val_losses == [math.log(3)] * 2


# peers --------------------------------------------------------------------------------------------


class Stop(optuna.pruners.BasePruner):
    """Prunes at a report."""

    def __init__(self, at):
        self.at = at

    def prune(self, study, trial):
        return trial.last_step == self.at


RUN = Trained((2, 4, 6, 8), (0.9, 0.8, 0.7, 0.6), updates=8, completed=True)


@pytest.mark.parametrize(
    ("at", "updates", "state"), [(1, 2, "PRUNED"), (3, 6, "PRUNED"), (9, 8, "COMPLETE")]
)
def test_a_pruned_run_ends_at_the_report_that_pruned_it(at, updates, state):
    study = optuna.create_study(pruner=Stop(at))
    trial = study.ask()
    assert told(study, trial, RUN) == updates
    assert study.trials[0].state.name == state
    assert list(study.trials[0].intermediate_values) == list(range(1, min(at, 3) + 1))


def test_a_diverged_run_is_told_as_infinite():
    study = optuna.create_study()
    assert told(study, study.ask(), Trained((2,), (0.9,), updates=3, completed=False)) == 3
    assert study.trials[0].values == [math.inf]
    assert study.trials[0].intermediate_values == {1: 0.9}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_spends_its_budget_picks_its_best_and_repeats_itself(name, trainings, monkeypatch):
    made = []
    along = Trainings.along

    def noted(self, rates, seed):
        made.append((rates, seed, along(self, rates, seed)))
        return made[-1][-1]

    monkeypatch.setattr(Trainings, "along", noted)
    pick = peer(name, trainings, 3.0, 1)
    runs, made = made, []
    assert len({seed for _, seed, _ in runs}) == 1
    assert len(runs) >= 3
    best = min((run.loss, rates) for rates, _, run in runs)
    if "+" not in name:
        assert len(runs) == 3
        assert pick.schedule.values().tolist() == best[1]
        assert pick.spent == pytest.approx(sum(trainings.cost(run.updates) for *_, run in runs))
    assert peer(name, trainings, 3.0, 1) == pick
    assert peer(name, trainings, 3.0, 2) != pick


def test_variants_of_tpe_begin_with_the_same_trials(trainings, monkeypatch):
    trained = {}

    def noted(self, rates, seed):
        trained.setdefault(seed, []).append(tuple(rates))
        return Trained((4, STEPS), (0.5, 0.5), STEPS, completed=True)

    monkeypatch.setattr(Trainings, "along", noted)
    for name in ("tpe", "tpe + median", "tpe, 4 random"):
        peer(name, trainings, 4.0, 0)
    (runs,) = trained.values()
    assert runs[:4] == runs[4:8] == runs[8:]


def test_peers_look_where_ours_looks_without_a_signal(trainings):
    fallback = suggest([], trainings.task.spec.optimizer.default_lrs)
    assert fallback.source == "optimizer_default"
    assert lr_range(trainings.task) == pytest.approx((fallback.low, fallback.high))


# the command --------------------------------------------------------------------------------------


def test_the_command_prints_and_keeps_everything(job, tmp_path, monkeypatch, capsys):
    threads = SimpleNamespace(Pool=multiprocessing.dummy.Pool)
    monkeypatch.setattr(command.multiprocessing, "get_context", lambda _: threads)
    for name, value in (("QUICK_SHAPES", ("linear",)), ("FINALISTS", 2), ("SEEDS", 2)):
        monkeypatch.setattr(command.oracle, name, value)
    monkeypatch.setattr(command, "QUICK", command.QUICK | {"budget": 2.0})
    file = tmp_path / "found.json"
    arguments = ["--quick", "--tasks", "--job", job, "--strategies", "random", "tpe + median"]
    places = ["--cache", str(tmp_path / "memo"), "--json", str(file), "--processes", "1"]
    monkeypatch.setattr(sys, "argv", ["search", *arguments, *places])
    command.main()
    shown = capsys.readouterr().out
    assert "## job.json, budget 2" in shown
    found = json.loads(file.read_text())["tasks"][job]
    assert found["oracle"]["schedule"]["total_steps"] == STEPS
    assert [pick["strategy"] for pick in found["picks"]] == ["random"] * 2 + ["tpe + median"] * 2
    assert set(found["searches"]) == {"random", "tpe + median"}
    assert all(len(pick["fresh"]["val_losses"]) == 5 for pick in found["picks"])


@pytest.mark.parametrize(
    ("objective", "budget", "told"),
    [
        ("val_loss", "2.5", "2.5: it must be 3 or more"),
        ("val_accuracy", "10", "objective is val_ac"),
    ],
)
def test_what_cannot_work_is_a_usage_error(tmp_path, monkeypatch, capsys, objective, budget, told):
    file = tmp_path / "other.json"
    file.write_text(json.dumps({**JOB, "objective": {"metric": objective}}))
    arguments = ["--tasks", "--job", str(file), "--budget", budget]
    monkeypatch.setattr(sys, "argv", ["search", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
