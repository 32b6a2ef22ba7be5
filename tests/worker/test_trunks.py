"""Shared trunks: each run is bit for bit the one that it is alone, and nothing is paid twice."""

import random
import time
from contextlib import contextmanager
from dataclasses import asdict

import pytest
import torch
from torch import nn

from lrtuner.budget import evaluation_steps
from lrtuner.lifecycle import TrialState
from lrtuner.trunks import prefix_tree
from tests.worker.conftest import task_of
from worker import training
from worker.snapshot import restored
from worker.task import Task
from worker.training import train, train_together

STEPS = 60
CLIPPED = {"batch_size": 16, "steps": STEPS, "grad_clip_norm": 0.5}
CONVNET = {
    "model": {"name": "convnet", "args": {"channels": [4], "dropout": 0.3}},
    "dataset": {"name": "digits"},
    "training": {"batch_size": 32, "steps": STEPS},
}
ADAMW = {"optimizer": {"name": "adamw"}}
MLP = {"model": {"name": "mlp", "args": {"hidden": [16], "dropout": 0.3}}}
GROUPS = {
    "param_groups": [{"match": "1.*", "lr_ratio": 0.1, "weight_decay": 0.3}],
    "no_decay": "biases_and_norms",
}


def trained(**changes):
    return {"training": {"batch_size": 16, "steps": STEPS, **changes}}


TASKS = {
    "mlp": {},
    "mlp with dropout, clipped": {
        "model": {"name": "mlp", "args": {"hidden": [16], "dropout": 0.3}},
        "training": CLIPPED,
    },
    "convnet, sgd": CONVNET,
    "convnet, adamw": CONVNET | ADAMW,
    "mlp, rmsprop": {"optimizer": {"name": "rmsprop", "args": {"momentum": 0.5}}},
    "accumulated": MLP | trained(grad_accum=2, batch_size=8),
    "bf16": MLP | trained(precision="bf16"),
    "fp16": MLP | ADAMW | trained(precision="fp16"),
    "clipped by value": MLP | trained(grad_clip_value=0.01),
    "param groups": MLP | ADAMW | trained(**GROUPS),
    "frozen, batch norm": CONVNET | trained(freeze=["0.*", "1.*"], batch_size=32),
    "average": CONVNET | trained(ema_decay=0.95, batch_size=32),
    "all of it": CONVNET
    | ADAMW
    | trained(
        grad_accum=2,
        precision="fp16",
        grad_clip_norm=0.5,
        freeze=["0.*", "1.*"],
        param_groups=[{"match": "*.bias", "lr_ratio": 0.5}],
        ema_decay=0.95,
    ),
}


def wsd(cooldown, steps=STEPS, peak=0.02):
    """A constant rate, then the last `cooldown` updates down to nearly zero."""
    return [peak] * (steps - cooldown) + [peak * (1 - t / cooldown) for t in range(cooldown)]


CONSTANT = [0.02] * STEPS
STEPPED = [0.02] * 30 + [0.002] * 30
SHORTER = wsd(10, 40)
BLOWN_IN_BRANCH = [0.02] * 20 + [1e25] * 40
BLOWN_IN_TRUNK = [0.02] * 5 + [1e25] * 25

SEQUENCES = {
    "cooldowns": [wsd(30), wsd(20), wsd(12), wsd(3)],
    "cooldowns, latest first": [wsd(3), wsd(12), wsd(20), wsd(30)],
    "several from one place": [wsd(30), STEPPED, CONSTANT, [0.02] * 30 + [0.01] * 30],
    "identical": [wsd(20), CONSTANT, wsd(20), wsd(20)],
    "of different lengths": [SHORTER, CONSTANT, wsd(7, 53), CONSTANT[:37], CONSTANT[:25]],
    "one diverges after the branch": [BLOWN_IN_BRANCH, wsd(20), STEPPED],
    "the trunk diverges": [BLOWN_IN_TRUNK + [0.02] * 30, BLOWN_IN_TRUNK + [0.01] * 30],
    "the trunk diverges, of different lengths": [
        BLOWN_IN_TRUNK + [0.02] * 30,
        BLOWN_IN_TRUNK[:26],
        BLOWN_IN_TRUNK[:11],
        BLOWN_IN_TRUNK[:8],
    ],
    "nothing shared": [wsd(20), wsd(20, peak=0.01), wsd(20, peak=0.005)],
}


