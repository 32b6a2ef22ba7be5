"""Metrics by name: as scikit-learn has them, in every evaluation, and as what decides."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn import metrics as sklearn

from lrtuner.lifecycle import TrialState
from lrtuner.metrics import METRICS
from lrtuner.objective import Objective, Target
from tests.worker.conftest import ListJournal, pipeline_of, spec_of, task_of
from worker.metrics import measure
from worker.training import train

AUTOENCODER = {"dataset": {"name": "digits"}, "loss": {"name": "reconstruction"}}
TASKS = {
    "classes": {"dataset": {"name": "wine"}},
    "two classes": {"dataset": {"name": "breast_cancer"}},
    "labels": {"dataset": {"name": "digit_segments"}},
    "values": {"dataset": {"name": "diabetes"}},
    "inputs": AUTOENCODER,
    "tokens": {
        "model": {"name": "gpt", "args": {"width": 8, "num_layers": 1, "num_heads": 2}},
        "dataset": {
            "name": "python_stdlib_text",
            "args": {"max_chars": 10_000, "context_length": 16},
        },
    },
}


def names_for(kind):
    kind = "classes" if kind == "two classes" else kind
    return [name for name, metric in METRICS.items() if kind in metric.fits and name != "loss"]


def by_hand(kind, name, outputs, expected):
    if kind in ("classes", "two classes"):
        chances, decided = outputs.double().softmax(-1), outputs.argmax(-1)
        if kind == "two classes":
            chances = chances[:, 1]
        return {
            "accuracy": lambda: sklearn.accuracy_score(expected, decided),
            "f1": lambda: sklearn.f1_score(expected, decided, average="macro"),
            "auc": lambda: sklearn.roc_auc_score(expected, chances, multi_class="ovr"),
        }[name]()
    if kind == "labels":
        return {
            "f1": lambda: sklearn.f1_score(expected, outputs > 0, average="macro"),
            "auc": lambda: sklearn.roc_auc_score(expected, outputs, average="macro"),
        }[name]()
    if kind == "tokens":
        loss = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), expected.flatten())
        return {"perplexity": lambda: math.exp(loss)}[name]()
    expected = expected.flatten(1)
    return {
        "mse": lambda: sklearn.mean_squared_error(expected, outputs),
        "mae": lambda: sklearn.mean_absolute_error(expected, outputs),
        "r2": lambda: sklearn.r2_score(expected, outputs, multioutput="variance_weighted"),
    }[name]()


@pytest.mark.parametrize("kind", TASKS)
def test_each_is_what_scikit_learn_gives_for_the_whole_split(kind, monkeypatch):
    monkeypatch.setattr("worker.task.EVALUATION_BATCH", 11)
    task = task_of(**TASKS[kind], metrics=names_for(kind))
    model, split = task.model(0).eval(), task.data.validation
    with torch.no_grad():
        outputs = model(split.inputs)
    expected = split.inputs if kind == "inputs" else split.targets
    found = task.evaluate(model, split)
    assert names_for(kind)
    for name in names_for(kind):
        assert found[name] == pytest.approx(by_hand(kind, name, outputs, expected), rel=1e-5), name


@pytest.mark.parametrize("kind", TASKS)
def test_those_asked_for_are_among_the_metrics_of_a_run(kind):
    names = names_for(kind)
    run = train(task_of(**TASKS[kind], metrics=names), [0.01] * 5, seed=0, test=True)
    assert {f"{split}_{name}" for split in ("val", "test") for name in names} <= set(run.metrics)
    assert all(value is not None for value in run.metrics.values())


def test_without_being_asked_there_are_loss_and_accuracy_alone():
    assert set(train(task_of(), [0.01] * 5, seed=0).metrics) == {"val_loss", "val_accuracy"}
    diabetes = task_of(dataset={"name": "diabetes"})
    assert set(train(diabetes, [0.01] * 5, seed=0).metrics) == {"val_loss"}


def test_that_of_the_objective_needs_no_asking():
    task = task_of(objective={"metric": "val_auc"}, metrics=["f1"])
    assert {"val_auc", "val_f1"} <= set(train(task, [0.01] * 5, seed=0).metrics)


def test_what_a_split_does_not_say_is_none():
    one_class = torch.zeros(5, dtype=torch.int64)
    assert math.isnan(measure(["auc"], torch.randn(5, 3), one_class)["auc"])
    assert math.isnan(measure(["r2"], torch.randn(1, 1), torch.zeros(1, 1))["r2"])


def test_outputs_that_are_not_finite_raise_nothing():
    values = measure(["mse", "mae", "r2"], torch.full((4, 1), math.nan), torch.randn(4, 1))
    assert not any(map(math.isfinite, values.values()))
    broken = torch.full((4, 2), math.nan)
    assert math.isnan(measure(["f1", "auc"], broken, torch.tensor([0, 1, 0, 1]))["auc"])


def test_a_class_that_nobody_names_does_not_count():
    outputs = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [9.0, 0, 0]])
    assert measure(["f1"], outputs, torch.tensor([0, 1, 0]))["f1"] == 1.0


@pytest.mark.parametrize("metric", [f"val_{name}" for name in METRICS])
def test_the_search_ranks_by_a_positive_number_that_falls_as_it_gets_better(metric):
    objective = Objective(metric=metric)
    better = [0.9, 0.8, 0.5, 0.1] if objective.sign < 0 else [1.01, 1.5, 2.0, 9.0]
    losses = [objective.loss(TrialState.COMPLETE, value, {}, 10) for value in better]
    assert all(np.diff(losses) > 0)
    assert losses[0] > 0
    wrong = "minimize" if objective.sign < 0 else "maximize"
    with pytest.raises(ValidationError, match="can only be"):
        Objective(metric=metric, direction=wrong)


@pytest.mark.parametrize(
    ("metric", "value", "loss"),
    [
        ("val_f1", 0.75, 0.25),
        ("val_auc", 0.9, 0.1),
        ("val_r2", -0.5, 1.5),
        ("val_r2", 1.0, 1e-9),
        ("val_mse", 0.3, 0.3),
        ("val_mae", 0.0, 1e-9),
        ("val_perplexity", math.e**2, 2.0),
        ("val_perplexity", 1.0, 1e-9),
        ("val_auc", 1.0, 1e-3),
    ],
)
def test_what_each_is_to_the_search(metric, value, loss):
    found = Objective(metric=metric).loss(TrialState.COMPLETE, value, {}, 10)
    assert found == pytest.approx(loss)


def test_a_target_may_be_any_of_them():
    assert Target(metric="val_r2", value=0.5).gap({"val_r2": 0.25}) == pytest.approx(0.5)
    assert Target(metric="val_perplexity", value=4.0).reached({"val_perplexity": 3.9})
    with pytest.raises(ValidationError, match="f1 is at most 1, got"):
        Target(metric="val_f1", value=2)
    with pytest.raises(ValidationError, match="always above 1, got"):
        Target(metric="val_perplexity", value=0.5)


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("values", {"objective": {"metric": "val_accuracy"}}, "objective.metric"),
        ("values", {"metrics": ["r2", "f1"]}, "metrics.1"),
        ("classes", {"objective": {"metric": "val_mse"}}, "objective.metric"),
        ("inputs", {"objective": {"metric": "val_accuracy"}}, "objective.metric"),
        ("labels", {"metrics": ["accuracy"]}, "metrics.0"),
        ("tokens", {"metrics": ["f1"]}, "metrics.0"),
        (
            "classes",
            {
                "objective": {
                    "metric": "steps_to_target",
                    "target": {"metric": "val_perplexity", "value": 3.0},
                }
            },
            "objective.target.metric",
        ),
    ],
)
def test_one_that_does_not_fit_is_refused_by_name(kind, changes, field):
    with pytest.raises(ValidationError, match="needs a task of") as caught:
        spec_of(**TASKS[kind], **changes)
    assert caught.value.errors()[0]["ctx"]["field"] == field


@pytest.mark.parametrize(
    ("kind", "metric", "optimizer"),
    [("values", "val_r2", "muon"), ("labels", "val_f1", "nadam"), ("inputs", "val_mae", "adamw")],
)
def test_a_whole_job_is_decided_by_it(kind, metric, optimizer):
    spec = spec_of(
        **TASKS[kind],
        objective={"metric": metric},
        optimizer={"name": optimizer},
        training={"batch_size": 32, "steps": 20},
        search={"budget": {"full_runs": 4}, "confirm_pairs": 0, "families": ["constant"]},
    )
    journal = ListJournal()
    document = pipeline_of(spec, journal).run()
    done = [trial for trial in journal.trials if trial.state is TrialState.COMPLETE]
    assert document.verdict.metric == metric
    assert done
    assert all(trial.value == trial.metrics[metric] for trial in done)
