"""A user's own code trains as what is built in: by seed, bit for bit, with all that a job says."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from lrtuner.errors import JobFailedError
from tests.worker.code.conftest import PLAIN, STEPPED, WINE, project
from tests.worker.conftest import ListJournal, pipeline_of, spec_of
from tests.worker.test_trunks import assert_as_alone, wsd
from worker.comparison import compare
from worker.range_test import one_sweep, run_range_test
from worker.sandbox.errors import CodeError
from worker.training import train

RATES = [0.05] * 20


def result(run):
    return {name: value for name, value in vars(run).items() if name != "seconds"}


@pytest.mark.parametrize("source", [PLAIN, STEPPED], ids=["tensors", "step"])
class TestEveryKind:
    def test_it_trains_and_the_same_seed_gives_the_same_bits(self, source, task_in):
        task = task_in(source)
        before = task.evaluate(task.model(3), task.data.validation)["loss"]
        first, again, other = (train(task, RATES, seed) for seed in (3, 3, 4))
        assert result(first) == result(again)
        assert result(first) != result(other)
        assert first.metrics["val_loss"] < before

    def test_a_second_build_is_the_same_task(self, source, task_in):
        first, again, other = task_in(source), task_in(source), task_in(source, seed=1)
        assert first.data.digest() == again.data.digest() != other.data.digest()
        assert result(train(first, RATES, 0)) == result(train(again, RATES, 0))

    def test_runs_that_share_a_beginning_are_the_runs_alone(self, source, task_in):
        task = task_in(source, training={"batch_size": 16, "steps": 30})
        assert_as_alone(task, [wsd(10, 30, 0.01), [0.01] * 30, wsd(5, 30, 0.01)])

    def test_a_sweep_and_the_range_test_are_repeatable(self, source, task_in):
        task = task_in(source, range_test={"held_out": 16})
        rates = [1e-4 * 2**i for i in range(20)]
        assert one_sweep(task, rates, 7) == one_sweep(task, rates, 7)
        assert run_range_test(task).repeatable

    def test_evaluation_leaves_the_generators_alone(self, source, task_in):
        task = task_in(source)
        model = task.model(0)
        before = torch.get_rng_state(), random.getstate(), np.random.random_sample
        task.evaluate(model, task.data.validation)
        task.held_out(0, 5)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert model.training

    @pytest.mark.parametrize(
        "training",
        [
            {"grad_accum": 2},
            {"precision": "bf16"},
            {"precision": "fp16"},
            {"grad_clip_norm": 0.1},
            {"ema_decay": 0.9},
            {"no_decay": "biases_and_norms", "freeze": ["0.*"]},
            {"param_groups": [{"match": "0.*", "lr_ratio": 0.1}]},
        ],
        ids=str,
    )
    def test_what_the_job_says_of_the_training_holds(self, source, task_in, training):
        task = task_in(source, training={"batch_size": 16, "steps": 10, **training})
        run = train(task, RATES[:10], 0, test=True)
        plain = train(task_in(source), RATES[:10], 0)
        assert run.metrics["val_loss"] is not None
        assert run.metrics["val_loss"] != plain.metrics["val_loss"]


def test_tensors_are_the_usual_loss_and_accuracy_of_the_job(task_in):
    task = task_in(PLAIN)
    model = task.model(0).eval()
    inputs, targets = task.data.validation.tensors
    with torch.no_grad():
        outputs = model(inputs)
    found = task.evaluate(model, task.data.validation)
    assert found["loss"] == pytest.approx(nn.functional.cross_entropy(outputs, targets).item())
    assert found["accuracy"] == (outputs.argmax(-1) == targets).float().mean()
    smooth = {"name": "cross_entropy", "args": {"label_smoothing": 0.2}}
    batch = next(task.batches(0, 1))
    assert task_in(PLAIN, loss=smooth).loss(model, batch) != task.loss(model, batch)


def test_metrics_with_a_name_are_measured_and_may_decide(task_in):
    asked = {"objective": {"metric": "val_f1"}, "metrics": ["auc"]}
    run = train(task_in(PLAIN, **asked), RATES, 0)
    assert {"val_f1", "val_auc", "val_accuracy", "val_loss"} == set(run.metrics)
    stepped = train(task_in(STEPPED, objective={"metric": "val_accuracy"}), RATES, 0)
    assert (stepped.metrics["val_half"], set(stepped.metrics)) == (
        0.5,
        {"val_loss", "val_accuracy", "val_half"},
    )


OWN = PLAIN.replace(
    "test=test)",
    """test=test,
        loss=lambda out, y: nn.functional.cross_entropy(out, y) * 2,
        metrics={"top": lambda out, y: (out.argmax(-1) == y).double().mean(), "n": count})

