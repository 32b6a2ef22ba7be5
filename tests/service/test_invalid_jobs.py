import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrtuner.job import JobSpec
from lrtuner.sources import DATASETS
from service.bodies import MAX_DEPTH
from service.openapi import EXAMPLE_JOB, SMALLEST_JOB

TRAINING = SMALLEST_JOB["training"]
BASELINE = {"total_steps": 380, "peak_lr": 0.1, "body": {"family": "constant"}}
PRESET = {"total_steps": 380, "peak_lr": 0.1}

# What is changed; where the problem is; the value that was sent; words the sentence must have.
INVALID = {
    "negative epochs": (
        {"training": TRAINING | {"epochs": -3}},
        "/training/epochs",
        "-3",
        ["greater than or equal to 1", "1000000"],
    ),
    "NaN": (
        {"training": TRAINING | {"grad_clip_norm": math.nan}},
        "/training/grad_clip_norm",
        "NaN",
        ["finite number", "greater than 0"],
    ),
    "infinity": (
        {"search": {"budget": {"full_runs": math.inf}}},
        "/search/budget/full_runs",
        "Infinity",
        ["finite number", "greater than 0", "10000"],
    ),
    "a budget too small for a search": (
        {"search": {"budget": {"full_runs": 2.5}}},
        "/search/budget/full_runs",
        "2.5",
        ["a full search needs at least 3"],
    ),
    "NaN in a free-form part": (
        {"baseline": BASELINE | {"optimizer": {"name": "sgd", "args": {"a": [1, math.nan]}}}},
        "/baseline/optimizer/args/a/1",
        "NaN",
        ["finite number"],
    ),
    "giant integer": (
        {"seed": 10**3000},
        "/seed",
        "1000000000",
        ["greater than or equal to 0", "2147483647"],
    ),
    "giant integer in a free-form part": (
        {"baseline": BASELINE | {"optimizer": {"name": "sgd", "args": {"a": 2**64}}}},
        "/baseline/optimizer/args/a",
        "18446744073709551616",
        ["64 bits"],
    ),
    "unknown family": (
        {"search": {"families": ["cosine", "sawtooth"]}},
        "/search/families",
        "sawtooth",
        ["polynomial", "inverse_time"],
    ),
    "family alone": (
        {"search": {"families": "cosine"}},
        "/search/families",
        '"cosine"',
        ['"all" or a list'],
    ),
    "family of another type": (
        {"search": {"families": ["cosine", 7]}},
        "/search/families/1",
        "7",
        ["a string"],
    ),
    "unknown model": (
        {"model": {"name": "resnet"}},
        "/model/name",
        '"resnet"',
        ['"mlp", "convnet", "gpt"'],
    ),
    "loss of another task": (
        {"loss": {"name": "mse"}},
        "/loss/name",
        "mse",
        ["is for regression", "digits", "losses that fit: cross_entropy, reconstruction"],
    ),
    "unknown loss": ({"loss": {"name": "hinge"}}, "/loss/name", '"hinge"', ['"cross_entropy", ']),
    "argument of another loss": (
        {"loss": {"name": "cross_entropy", "args": {"delta": 1.0}}},
        "/loss/args/delta",
        "unknown field",
        ["label_smoothing, class_weights"],
    ),
    "metric of another task": (
        {"metrics": ["f1", "mae"]},
        "/metrics/1",
        "mae",
        ["autoencoding or regression", "this is classification"],
    ),
    "rate above the schedule's": (
        {
            "training": TRAINING
            | {"param_groups": [{"match": "a"}, {"match": "b", "lr_ratio": 2.0}]}
        },
        "/training/param_groups/1/lr_ratio",
        "2.0",
        ["less than or equal to 1"],
    ),
    "no list of patterns": (
        {"training": TRAINING | {"no_decay": "biases"}},
        "/training/no_decay",
        '"biases"',
        ["biases_and_norms"],
    ),
    "pattern that is none": (
        {"training": TRAINING | {"freeze": ["a", ""]}},
        "/training/freeze/1",
        '""',
        [],
    ),
    "average of everything": (
        {"training": TRAINING | {"ema_decay": 1.0}},
        "/training/ema_decay",
        "1.0",
        ["less than 1"],
    ),
    "unknown precision": (
        {"training": TRAINING | {"precision": "float16"}},
        "/training/precision",
        '"float16"',
        ['"float32", "bf16", "fp16"'],
    ),
    "optimizer that needs the loss again": (
        {"optimizer": {"name": "lbfgs"}},
        "/optimizer/name",
        '"lbfgs"',
        ['"adafactor", "adagrad"'],
    ),
    "unknown dataset": (
        {"dataset": {"name": "digit"}},
        "/dataset/name",
        '"digit"',
        ['"digits", ', 'did you mean "digits"?'],
    ),
    "no model name": ({"model": {}}, "/model/name", "missing", ['"mlp", "convnet", "gpt"']),
    "inside a union": (
        {"model": {"name": "mlp", "args": {"hidden": [32, 0]}}},
        "/model/args/hidden/1",
        "0",
        ["greater than or equal to 1", "65536"],
    ),
    "inside two unions": (
        {"baseline": BASELINE | {"body": {"family": "step", "every": 0, "rate": 0.5}}},
        "/baseline/body/every",
        "0",
        ["greater than or equal to 1e-06"],
    ),
    "unknown family of the baseline": (
        {"baseline": BASELINE | {"body": {"family": "cosin"}}},
        "/baseline/body/family",
        '"cosin"',
        ['did you mean "cosine"?'],
    ),
    "length of the baseline": (
        {"baseline": BASELINE | {"body": {"family": "cosine", "decay_steps": "5xp"}}},
        "/baseline/body/decay_steps",
        "'5xp'",
        ["is no length", "'0.1dur'"],
    ),
    "length of the baseline in another unit": (
        {"baseline": BASELINE | {"warmup": {"steps": "5min"}}},
        "/baseline/warmup/steps",
        "5min",
        ["cannot be said in the unit 'step'"],
    ),
    "milestone of the baseline": (
        {
            "baseline": BASELINE
            | {"body": {"family": "multistep", "milestones": [50, 0], "factors": [0.1, 0.01]}}
        },
        "/baseline/body/milestones/1",
        "0",
        ["greater than or equal to 1e-06"],
    ),
    "relative milestone of the baseline": (
        {
            "baseline": BASELINE
            | {"body": {"family": "multistep", "milestones": [50, "6x"], "factors": [0.1, 0.01]}}
        },
        "/baseline/body/milestones/1",
        "6x",
        ["is no length"],
    ),
    "milestones of the baseline": (
        {
            "baseline": BASELINE
            | {"body": {"family": "multistep", "milestones": [50, 20], "factors": [0.1, 0.01]}}
        },
        "/baseline/body/milestones",
        "[50, 20]",
        ["must rise"],
    ),
    "factor of the baseline": (
        {
            "baseline": BASELINE
            | {"body": {"family": "multistep", "milestones": [50], "factors": [1.5]}}
        },
        "/baseline/body/factors/0",
        "1.5",
        ["less than or equal to 1"],
    ),
    "warmup of the baseline": (
        {"baseline": BASELINE | {"warmup": {"steps": 500}}},
        "/baseline/warmup/steps",
        "500",
        ["longer than the run", "380"],
    ),
    "exponential warmup from 0": (
        {
            "baseline": BASELINE
            | {"warmup": {"steps": 5, "start_factor": 0, "curve": "exponential"}}
        },
        "/baseline/warmup/start_factor",
        "0",
        ["more than 0"],
    ),
    "power of the baseline": (
        {"baseline": BASELINE | {"cooldown": {"start": 300, "steps": 80, "curve": "power"}}},
        "/baseline/cooldown/power",
        "missing",
        ["at most 100"],
    ),
    "curve of the baseline": (
        {"baseline": BASELINE | {"cooldown": {"start": 300, "steps": 80, "curve": "sqrt"}}},
        "/baseline/cooldown/curve",
        "sqrt",
        ['"one_minus_sqrt"'],
    ),
    "argument of a preset": (
        {"baseline": PRESET | {"preset": {"name": "swa", "swa_lr": 0.5}}},
        "/baseline/preset/swa_lr",
        "0.5",
        ["above the peak of 0.1"],
    ),
    "unknown argument of a preset": (
        {"baseline": PRESET | {"preset": {"name": "linear", "warmup": 5}}},
        "/baseline/preset/warmup",
        "5",
        ["unknown", "warmup_steps"],
    ),
    "missing argument of a preset": (
        {"baseline": PRESET | {"preset": {"name": "swa"}}},
        "/baseline/preset/swa_lr",
        "missing",
        ["required"],
    ),
    "preset that is not a name alone": (
        {"baseline": PRESET | {"preset": "swa"}},
        "/baseline/preset",
        '"swa"',
        ["swa_lr", "required"],
    ),
    "unknown preset": (
        {"baseline": PRESET | {"preset": {"name": "zigzag"}}},
        "/baseline/preset/name",
        "zigzag",
        ["one_cycle"],
    ),
    "preset without a name": (
        {"baseline": PRESET | {"preset": {}}},
        "/baseline/preset/name",
        "missing",
        ["one_cycle"],
    ),
    "preset and body": (
        {"baseline": BASELINE | {"preset": "linear"}},
        "/baseline/body",
        "constant",
        ["leave out body"],
    ),
    "preset without a horizon": (
        {"baseline": {"peak_lr": 0.1, "preset": "linear"}},
        "/baseline/total_steps",
        "missing",
        ["a positive whole number"],
    ),
    "baseline that reacts": (
        {"baseline": BASELINE | {"kind": "reactive"}},
        "/baseline/kind",
        "reactive",
        ['"closed_form"'],
    ),
    "baseline by the clock": (
        {"baseline": BASELINE | {"unit": "second"}},
        "/baseline/unit",
        "second",
        ["it must be step, or epoch"],
    ),
    "baseline in epochs of another length": (
        {"baseline": BASELINE | {"unit": "epoch", "total_steps": 21}},
        "/baseline/total_steps",
        "21",
        ["20 epochs"],
    ),
    "learning rates upside down": (
        {"search": {"lr_range": [1.0, 0.1]}},
        "/search/lr_range",
        "[1.0, 0.1]",
        ["low < high"],
    ),
    "one learning rate": (
        {"search": {"lr_range": [0.1]}},
        "/search/lr_range",
        "[0.1]",
        ["a list of length 2"],
    ),
    "range test upside down": (
        {"range_test": {"min_lr": 20.0}},
        "/range_test/min_lr",
        "20.0",
        ["below max_lr 10.0"],
    ),
    "text into an MLP": (
        {"dataset": {"name": "python_stdlib_text"}},
        "/model/name",
        "mlp",
        ["provides tokens", "digits"],
    ),
    "accuracy of a language model": (
        {
            "model": {"name": "gpt"},
            "dataset": {"name": "python_stdlib_text"},
            "objective": {"metric": "val_accuracy"},
        },
        "/objective/metric",
        "val_accuracy",
        ["classification"],
    ),
    "unknown field": (
        {"training": TRAINING | {"epoch": 3}},
        "/training/epoch",
        "unknown field",
        ['did you mean "epochs"?', "batch_size, epochs, steps"],
    ),
    "unknown field at the top": ({"modell": 1}, "/modell", "unknown field", ['"model"']),
    "field of another type's": (
        {"optimizer": {"name": "adamw", "args": {"momentum": 0.9}}},
        "/optimizer/args/momentum",
        "unknown field",
        ["betas, eps, weight_decay"],
    ),
    "missing field": (
        {"training": {"epochs": 3}},
        "/training/batch_size",
        "missing",
        ["greater than or equal to 1"],
    ),
    "epochs and steps": (
        {"training": TRAINING | {"steps": 100}},
        "/training",
        '"steps": 100',
        ["exactly one of epochs and steps"],
    ),
    "neither epochs nor steps": (
        {"training": {"batch_size": 64}},
        "/training",
        '"batch_size": 64',
        ["exactly one of epochs and steps"],
    ),
    "nesterov without momentum": (
        {"optimizer": {"name": "sgd", "args": {"nesterov": True}}},
        "/optimizer/args/nesterov",
        "true",
        ["momentum above 0"],
    ),
    "batch larger than the data": (
        {"training": {"batch_size": 1259, "epochs": 3}},
        "/training/batch_size",
        "1259",
        ["(1258)"],
    ),
    "baseline of another length": (
        {"baseline": BASELINE | {"total_steps": 100}},
        "/baseline/total_steps",
        "100",
        ["380 steps"],
    ),
    "webhook": ({"webhook": {"url": "ftp://x"}}, "/webhook/url", "ftp://x", ["https://"]),
    "text for a number": (
        {"training": {"batch_size": "64", "epochs": 3}},
        "/training/batch_size",
        '"64"',
        ["a whole number"],
    ),
    "a switch for a number": ({"seed": True}, "/seed", "true", ["a whole number"]),
    "model as text": ({"model": "mlp"}, "/model", '"mlp"', ["an object whose source is one of"]),
    "wrong way": (
        {"objective": {"metric": "val_accuracy", "direction": "minimize"}},
        "/objective",
        "minimize",
        ["can only be maximized"],
    ),
    "steps to no target": (
        {"objective": {"metric": "steps_to_target"}},
        "/objective/target",
        "missing",
        ["needs a target"],
    ),
    "target of a loss": (
        {"objective": {"metric": "val_loss", "target": {"metric": "val_loss", "value": 0.5}}},
        "/objective/target",
        '"value": 0.5',
        ["has no target"],
    ),
    "accuracy in per cent": (
        {
            "objective": {
                "metric": "steps_to_target",
                "target": {"metric": "val_accuracy", "value": 95.5},
            }
        },
        "/objective/target/value",
        "95.5",
        ["at most 1"],
    ),
    "other precision": (
        {"training": TRAINING | {"precision": "float16"}},
        "/training/precision",
        '"float16"',
        ['"float32"'],
    ),
    "long name": ({"name": "n" * 201}, "/name", "nnnnnn", ["a string of length 1 to 200"]),
    "NUL in the name": ({"name": "a\x00b"}, "/name", "a\\u0000b", ["NUL"]),
    "line break in the name": ({"name": "a\nb"}, "/name", "a\\nb", ["printable"]),
    "lone surrogate": ({"metadata": {"k": "\ud800"}}, "/metadata/k", "ud800", ["surrogate"]),
    "lone surrogate as a label": ({"metadata": {"\ud800": "v"}}, "/metadata", "ud800", ["surrog"]),
    "NUL in a free-form part": (
        {"baseline": BASELINE | {"optimizer": {"name": "sgd", "args": {"a": "\x00"}}}},
        "/baseline/optimizer/args/a",
        "u0000",
        ["NUL"],
    ),
    "long label": (
        {"metadata": {"k" * 65: "v"}},
        f"/metadata/{'k' * 65}",
        "kkkkk",
        ["the name", "a string of length 1 to 64"],
    ),
    "label with a slash": (
        {"metadata": {"a/b~c": 1}},
        "/metadata/a~1b~0c",
        "1",
        ["a string"],
    ),
    "too many labels": (
        {"metadata": {f"k{i}": "v" for i in range(33)}},
        "/metadata",
        "k0",
        ["an object of length 32 or less"],
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_field_is_named_with_its_value_and_what_is_allowed(sqlite_client, case):
    changes, pointer, value, words = INVALID[case]
    body = SMALLEST_JOB | changes
    answer = sqlite_client.post_json(body)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_input"
    [entry] = problem["errors"]
    assert entry["pointer"] == pointer
    dotted = entry["field"].replace("[", ".").replace("]", "").split(".")
    assert "/" + "/".join(dotted) == pointer.replace("~1", "/").replace("~0", "~")
    assert entry["message"].startswith(f"{entry['field']}: ")
    assert entry["message"] in problem["detail"]
    for word in [value, *words]:
        assert word in entry["message"]
    if value == "missing":
        assert "value" not in entry
    else:
        there, sent = follow(body, pointer)
        assert there
        assert entry["value"] == sent or value.strip('"') in json.dumps(entry["value"])
    assert sqlite_client.submit().status_code == 202, "it must go on serving"


def test_allowed_range_is_data_too(sqlite_client):
    body = {
        "model": {"name": "mlp", "args": {"activation": "swish", "hidden": [1] * 33}},
        "training": {"batch_size": 0, "epochs": 1, "grad_clip_norm": 0},
        "search": {"lr_range": [1e-3, 1e9]},
        "dataset": {"name": "mnist"},
    }
    entries = {e["pointer"]: e for e in sqlite_client.submit(**body).json()["errors"]}
    assert {pointer: entry["allowed"] for pointer, entry in entries.items()} == {
        "/model/args/activation": {"one_of": ["relu", "tanh", "gelu"]},
        "/model/args/hidden": {"max_length": 32},
        "/training/batch_size": {"ge": 1, "le": 1000000},
        "/training/grad_clip_norm": {"gt": 0},
        "/search/lr_range/1": {"gt": 0, "le": 1000000},
        "/dataset/name": {"one_of": list(DATASETS)},
    }


def test_many_problems_are_told_shortly(sqlite_client):
    answer = sqlite_client.submit(**{f"field{i}": "x" * 10_000 for i in range(90)})
    problem = answer.json()
    assert answer.status_code == 422
    assert len(problem["errors"]) == 20
    assert "and 17 more" in problem["detail"]
    assert len(answer.content) < 30_000


def test_long_names_are_not_sent_back(sqlite_client):
    answer = sqlite_client.submit(**{"x" * 500_000: 1})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == ""
    assert len(answer.content) < 5_000


@pytest.mark.parametrize("document", [[], [1], "text", 1, None, True, 1.5])
def test_body_that_is_no_object(sqlite_client, document):
    answer = sqlite_client.post_json(document)
    assert answer.status_code == 422
    [entry] = answer.json()["errors"]
    assert (entry["pointer"], entry["field"], entry["value"]) == ("", "", document)
    assert entry["message"].endswith("it must be an object")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1', "line 1, column 8"),
        (b'{"a": 1}}', "Extra data"),
        (b"{'a': 1}", "double quotes"),
        (b'{"a": nan}', "line 1, column 7"),
        (b"\xff\xfe{\x00}\x00", "byte 0 is not UTF-8"),
        ('{"a": "µ"}'.encode("latin-1"), "is not UTF-8"),
        ("\ufeff{}".encode(), "BOM"),
        (b'{"name": "a", "seed": 1, "name": "b"}', "the name 'name' appears twice"),
        (b'{"training": {"epochs": 1, "epochs": 1}}', "the name 'epochs' appears twice"),
        (b"[" * 100_000, "nested deeper than"),
        (b'{"a":' * 100_000, "nested deeper than"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "nested deeper than"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "thousands of digits"),
        (b"[" + b"1," * 60_000 + b"1]", "more than 50000 values"),
    ],
)
def test_body_that_is_no_json(sqlite_client, body, reason):
    answer = sqlite_client.post_raw(body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert reason in answer.json()["detail"]
    (error,) = answer.json()["errors"]
    assert (error["field"], error["pointer"]) == ("body", "")
    assert reason in error["message"]
    assert sqlite_client.submit().status_code == 202


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({}, "no Content-Type"),
        ({"Content-Type": "text/plain"}, "text/plain"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "x-www-form-urlencoded"),
        ({"Content-Type": "application/jsonp"}, "application/jsonp"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "Compressed"),
    ],
)
def test_other_media_types_are_refused(sqlite_client, headers, named):
    answer = sqlite_client.post("/v1/jobs", content=json.dumps(SMALLEST_JOB), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert named in answer.json()["detail"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.lrtuner+json"],
)
def test_media_types_of_json_are_accepted(sqlite_client, content_type):
    answer = sqlite_client.post_raw(json.dumps(SMALLEST_JOB), content_type)
    assert answer.status_code == 202


# Any JSON that Python can write, the strange kinds included.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30, max_value=10**40),
    st.floats(),
    st.text(st.characters(exclude_categories=[]), max_size=20),
    st.sampled_from(["mlp", "gpt", "digits", "sgd", "adamw", "cosine", "step", "all", "\x00"]),
    st.sampled_from(["0.1dur", "5ep", "9xp", "linear", "noam"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(["name", "family", "args", "[key]", "steps", "warmup_steps"]),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
FULL = EXAMPLE_JOB | {
    "search": EXAMPLE_JOB["search"] | {"lr_range": [1e-4, 1.0]},
    "range_test": {"min_lr": 1e-5, "max_lr": 1.0, "num_steps": 50, "num_seeds": 2},
    "baseline": {
        "$schema": "x",
        "total_steps": 380,
        "peak_lr": 0.1,
        "warmup": {"steps": 10.0, "start_factor": 0.1, "curve": "linear"},
        "body": {"family": "cosine", "decay_steps": 370.0, "end_factor": 0.0},
        "cooldown": {"start": 300.0, "steps": 80.0, "end_factor": 0.0, "curve": "linear"},
        "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
        "context": {"steps_per_epoch": 19, "epochs": 20, "batch_size": 64},
        "checksum_points": [],
        "exports": {"torch": {"fidelity": "exact"}},
    },
}


def paths_in(document, path=()):
    yield path
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from paths_in(value, (*path, key))
        else:
            yield (*path, key)


@st.composite
def mutated(draw):
    """A valid job, changed in one to three places."""
    document = json.loads(json.dumps(FULL))
    for _ in range(draw(st.integers(1, 3))):
        *outer, last = draw(st.sampled_from([path for path in paths_in(document) if path]))
        inside = document
        for key in outer:
            inside = inside[key]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                inside[last] = draw(anything)
            case "remove":
                del inside[last]
            case "add" if isinstance(inside, dict):
                inside[draw(st.one_of(st.text(max_size=6), st.just("preset")))] = draw(anything)
    return document


def follow(document, pointer):
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            return False, None
    return True, document


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=st.one_of(mutated(), mutated(), anything))
def test_no_document_makes_the_service_fail(sqlite_client, document):
    answer = sqlite_client.post_json(document)
    assert answer.status_code in (202, 400, 422)
    if answer.status_code == 202:
        assert JobSpec.model_validate(answer.json()["spec"])
    for entry in answer.json().get("errors", []):
        there, _ = follow(document, entry["pointer"])
        assert there == ("value" in entry)
        assert there or "missing" in entry["message"]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.one_of(st.binary(), st.text().map(str.encode), st.binary().map(lambda b: b"{" + b)))
def test_no_bytes_make_the_service_fail(sqlite_client, body):
    assert sqlite_client.post_raw(body).status_code in (400, 422)


@pytest.mark.parametrize("case", ["NUL in the name", "lone surrogate", "NaN"])
def test_both_databases_are_spared_what_they_cannot_store(client, case):
    changes, *_ = INVALID[case]
    assert client.submit(**changes).status_code == 422
    assert client.submit(name="µ ∑ 漢 🙂", metadata={"ключ": "🙂"}).status_code == 202
