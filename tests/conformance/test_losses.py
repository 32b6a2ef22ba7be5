"""The contract of a loss: it trains, is measured as torch has it, and is refused where unfit."""

import json
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from lrtuner.errors import JobFailedError
from lrtuner.losses import LOSSES, TASKS
from lrtuner.sources import DATASETS
from tests.conformance.source_samples import SMALL
from tests.worker.conftest import spec_of, task_of
from worker import losses as built
from worker.training import train

DIGIT_WEIGHTS = [0.5 + i / 10 for i in range(10)]
LABEL_WEIGHTS = [0.5 + i / 5 for i in range(7)]
MLP = {"name": "mlp", "args": {"hidden": [16]}}


def squared(outputs, targets, inputs):
    return functional.mse_loss(outputs, targets)


def entropy(outputs, targets, inputs):
    return functional.cross_entropy(outputs, targets)


# name, args, dataset, the loss that is trained and that is measured, by torch
ROWS: list[Any] = [
    ("cross_entropy", {}, "digits", entropy, entropy),
    (
        "cross_entropy",
        {"label_smoothing": 0.2},
        "digits",
        lambda o, t, x: functional.cross_entropy(o, t, label_smoothing=0.2),
        entropy,
    ),
    (
        "cross_entropy",
        {"class_weights": DIGIT_WEIGHTS},
        "digits",
        *[lambda o, t, x: functional.cross_entropy(o, t, weight=torch.tensor(DIGIT_WEIGHTS))] * 2,
    ),
    (
        "binary_cross_entropy",
        {},
        "digit_segments",
        *[lambda o, t, x: functional.binary_cross_entropy_with_logits(o, t)] * 2,
    ),
    (
        "binary_cross_entropy",
        {"pos_weight": LABEL_WEIGHTS},
        "digit_segments",
        *[
            lambda o, t, x: functional.binary_cross_entropy_with_logits(
                o, t, pos_weight=torch.tensor(LABEL_WEIGHTS)
            )
        ]
        * 2,
    ),
    ("mse", {}, "diabetes", squared, squared),
    ("mae", {}, "diabetes", *[lambda o, t, x: functional.l1_loss(o, t)] * 2),
    (
        "huber",
        {"delta": 0.5},
        "diabetes",
        *[lambda o, t, x: functional.huber_loss(o, t, delta=0.5)] * 2,
    ),
    (
        "reconstruction",
        {},
        "digits",
        *[lambda o, t, x: functional.mse_loss(o, x.flatten(1))] * 2,
    ),
]
IDS = [f"{name} {' '.join(args)}".strip() for name, args, *_ in ROWS]


def loss_task(name, args, dataset, **changes):
    loss = {"name": name, "args": args}
    return task_of(model=MLP, dataset={"name": dataset}, loss=loss, **changes)


def test_every_loss_has_a_builder_and_a_row_here():
    assert set(built.LOSSES) == set(LOSSES.values())
    assert {name for name, *_ in ROWS} == set(LOSSES)
    assert all(loss().name == name for name, loss in LOSSES.items())