def count(outputs, targets):
    return len(outputs) + len(targets)
""",
)


def test_a_loss_and_metrics_of_ones_own(task_in):
    own, usual = task_in(OWN), task_in(PLAIN)
    model = usual.model(0)
    mine, theirs = (t.evaluate(model, t.data.validation) for t in (own, usual))
    assert mine["loss"] == pytest.approx(2 * theirs["loss"], rel=1e-5)
    assert (mine["top"], mine["n"]) == (pytest.approx(theirs["accuracy"]), 54)
    batch = next(own.batches(0, 1))
    assert own.loss(model.eval(), batch).item() == pytest.approx(
        2 * usual.loss(model, batch).item()
    )


def test_without_a_test_split_nothing_is_measured_on_it(task_in):
    run = train(task_in(STEPPED), RATES, 0, test=True)
    assert run.state == "complete"
    assert not [name for name in run.metrics if name.startswith("test_")]


def test_steps_are_weighted_by_their_examples(task_in):
    """27 validation examples in batches of 16 and 11."""
    task = task_in(STEPPED)
    model = task.model(0)
    rows = torch.stack([task.data.validation.dataset[i]["x"] for i in range(27)])
    wanted = torch.tensor([task.data.validation.dataset[i]["y"] for i in range(27)])
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model.eval()(rows), wanted).item()
    found = task.evaluate(model, task.data.validation)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_batch_is_fetched_when_it_is_taken(task_in):
    task = task_in(
        WINE
        + """
seen = []
class Rows:
    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets
    def __len__(self):
        return len(self.inputs)
    def __getitem__(self, i):
        seen.append(i)
        return self.inputs[i], self.targets[i]

def build(context):
    train, validation, test = splits(context.seed)
    return Task(model=net, train=Rows(*train), validation=validation)
"""
    )
    seen = task.own.train.__getitem__.__func__.__globals__["seen"]
    seen.clear()
    batches = task.batches(0, 5, start=3)
    assert seen == []
    next(batches)
    assert len(seen) == 16


def test_a_module_is_copied_for_each_run(task_in):
    task = task_in(PLAIN.replace("model=net", "model=net().eval()"))
    first, second = task.model(0), task.model(1)
    assert torch.equal(first[0].weight, second[0].weight)
    assert first[0].weight is not second[0].weight
    assert first.training
    assert result(train(task, RATES, 0)) == result(train(task, RATES, 0))


CUSTOM = PLAIN.replace(
    "test=test)",
    """test=test,
        optimizer=lambda model, lr: torch.optim.SGD(
            [{"params": model[0].parameters(), "lr": lr / 10}, {"params": model[3].parameters()}],
            lr=lr, momentum=0.9))
""",
)
GROUPED = PLAIN.replace(
    "test=test)",
    """test=test,
        param_groups=lambda model: [
            {"params": model[0].parameters(), "lr_ratio": 0.1, "weight_decay": 0.0},
            {"params": model[3].parameters()}])
