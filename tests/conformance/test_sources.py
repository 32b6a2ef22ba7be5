"""The contract of a source: whatever may be named gives data and a model that can be trained."""

import math
from typing import get_args

import pytest
import torch

from lrtuner import sources
from lrtuner.sources import DATASETS, MODELS, Code, Entrypoint, OwnData, split_sizes
from tests.conformance.dataset_samples import SAMPLES
from tests.conformance.source_samples import FITTING, SOURCES, Place
from tests.worker.conftest import CPU, fingerprint, spec_of
from worker import sources as built
from worker.code.examples import Fetched
from worker.data import Split
from worker.snapshot import Subject, restored
from worker.task import make_task
from worker.training import train

RATES = [0.01] * 3


def rows():
    for name, sample in SOURCES.items():
        marks = [pytest.mark.frameworks] if sample.needs else []
        yield pytest.param(name, marks=marks, id=name)


def spec(sample, **changes):
    training = {"batch_size": 8, "steps": 3}
    return spec_of(model=sample.model, dataset=sample.dataset, training=training, **changes)


@pytest.fixture(params=rows())
def sample(request):
    return SOURCES[request.param]


@pytest.fixture
def task_by(sample, tmp_path, monkeypatch):
    """The task of the sample's job with this seed."""
    if sample.needs:
        pytest.importorskip(sample.needs)
    place = Place(tmp_path, monkeypatch)
    place.root.mkdir()
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(place.root))
    monkeypatch.setenv("LRTUNER_DATA_DIR", str(place.data))
    sample.put(place)

    def made(seed, **changes):
        return make_task(spec(sample, seed=seed, **changes), CPU, place.project)

    return made


def test_the_same_seed_gives_the_same_data_and_another_one_cuts_it_otherwise(task_by, sample):
    first, again, other = (task_by(seed).data.digest() for seed in (1, 1, 2))
    assert first == again
    assert (first == other) is sample.in_order


def test_the_same_seed_gives_the_same_weights_and_another_one_others(task_by):
    task, again = task_by(1), task_by(1)
    first, same, second, other = (
        torch.nn.utils.parameters_to_vector(made.model(seed).parameters())
        for made, seed in ((task, 1), (task, 1), (again, 1), (again, 2))
    )
    assert torch.equal(first, same)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_examples_and_targets_are_of_the_shapes_and_kinds_that_are_told(task_by, sample):
    task = task_by(0)
    if not isinstance(task.spec.model, Code | Entrypoint):  # nobody says what code brings
        assert task.spec.dataset.targets == sample.targets
        assert task.spec.dataset.provides & task.spec.model.accepts
    assert task.data.num_outputs == sample.outputs
    for split in splits(task):
        inputs, targets = examples(split)
        assert inputs.shape == (len(split), *sample.inputs)
        assert inputs.dtype == (torch.int64 if sample.targets == "tokens" else inputs.dtype)
        assert inputs.isfinite().all()
        assert_targets(sample, inputs, targets)


def assert_targets(sample, inputs, targets):
    if sample.targets in ("classes", "tokens"):
        assert targets.dtype == torch.int64
        assert targets.shape == (inputs.shape if sample.targets == "tokens" else (len(inputs),))
        assert 0 <= int(targets.min()) <= int(targets.max()) < (sample.outputs or 3)
        return
    assert targets.dtype == torch.float32
    assert targets.shape == (len(targets), sample.outputs)
    assert sample.targets == "values" or set(targets.unique().tolist()) == {0.0, 1.0}


def test_every_example_is_in_one_split(task_by, sample):
    """So many as there are, and none of them twice; of a text, one stretch after another."""
    task = task_by(0)
    data = task.data
    sizes = sample.sizes if isinstance(sample.sizes, tuple) else split_sizes(sample.sizes)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    found = [examples(split) for split in splits(task)]
    inputs, targets = (torch.cat(parts) for parts in zip(*found, strict=True))
    if sample.targets == "tokens":  # which may repeat itself: each target is the token that follows
        assert torch.equal(inputs.flatten()[1:], targets.flatten()[:-1])
        return
    assert len({row.numpy().tobytes() for row in inputs}) == sum(sizes)


def test_a_run_trains_repeats_and_leaves_the_data_as_it_is(task_by):
    task = task_by(0)
    before = task.data.digest()
    first, again = train(task, RATES, seed=0), train(task, RATES, seed=0)
    assert first.updates == len(RATES)
    assert first.metrics == again.metrics
    assert math.isfinite(first.metrics["val_loss"])
    assert task.data.digest() == before


def test_what_updates_change_is_put_back(task_by):
    task = task_by(0, optimizer={"name": "adamw"})
    model = task.model(0)
    made = task.optimizer(model, 0.1)
    before = fingerprint(model, made)
    with restored(Subject(model, made)):
        for batch in task.batches(3, 3):
            task.loss(model, batch).backward()
            made.step()
        assert fingerprint(model, made) != before
    assert fingerprint(model, made) == before


def splits(task):
    found = (task.data.train, task.data.validation, task.data.test)
    return [split for split in found if len(split)]


def examples(split):
    """Inputs and targets of a split; of a dataset that augments its examples, as they lie in it."""
    if isinstance(split, Split):
        return split.inputs, split.targets
    if isinstance(split, Fetched):
        return split.dataset.inputs, split.dataset.targets
    return split.tensors


# completeness -------------------------------------------------------------------------------------


def test_every_config_has_a_builder_and_every_builder_a_config():
    assert set(built.MODELS) | {Code, Entrypoint} == set(get_args(sources.AnyModel))
    assert set(built.DATASETS) | {OwnData} == set(get_args(sources.AnyDataset))


def test_every_source_has_a_sample():
    specs = [spec(sample) for sample in SOURCES.values()]
    assert {type(s.model) for s in specs} == set(get_args(sources.AnyModel))
    assert {type(s.dataset) for s in specs} == set(get_args(sources.AnyDataset))
    assert {f"{s} of {f}" for s in ("upload", "path") for f in SAMPLES} <= set(SOURCES)
    pairs = {tuple(name.split(" on ")) for name in FITTING}
    assert {model for model, _ in pairs} == set(MODELS)
    assert {dataset for _, dataset in pairs} == set(DATASETS)


def test_names_are_those_the_classes_carry():
    assert all(model().name == name for name, model in MODELS.items())
    assert all(dataset().name == name for name, dataset in DATASETS.items())
