"""What makes two jobs the same question, field by field and source by source."""

from typing import get_args

import pytest

from lrtuner import question
from lrtuner.job import JobSpec
from lrtuner.question import LABELS, question_of
from lrtuner.sources import AnyDataset, AnyModel
from service.openapi import SMALLEST_JOB

BASELINE = {"total_steps": 380, "peak_lr": 0.1, "body": {"family": "constant"}}
UPLOAD = {"source": "upload", "id": f"sha256:{'0' * 64}"}
CODE = {"source": "code", "id": f"sha256:{'1' * 64}"}
IMAGES = {"source": "builtin", "name": "digits"}


def asked(**changes):
    return question_of(JobSpec.model_validate(SMALLEST_JOB | changes))


CHANGES = {
    "name": "n",
    "metadata": {"commit": "x"},
    "priority": "high",
    "deadline_minutes": 5,
    "model": {"name": "convnet"},
    "dataset": {"name": "breast_cancer"},
    "optimizer": {"name": "adamw"},
    "training": {"batch_size": 32, "epochs": 20},
    "loss": {"name": "cross_entropy", "args": {"label_smoothing": 0.1}},
    "metrics": ["accuracy"],
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "search": {"confirm_pairs": 6},
    "range_test": {"num_seeds": 4},
    "baseline": BASELINE,
    "seed": 1,
}


@pytest.mark.parametrize("field", sorted(set(JobSpec.model_fields) - {"webhook"}))
def test_every_field_is_part_of_the_question_or_a_label(field):
    change = {field: CHANGES[field]}
    assert (asked(**change) == asked()) == (field in LABELS)


def test_what_is_left_out_is_the_same_as_its_default():
    assert asked(seed=0, search={"families": "all"}, metadata={}) == asked()


def test_a_new_algorithm_is_another_question(monkeypatch):
    before = asked()
    monkeypatch.setattr(question, "ALGORITHM_VERSION", question.ALGORITHM_VERSION + 1)
    assert asked() != before


KNOWN = [
    {"model": {"name": "mlp"}, "dataset": UPLOAD},
    {"model": CODE},
    {"model": CODE, "dataset": UPLOAD},
    {"model": {"source": "torchvision", "name": "resnet18"}, "dataset": IMAGES},
    {"model": {"source": "timm", "name": "resnet18"}, "dataset": IMAGES},
    *({"dataset": {"name": name}} for name in ("digits", "breast_cancer", "wine")),
    {"model": {"name": "convnet"}, "dataset": {"name": "digit_segments"}},
    {"dataset": {"name": "diabetes"}},
]
UNKNOWN = [
    {"dataset": {"source": "path", "path": "a.csv"}},
    {"model": CODE, "dataset": {"source": "path", "path": "a.csv"}},
    {"dataset": {"source": "huggingface", "path": "a", "args": {"image": "x"}}},
    {"model": {"source": "entrypoint", "target": "a:b"}},
    {"model": {"name": "gpt"}, "dataset": {"name": "python_stdlib_text"}},
    {
        "model": {"source": "torchvision", "name": "resnet18", "weights": "pretrained"},
        "dataset": IMAGES,
    },
    {
        "model": {"source": "transformers", "task": "causal_lm", "name": "a/b"},
        "dataset": UPLOAD,
    },
]


def said(change):
    brings_data = "model" in change and change["model"].get("source") in ("code", "entrypoint")
    fields = SMALLEST_JOB | ({"dataset": {"source": "code"}} if brings_data else {}) | change
    return JobSpec.model_validate(fields)


def test_every_source_is_judged():
    judged = [said(change) for change in (*KNOWN, *UNKNOWN)]
    assert {type(spec.model) for spec in judged} == set(get_args(AnyModel))
    assert {type(spec.dataset) for spec in judged} == set(get_args(AnyDataset))


@pytest.mark.parametrize("change", KNOWN, ids=str)
def test_what_a_hash_or_a_name_says_all_about(change):
    assert question_of(said(change))


@pytest.mark.parametrize("change", UNKNOWN, ids=str)
def test_what_may_have_changed_since(change):
    assert question_of(said(change)) is None
