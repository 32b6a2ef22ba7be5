"""Models of transformers as a job names them, and what a job may not say of them."""

import pytest
from pydantic import ValidationError

from lrtuner.job import JobSpec
from lrtuner.sources import Transformers

TEXTS = {
    "source": "huggingface",
    "path": "texts",
    "args": {"text": "text", "tokenizer": {"name": "org/model"}},
}
NEW = {"weights": "random", "args": {"config": {"model_type": "bert", "num_hidden_layers": 2}}}


def job(dataset=TEXTS, **model):
    named = {"source": "transformers", "task": "sequence_classification", **model}
    training = {"batch_size": 8, "epochs": 2}
    optimizer = {"name": "adamw"}
    return {"model": named, "dataset": dataset, "optimizer": optimizer, "training": training}


@pytest.mark.parametrize("model", [{"path": "a/b"}, {"name": "org/model"}, {"name": "gpt2"}, NEW])
def test_a_job_is_the_same_after_json(model):
    spec = JobSpec.model_validate(job(**model))
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.trained_loss.name == "cross_entropy"
    assert spec.model.reads_files is (model is not NEW)
    assert spec.dataset.libraries == ("pyarrow", "transformers")


def test_what_is_learned_decides_the_loss():
    regression = TEXTS | {"args": TEXTS["args"] | {"task": "regression"}}
    assert JobSpec.model_validate(job(regression, path="a")).trained_loss.name == "mse"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({}, "say where the model lies"),
        ({"path": "a", "name": "b"}, "either path or name"),
        ({"path": "../a"}, "below the data root"),
        ({"path": "/a"}, "below the data root"),
        ({"name": "../a"}, "name"),
        ({"name": "https://example.org/a"}, "name"),
        (NEW | {"weights": "pretrained"}, "only 'random'"),
        (NEW | {"path": "a"}, "leave it out"),
        (NEW | {"trust_remote_code": True}, "trust_remote_code"),
        ({"path": "a", "task": "causal_lm"}, "learns tokens, but the targets .* are classes"),
        ({"path": "a", "task": "image_classification"}, "trains on images, but dataset 'texts'"),
        (
            {"path": "a", "args": {"config": {"attn_implementation": "org/x"}}},
            "attn_implementation",
        ),
        (
            {"path": "a", "args": {"config": {"attn_implementation": "x"}}},
            "other values are numbers",
        ),
        ({"path": "a", "args": {"config": {"dtype": "float16"}}}, "other values are numbers"),
        ({"path": "a", "args": {"config": {"num_labels": 3}}}, "it comes from the dataset"),
        ({"path": "a", "args": {"config": {"use_timm_backbone": True}}}, "load another model"),
        ({"path": "a", "args": {"config": {"_name_or_path": "x"}}}, "config"),
        ({"path": "a", "args": {"config": {"quantization_config": {"a": 1}}}}, "config"),
    ],
)
def test_what_cannot_be_is_refused(model, told):
    with pytest.raises(ValidationError, match=told):
        JobSpec.model_validate(job(**model))


def test_activations_are_words():
    config = {"model_type": "bert", "hidden_act": "gelu_new"}
    found = Transformers.model_validate(job(**NEW)["model"] | {"args": {"config": config}})
    assert found.args.config == config