""",
)


def test_an_optimizer_of_ones_own_is_the_same_as_groups_of_the_jobs(task_in):
    grouped = task_in(GROUPED, optimizer={"name": "sgd", "args": {"momentum": 0.9}})
    custom = task_in(CUSTOM, optimizer={"name": "custom"})
    for task in (grouped, custom):
        optimizer = task.optimizer(task.model(0), 0.0)  # a warmup from nothing keeps the ratios
        assert [group["lr_ratio"] for group in optimizer.param_groups] == [0.1, 1.0]
    ours, theirs = (train(task, RATES, 0).metrics for task in (grouped, custom))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_muon_splits_the_groups_of_the_code(task_in):
    task = task_in(GROUPED, optimizer={"name": "muon"})
    groups = task.optimizer(task.model(0), 0.1).param_groups
    found = {(g["matrix"], g["lr_ratio"]): len(g["params"]) for g in groups}
    assert found == {(True, 0.1): 1, (False, 0.1): 1, (True, 1.0): 1, (False, 1.0): 1}


def test_the_dataset_that_the_job_names_is_the_codes_to_use_or_to_look_at(task_in):
    source = (
        WINE
        + """
def build(context):
    assert context.data.num_outputs == 3 and len(context.data.train[0]) == 125
    assert (context.args, context.batch_size, context.device) == ({"a": [1]}, 16, "cpu")
    assert (context.folder / "lrtune.py").is_file()
    return Task(model=net)
"""
    )
    task = task_in(source, model={"source": "code", "args": {"a": [1]}}, dataset={"name": "wine"})
    assert (len(task.data.train), len(task.data.test)) == (125, 26)
    assert train(task, RATES, 0, test=True).metrics["test_accuracy"] > 0.5


def test_a_whole_job_runs(task_in):
    journal = ListJournal()
    spec = spec_of(
        model={"source": "code"},
        dataset={"source": "code"},
        search={"budget": {"full_runs": 4}, "confirm_pairs": 0},
    )
    pipeline = pipeline_of(spec, journal)
    pipeline.task = task_in(STEPPED)
    document = pipeline.run()
    assert document.total_steps == 40
    assert all("val_half" in trial.metrics for trial in journal.trials if trial.metrics)


@pytest.mark.parametrize(
    ("source", "name"),
    [(STEPPED, "schedule_free"), (STEPPED, "prodigy"), (GROUPED, "schedule_free")],
    ids=["step", "step", "groups"],
)
def test_optimizers_without_a_schedule_train_it_too(task_in, source, name):
    run = compare(task_in(source, training={"batch_size": 16, "steps": 20}), name, 0)
    assert run.state == "complete"
    assert run.metrics["val_accuracy"] > 0.3


def test_an_entrypoint_is_what_is_installed(tmp_path, monkeypatch, task_in):
    folder = project(tmp_path / "site" / "installed_wine", "", __init__="", tasks=PLAIN)
    monkeypatch.syspath_prepend(folder.parent)
    model = {"source": "entrypoint", "target": "installed_wine.tasks:build"}
    ours, theirs = task_in(PLAIN, model=model), task_in(PLAIN)
    assert result(train(ours, RATES, 0)) == result(train(theirs, RATES, 0))
    with pytest.raises(CodeError, match="must have a function other"):
        task_in(PLAIN, model={**model, "target": "installed_wine.tasks:other"})
    with pytest.raises(CodeError, match="No module named 'not_there'") as caught:
        task_in(PLAIN, model={**model, "target": "not_there:build"})
    assert caught.value.code == "code.failed"


def test_lengths_that_do_not_fit_are_told_as_of_any_data(task_in):
    with pytest.raises(JobFailedError, match=r"training\.batch_size: 500 is larger"):
        task_in(PLAIN, training={"batch_size": 500, "steps": 10})


def test_places_where_nothing_is_to_be_learned_count_in_no_accuracy(task_in):
    half = PLAIN.replace(
        "return Task(",
        "validation[1][::2] = -100\n    return Task(",
    )
    found = task_in(half)
    kept = PLAIN.replace(
        "return Task(", "validation = [x[1::2] for x in validation]\n    return Task("
    )
    alone = task_in(kept.replace("validation=validation", "validation=tuple(validation)"))
    model = found.model(0)
    ours, theirs = (task.evaluate(model, task.data.validation) for task in (found, alone))
    assert ours["accuracy"] == theirs["accuracy"]
    assert ours["loss"] == pytest.approx(theirs["loss"])