@pytest.mark.parametrize(("name", "args", "dataset", "trained", "measured"), ROWS, ids=IDS)
def test_it_is_what_torch_has(name, args, dataset, trained, measured):
    task = loss_task(name, args, dataset)
    model, (inputs, targets) = task.model(0), next(task.batches(0, 1))
    found = task.loss(model, (inputs, targets))
    assert found.shape == ()
    assert found.item() == pytest.approx(trained(model(inputs), targets, inputs).item(), rel=1e-6)
    split = task.data.test
    expected = measured(model(split.inputs), split.targets, split.inputs).item()
    assert task.evaluate(model, split)["loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "args", "dataset"), [row[:3] for row in ROWS], ids=IDS)
def test_it_is_the_mean_whatever_the_size_of_a_batch(name, args, dataset, monkeypatch):
    task = loss_task(name, args, dataset)
    model = task.model(0)
    whole = task.evaluate(model, task.data.validation)
    monkeypatch.setattr("worker.task.EVALUATION_BATCH", 7)
    assert task.evaluate(model, task.data.validation) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(("name", "args", "dataset"), [row[:3] for row in ROWS], ids=IDS)
def test_training_brings_it_down(name, args, dataset):
    task = loss_task(name, args, dataset, training={"batch_size": 16, "steps": 60})
    before = task.evaluate(task.model(0), task.data.validation)["loss"]
    assert train(task, [0.02] * 60, seed=0).metrics["val_loss"] < 0.95 * before


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("loss", LOSSES)
def test_it_is_refused_where_it_does_not_fit_the_dataset(loss, dataset):
    config = DATASETS[dataset]
    kinds = {config.targets} | ({"inputs"} if config.provides & {"features"} else set())
    model = {"name": "gpt", "args": SMALL["gpt"]} if config.targets == "tokens" else MLP
    job = {"model": model, "dataset": {"name": dataset}, "loss": {"name": loss}}
    if LOSSES[loss].fits & kinds:
        assert spec_of(**job).trained_loss.name == loss
        return
    with pytest.raises(ValidationError) as caught:
        spec_of(**job)
    [error] = caught.value.errors()
    assert error["ctx"]["field"] == "loss.name"
    assert TASKS[config.targets] in error["msg"]


def test_a_job_that_names_no_loss_trains_that_of_its_dataset():
    assert spec_of().trained_loss.name == "cross_entropy"
    assert spec_of(dataset={"name": "diabetes"}).trained_loss.name == "mse"
    assert spec_of(dataset={"name": "digit_segments"}).trained_loss.name == "binary_cross_entropy"


@pytest.mark.parametrize(
    ("loss", "dataset", "told"),
    [
        (
            {"name": "cross_entropy", "args": {"class_weights": [1.0, 2.0]}},
            "wine",
            "loss.args.class_weights: 2 weights, but the dataset has 3 classes",
        ),
        (
            {"name": "binary_cross_entropy", "args": {"pos_weight": [1.0]}},
            "digit_segments",
            "loss.args.pos_weight: 1 weights, but the dataset has 7 labels",
        ),
    ],
)
def test_weights_of_another_number_are_refused_before_training(loss, dataset, told):
    with pytest.raises(JobFailedError, match=told):
        task_of(loss=loss, dataset={"name": dataset})


@pytest.mark.parametrize(
    ("loss", "field"),
    [
        ({"name": "cross_entropy", "args": {"label_smoothing": 1.0}}, "label_smoothing"),
        ({"name": "cross_entropy", "args": {"class_weights": [1.0, 0.0, 1.0]}}, "class_weights"),
        ({"name": "huber", "args": {"delta": 0.0}}, "delta"),
        ({"name": "mse", "args": {"delta": 1.0}}, "delta"),
        ({"name": "hinge"}, "loss"),
    ],
)
def test_what_is_out_of_range_is_refused(loss, field):
    with pytest.raises(ValidationError) as caught:
        spec_of(dataset={"name": "diabetes"}, loss=loss)
    assert field in caught.value.errors()[0]["loc"]


def test_a_language_model_has_no_classes_to_weigh():
    loss = {"name": "cross_entropy", "args": {"class_weights": [1.0] * 97}}
    with pytest.raises(ValidationError, match="no classes to weigh"):
        spec_of(model={"name": "gpt"}, dataset={"name": "python_stdlib_text"}, loss=loss)


def test_outputs_of_another_number_than_the_targets_are_no_broadcast():
    with pytest.raises(ValueError, match="gives \\(4, 1\\) for \\(4, 7\\)"):
        built.paired(torch.zeros(4, 1), torch.zeros(4, 7))


def test_a_job_with_a_loss_survives_json():
    spec = spec_of(dataset={"name": "diabetes"}, loss={"name": "huber", "args": {"delta": 2.0}})
    assert type(spec).model_validate_json(json.dumps(spec.model_dump(mode="json"))) == spec
