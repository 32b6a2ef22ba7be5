"""The contract of a source: every model and dataset that may be named can be built and trained."""

import pytest
import torch

from lrtuner.sources import (
    DATASETS,
    MODELS,
    HuggingFace,
    PathFile,
    Timm,
    Torchvision,
    Transformers,
    Upload,
    mismatch,
    models,
    split_sizes,
)
from tests.worker.code.conftest import PLAIN, STEPPED, task_in
from tests.worker.conftest import fingerprint, task_of
from worker import sources as built
from worker.snapshot import Subject, restored
from worker.training import train

__all__ = ["task_in"]  # a fixture

SMALL = {
    "mlp": {"hidden": [8]},
    "convnet": {"channels": [4]},
    "gpt": {"width": 8, "num_layers": 1, "num_heads": 2},
    "python_stdlib_text": {"max_chars": 10_000, "context_length": 16},
}
CODE = {"pairs of tensors": PLAIN, "a step on a dataset": STEPPED}
FITTING = [
    (m, d)
    for m, model in MODELS.items()
    for d, dataset in DATASETS.items()
    if mismatch(model(), dataset()) is None
]


def small_task(model, dataset, optimizer="sgd"):
    return task_of(
        model={"name": model, "args": SMALL.get(model, {})},
        dataset={"name": dataset, "args": SMALL.get(dataset, {})},
        optimizer={"name": optimizer},
        training={"batch_size": 16, "steps": 3},
    )


def test_every_config_has_a_builder_and_every_builder_a_config():
    assert set(built.MODELS) == {*MODELS.values(), Transformers, Timm, Torchvision}
    assert set(built.DATASETS) == {*DATASETS.values(), Upload, PathFile, HuggingFace}


@pytest.mark.parametrize(("model", "dataset"), FITTING)
def test_what_fits_trains(model, dataset):
    run = train(small_task(model, dataset), [0.01] * 3, seed=0)
    assert run.updates == 3
    assert run.metrics["val_loss"] is not None


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_is_the_same_for_the_same_seed_and_split_otherwise_for_another(name):
    config = DATASETS[name].model_validate({"args": SMALL.get(name, {})})
    build = built.DATASETS[type(config)]
    first, again, other = build(config, 1), build(config, 1), build(config, 2)
    assert first.digest() == again.digest() != other.digest()
    count = sum(len(s) for s in (first.train, first.validation, first.test))
    assert (len(first.train), len(first.validation), len(first.test)) == split_sizes(count)
    if config.num_examples is not None:
        assert count == config.num_examples
    for split in (first.train, first.validation, first.test):
        assert_targets(config.targets, split.targets, first.num_outputs)


def assert_targets(kind, targets, num_outputs):
    if kind in ("classes", "tokens"):
        assert targets.dtype == torch.int64
        assert 0 <= int(targets.min()) <= int(targets.max()) < num_outputs
        return
    assert targets.dtype == torch.float32
    assert targets.shape == (len(targets), num_outputs)
    assert kind == "values" or set(targets.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "digits", "diabetes"])
def test_no_example_is_in_two_splits(name):
    data = built.DATASETS[DATASETS[name]](DATASETS[name](), 0)
    rows = [
        tuple(x.flatten().tolist())
        for s in (data.train, data.validation, data.test)
        for x in s.inputs
    ]
    assert len(set(rows)) >= len(rows) - 1  # digits has no duplicates, wine at most one


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_weights(name):
    dataset = next(d for m, d in FITTING if m == name)
    task = small_task(name, dataset)
    first, again, other = (
        torch.nn.utils.parameters_to_vector(task.model(seed).parameters()) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("source", CODE)
def test_code_gives_the_same_data_and_weights_for_the_same_seed(task_in, source):
    first, again, other = (task_in(CODE[source], seed=seed) for seed in (1, 1, 2))
    assert first.data.digest() == again.data.digest() != other.data.digest()
    weights = [
        torch.nn.utils.parameters_to_vector(task.model(seed).parameters())
        for task, seed in ((first, 1), (again, 1), (first, 2))
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("source", CODE)
def test_code_is_put_back_to_where_it_was(task_in, source):
    task = task_in(CODE[source])
    model = task.model(0)
    optimizer = task.optimizer(model, 0.1)
    before = fingerprint(model, optimizer)
    with restored(Subject(model, optimizer)):
        for batch in task.batches(3, 4):
            task.loss(model, batch).backward()
            optimizer.step()
        assert fingerprint(model, optimizer) != before
    assert fingerprint(model, optimizer) == before


@pytest.mark.parametrize("source", CODE)
def test_no_example_of_code_is_in_two_splits(task_in, source):
    data = task_in(CODE[source]).data
    rows = [
        tuple(row)
        for split in (data.train, data.validation, data.test)
        for row in rows_of(split).tolist()
    ]
    assert len(rows) > 150
    assert len(set(rows)) >= len(rows) - 1


def rows_of(split):
    if not len(split):
        return torch.empty(0)
    batch = split.batch(torch.arange(len(split)))
    return batch["x"] if isinstance(batch, dict) else batch[0]


def test_names_are_those_the_classes_carry():
    assert MODELS["mlp"] is models.Mlp
    assert all(model().name == name for name, model in MODELS.items())
    assert all(dataset().name == name for name, dataset in DATASETS.items())