def together(task, sequences, seed=3, **options):
    """The runs in the order of their sequences."""
    ended = list(train_together(task, sequences, seed, **options))
    assert sorted(position for position, _ in ended) == list(range(len(sequences)))
    return [run for _, run in sorted(ended, key=lambda pair: pair[0])]


def result(run):
    """All but what was spent; NaN-proof, and exact: repr tells floats apart."""
    return repr({k: v for k, v in asdict(run).items() if k not in ("cost", "seconds")})


def assert_as_alone(task, sequences, seed=3, **options):
    runs = together(task, sequences, seed, **options)
    for run, rates in zip(runs, sequences, strict=True):
        alone = train(task, rates, seed, **options)
        assert result(run) == result(alone)
        assert run.alone == alone.cost
    return runs


@pytest.mark.parametrize("sequences", SEQUENCES.values(), ids=SEQUENCES)
@pytest.mark.parametrize("changes", [TASKS["mlp"], TASKS["convnet, adamw"]], ids=["mlp", "convnet"])
def test_each_run_is_the_run_alone(changes, sequences):
    assert_as_alone(task_of(**changes), sequences, test=True)


@pytest.mark.parametrize("changes", TASKS.values(), ids=TASKS)
def test_whatever_the_model_and_the_optimizer_keep(changes):
    sequences = [wsd(30), STEPPED, wsd(12), CONSTANT, SHORTER]
    assert_as_alone(task_of(**changes), sequences, norms=True)


def test_the_sequences_here_do_what_their_names_say():
    task = task_of()
    after = together(task, SEQUENCES["one diverges after the branch"])
    assert [run.state for run in after] == [TrialState.DIVERGED] + [TrialState.COMPLETE] * 2
    assert after[0].updates > 20
    in_trunk = together(task, SEQUENCES["the trunk diverges"])
    assert {run.reason for run in in_trunk} == {"loss not finite at update 7"}
    assert [run.cost > 0 for run in in_trunk] == [True, False]
    lengths = {len(rates) for rates in SEQUENCES["of different lengths"]}
    points = [tuple(evaluation_steps(n, 16, len(task.data.validation))) for n in lengths]
    assert len(set(points)) == len(lengths) > 1


def test_a_run_that_its_own_evaluation_ends_leaves_the_others_training(monkeypatch):
    task = task_of()
    size = len(task.data.validation)
    own = set(evaluation_steps(40, 16, size)) - set(evaluation_steps(STEPS, 16, size))
    make, evaluate = Task.model, Task.evaluate

    def counting(*args):
        model = make(*args)
        model.updates = 0
        model.register_forward_pre_hook(lambda m, _: setattr(m, "updates", m.updates + m.training))
        return model

    def broken(self, model, split):
        measured = evaluate(self, model, split)
        return measured | {"loss": float("nan")} if model.updates in own else measured

    monkeypatch.setattr(Task, "model", counting)
    monkeypatch.setattr(Task, "evaluate", broken)
    shorter, longer = assert_as_alone(task, [CONSTANT[:40], CONSTANT])
    assert shorter.reason == f"validation loss not finite after update {min(own)}"
    assert longer.state is TrialState.COMPLETE
    assert longer.alone - longer.cost == pytest.approx(min(own) / task.total_steps)


@pytest.mark.parametrize("seed", range(5))
def test_trees_of_random_sequences(seed):
    draw = random.Random(seed)
    sequences = [[0.05] * draw.randrange(1, 40) + [0.01] * draw.randrange(25) for _ in range(5)]
    assert_as_alone(task_of(), sequences, seed)


@pytest.mark.parametrize("sequences", SEQUENCES.values(), ids=SEQUENCES)
def test_the_costs_sum_to_what_was_really_spent(sequences, monkeypatch):
    updates, evaluated = [], []
    evaluate, loss = Task.evaluate, Task.loss
    monkeypatch.setattr(
        Task, "evaluate", lambda *args: evaluated.append(len(args[-1])) or evaluate(*args)
    )
    monkeypatch.setattr(Task, "loss", lambda *args: updates.append(1) or loss(*args))
    task = task_of()
    runs = together(task, sequences, test=True)
    spent = (len(updates) + sum(evaluated) / 3 / task.batch_size) / task.total_steps
    assert sum(run.cost for run in runs) == pytest.approx(spent)
    assert all(0 <= run.cost <= run.alone for run in runs)
    assert all(run.seconds >= 0 for run in runs)
    if all(run.state is TrialState.COMPLETE for run in runs):
        assert len(updates) == prefix_tree(sequences).updates


