import copy
import json

import pytest
from pydantic import ValidationError

from lrtuner.job import JobSpec, derived_seed
from lrtuner.schedules import SEARCHED
from lrtuner.sources import DATASETS, MODELS, mismatch, split_sizes

JOB = {
    "name": "digits-mlp",
    "model": {"source": "builtin", "name": "mlp", "args": {"hidden": [256, 256]}},
    "dataset": {"source": "builtin", "name": "digits", "args": {}},
    "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
    "training": {"batch_size": 64, "epochs": 20, "precision": "float32", "grad_clip_norm": None},
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "search": {"budget": {"full_runs": 30, "max_minutes": 30}, "confirm_pairs": 5},
    "baseline": None,
    "seed": 0,
    "metadata": {"commit": "abc123"},
    "webhook": None,
}  # fmt: skip


def changed(path, value):
    job = copy.deepcopy(JOB)
    *parents, last = path.split(".")
    inner = job
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return job


def test_the_documented_job_is_valid_and_lasts_380_steps():
    spec = JobSpec.model_validate(JOB)
    assert spec.total_steps(split_sizes(1797)[0]) == 380
    assert spec.search.family_names == list(SEARCHED)


def test_four_fields_are_enough():
    spec = JobSpec.model_validate(
        {
            "model": {"name": "mlp"},
            "dataset": {"name": "wine"},
            "optimizer": {"name": "adam"},
            "training": {"batch_size": 16, "steps": 50},
        }
    )
    assert spec.total_steps(125) == 50
    assert JobSpec.model_validate_json(json.dumps(spec.model_dump(mode="json"))) == spec


BAD = [
    ("model.name", "resnet", "'mlp', 'convnet', 'gpt'"),
    ("model.args", {"hidden": [0]}, "greater than or equal to 1"),
    ("dataset.name", "imagenet", "'digits'"),
    ("dataset.name", "python_stdlib_text", "datasets that fit: breast_cancer, diabetes"),
    ("model.name", "gpt", "hidden"),
    ("optimizer.args", {"lr": 0.1}, "Extra inputs"),
    ("optimizer.args", {"nesterov": True}, "nesterov needs a momentum above 0"),
    ("training.epochs", -3, "greater than or equal to 1"),
    ("training.epochs", None, "exactly one of epochs and steps"),
    ("training.steps", 100, "exactly one of epochs and steps"),
    ("training.batch_size", 5000, "larger than the training split (1258)"),
    ("training.batch_size", float("nan"), "valid integer"),
    ("training.batch_size", True, "valid integer"),
    ("training.grad_clip_norm", float("inf"), "finite"),
    ("training.precision", "int3", "'float32'"),
    ("objective.direction", "maximize", "val_loss can only be minimized"),
    ("search.families", ["zigzag"], "unknown family 'zigzag'"),
    ("search.families", [], "at least 1"),
    ("search.families", ["cosine", "cosine"], "twice"),
    ("search.lr_range", [1.0, 0.1], "low < high, got [1.0, 0.1]"),
    ("search.lr_range", [0.0, 0.1], "greater than 0"),
    ("search.budget.full_runs", 1, "a full search needs at least 3, got 1"),
    ("search.budget.full_runs", 0, "greater than 0"),
    ("search.sampler", "cmaes", "'tpe', 'gp' or 'random'"),
    ("search.horizon_fraction", 0.001, "greater than or equal to 0.01"),
    ("search.horizon_fraction", 1.5, "less than or equal to 1"),
    ("search.compare", ["lion"], "'schedule_free' or 'prodigy'"),
    ("search.compare", ["prodigy", "prodigy"], "twice"),
    ("baseline", {"total_steps": 100, "peak_lr": 0.1, "body": {"family": "constant"}}, "380 steps"),
    ("seed", -1, "greater than or equal to 0"),
    ("metadata", {"a": 1}, "valid string"),
    ("metadata", {"a": "x\x00y"}, "printable"),
    ("name", "a\nb", "printable"),
    ("webhook", {"url": "ftp://example.org"}, "https://"),
    ("colour", "red", "Extra inputs"),
]


@pytest.mark.parametrize(("path", "value", "told"), BAD, ids=[f"{p}={v!r:.30}" for p, v, _ in BAD])
def test_a_wrong_job_is_refused_and_told_why(path, value, told):
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(changed(path, value))
    assert told in str(caught.value)


def test_a_range_test_alone_may_cost_less_than_a_training():
    search = {"mode": "range_test", "budget": {"full_runs": 0.2}}
    alone, searching = (
        JobSpec.model_validate({**JOB, "search": search}),
        JobSpec.model_validate(JOB),
    )
    assert alone.search.range_test_runs(0.35) == 0.2
    assert searching.search.range_test_runs(0.35) == pytest.approx(0.35 * 30)


def test_the_least_budget_is_that_of_three_of_the_longest_runs():
    search = {"horizon_fraction": 0.25, "budget": {"full_runs": 0.75}}
    assert JobSpec.model_validate({**JOB, "search": search}).search.longest(380) == 95
    search = {**search, "budget": {"full_runs": 0.74}}
    with pytest.raises(ValidationError, match=r"a full search needs at least 0.75, got 0.74"):
        JobSpec.model_validate({**JOB, "search": search})


def test_the_longest_runs_are_the_whole_training_unless_told():
    search = JobSpec.model_validate(JOB).search
    assert (search.sampler, search.horizon_fraction, search.compare) == ("tpe", 1.0, [])
    assert search.longest(380) == 380
    shortest = search.model_copy(update={"horizon_fraction": 0.01})
    assert shortest.longest(20) == 2  # one step is no schedule


def test_a_range_test_upside_down_is_refused():
    with pytest.raises(ValidationError, match=r"min_lr 1.0 must be below max_lr 0.1"):
        JobSpec.model_validate({**JOB, "range_test": {"min_lr": 1.0, "max_lr": 0.1}})


def test_accuracy_of_a_text_model_is_refused():
    job = {
        **JOB,
        "model": {"name": "gpt"},
        "dataset": {"name": "python_stdlib_text"},
        "objective": {"metric": "val_accuracy"},
    }
    with pytest.raises(ValidationError, match="classification"):
        JobSpec.model_validate(job)


def test_every_model_fits_some_dataset_and_the_other_way_round():
    fits = {
        (m, d) for m, model in MODELS.items() for d, data in DATASETS.items()
        if mismatch(model(), data()) is None
    }  # fmt: skip
    assert {m for m, _ in fits} == set(MODELS)
    assert {d for _, d in fits} == set(DATASETS)
    assert ("convnet", "wine") not in fits


def test_seeds_depend_on_every_part_and_on_nothing_else():
    assert derived_seed(0, "search") == 384_596_762
    seeds = {derived_seed(a, b, c) for a in range(10) for b in ("x", "y") for c in range(10)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