def test_what_is_shared_is_charged_to_the_first():
    task = task_of()
    first, other, twin = together(task, [wsd(20), CONSTANT, wsd(20)])
    assert first.cost == first.alone
    assert other.alone - other.cost >= (STEPS - 20) / task.total_steps
    assert (twin.cost, twin.seconds) == (0, 0)
    assert twin.alone == first.alone


def test_a_run_alone_costs_what_it_costs():
    run = train(task_of(), CONSTANT, seed=0)
    assert run.alone == run.cost > 0
    assert run.seconds > 0


@pytest.mark.parametrize(
    ("sequences", "most"),
    [
        ([CONSTANT], 0),
        (SEQUENCES["identical"][:1] * 3, 0),
        (SEQUENCES["cooldowns"], 1),
        (SEQUENCES["cooldowns, latest first"], 3),
        (SEQUENCES["several from one place"], 2),
        (SEQUENCES["nothing shared"], 1),
        ([CONSTANT, CONSTANT[:25], CONSTANT[:37]], 0),
        (SEQUENCES["the trunk diverges"], 0),
    ],
)
def test_no_more_states_are_kept_than_branchings_lie_on_the_path(sequences, most, monkeypatch):
    kept, depths = [], [0]

    @contextmanager
    def counted(subject):
        assert all(p.grad is None for p in subject.model.parameters())
        with restored(subject):
            kept.append(subject)
            depths.append(len(kept))
            yield
            kept.pop()

    monkeypatch.setattr(training, "restored", counted)
    together(task_of(), sequences)
    assert max(depths) == most


def test_runs_come_as_they_end_and_what_happens_between_them_does_not_matter():
    task = task_of(model={"name": "mlp", "args": {"hidden": [16], "dropout": 0.3}})
    sequences = [CONSTANT, CONSTANT[:30], wsd(10)]
    seen = []
    for position, run in train_together(task, sequences, 3):
        seen.append(position)
        assert result(run) == result(train(task, sequences[position], 3))
        torch.manual_seed(position)
    assert seen == [1, 0, 2]


def test_the_seconds_are_those_of_the_training():
    began, seconds = time.monotonic(), []
    for _, run in train_together(task_of(), [CONSTANT[:30], CONSTANT, wsd(10)], 3):
        seconds.append(run.seconds)
        time.sleep(0.1)
    assert 0 < sum(seconds) <= time.monotonic() - began - 0.1 * len(seconds)


def test_a_last_evaluation_that_is_not_finite_is_followed_by_no_test(monkeypatch):
    evaluate = Task.evaluate
    monkeypatch.setattr(Task, "evaluate", lambda *args: evaluate(*args) | {"loss": float("inf")})
    run = train(task_of(), [0.02] * 5, seed=0, test=True)
    assert run.reason == "validation loss not finite after update 5"
    assert sorted(run.metrics) == ["val_accuracy", "val_loss"]


def test_a_model_that_raises_ends_all(monkeypatch):
    task = task_of()
    ended = train_together(task, [CONSTANT[:30], CONSTANT], 3)
    assert next(ended)[0] == 0
    monkeypatch.setattr(nn.Linear, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(ended)


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 20])
def test_batches_from_a_later_one_on_are_those_of_the_whole(start):
    task = task_of()
    assert task.steps_per_epoch == 7
    whole, later = list(task.batches(5, 25)), list(task.batches(5, 25 - start, start))
    assert len(later) == 25 - start
    for expected, batch in zip(whole[start:], later, strict=True):
        assert all(map(torch.equal, expected, batch))


def test_the_order_of_the_batches_does_not_depend_on_their_number():
    task = task_of()
    for few, many in zip(task.batches(5, 10), task.batches(5, 25), strict=False):
        assert all(map(torch.equal, few, many))
