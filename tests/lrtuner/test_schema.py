"""The shipped JSON Schema: it is what the models say, agrees with load, and never takes back.

`tests/golden/*.json` are documents as some version wrote them, never to be edited: those named
`recommendation-0.1.0-*` by the first one, the others by the version that brought their families.
What was valid must stay valid, keep its hash, and give the rates in `rates.csv`.
"""

import copy
import csv
import json
import runpy
import tomllib
from collections import defaultdict
from pathlib import Path

import jsonschema
import pytest

import lrtuner
from lrtuner.document import ReactiveDocument
from lrtuner.errors import InvalidScheduleError
from lrtuner.schedules import FAMILIES
from lrtuner.schedules.presets import PRESETS
from lrtuner.schema import DIALECT, FILE, generated, schedule_schema
from tests.conformance.samples import SAMPLES, config, reactive

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.json"))
every_golden_document = pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)

VALIDATOR = jsonschema.Draft202012Validator(schedule_schema())
REACTIVE = {"kind": "reactive", "peak_lr": 0.1, "body": {"mode": "min", "monitor": "val_loss"}}


def golden(name):
    return json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_text())


def rates():
    found = defaultdict(list)
    with (ROOT / "tests" / "golden" / "rates.csv").open() as lines:
        for row in csv.DictReader(lines):
            found[row["document"]].append((int(row["t"]), float(row["rate"])))
    return found


def changed(document, path, value=...):
    """A copy with the value at the dotted path replaced, or removed."""
    document = copy.deepcopy(document)
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[int(name) if isinstance(place, list) else name]
    if value is ...:
        del place[last]
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return document


def preset(name):
    """A schedule by a preset's name, with what the preset cannot do without."""
    needed = {
        "sgdr": {"cycles": 3},
        "noam": {"width": 512, "warmup_steps": 10},
        "swa": {"swa_lr": 0.01},
    }
    peak = {} if name == "noam" else {"peak_lr": 0.1}
    return {"total_steps": 100, "preset": {"name": name, **needed.get(name, {})}, **peak}


def accepted(document):
    try:
        lrtuner.load(document)
    except InvalidScheduleError:
        return False
    return True


# the file ---------------------------------------------------------------------------------------


def test_the_shipped_file_is_what_the_models_say():
    shipped = (ROOT / "lrtuner" / "schema" / FILE).read_text(encoding="utf-8")
    assert shipped == generated(), "write it anew with: python -m lrtuner.schema"


def test_it_can_be_written_anew(monkeypatch):
    written = {}
    monkeypatch.setattr(Path, "write_text", lambda path, text, **_: written.update({path: text}))
    runpy.run_module("lrtuner.schema", run_name="__main__")
    assert written == {ROOT / "lrtuner" / "schema" / FILE: generated()}


def test_it_is_in_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [pattern] = project["tool"]["setuptools"]["package-data"]["lrtuner.schema"]
    assert Path(FILE).match(pattern)


def test_it_is_json_schema_2020_12():
    schema = schedule_schema()
    assert schema["$schema"] == DIALECT == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "urn:lrtuner:schema:schedule-1.0"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_everything_in_it_is_described():
    models = schedule_schema()["$defs"]
    assert {family.__name__ for family in FAMILIES.values()} <= set(models)
    for model, schema in models.items():
        assert schema["description"], model
        assert schema["additionalProperties"] is False
        for name, field in schema["properties"].items():
            assert field["title"], (model, name)
            assert field["description"], (model, name)


# documents of older versions --------------------------------------------------------------------


def test_there_is_a_golden_document_of_every_family_and_kind():
    documents = [json.loads(path.read_text()) for path in GOLDEN]
    assert {document["body"]["family"] for document in documents} == {*FAMILIES, "plateau"}
    assert {document["unit"] for document in documents} == {"step", "epoch", "second"}
    with_rates = {path.name for path in GOLDEN if path.stem != "reactive"}
    assert set(rates()) == with_rates


@every_golden_document
def test_what_was_valid_stays_valid_to_the_byte(path):
    text = path.read_text()
    VALIDATOR.validate(json.loads(text))
    assert lrtuner.load(path).text() == text  # nothing is renamed, added or left out
    provenance = json.loads(text).get("provenance")
    if provenance:
        assert lrtuner.load(path).hashed() == provenance["content_hash"]


@pytest.mark.parametrize("name", rates())
def test_what_was_promised_is_kept(name):
    document = lrtuner.load(ROOT / "tests" / "golden" / name)
    assert len(rates()[name]) >= 7
    for t, rate in rates()[name]:
        assert document(t) == pytest.approx(rate, rel=0, abs=1e-12 * document.peak_lr)


def test_the_rule_that_reacts_reacts_as_it_did():
    document = lrtuner.load(golden("reactive"))
    assert isinstance(document, ReactiveDocument)
    values = [0.5, 0.6, *[0.6005] * 6, 0.61, *[0.6] * 9]
    # six values that are not 0.001 better; two that are not counted, the first of which is better
    assert document.body.factors(values) == [1.0] * 7 + [0.5] * 8 + [0.25] * 3


# the schema and load agree ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_valid(name):
    document = config(SAMPLES[name]).document
    VALIDATOR.validate(document)
    assert accepted(document)


@pytest.mark.parametrize(
    "data",
    [
        *[preset(name) for name in PRESETS],
        {
            "unit": "epoch",
            "total_steps": "30ep",
            "peak_lr": 1,
            "warmup": {"steps": "10%"},
            "body": {"family": "cyclic", "up": "0.1dur", "base_factor": 0},
            "cooldown": {"start": 20, "steps": "10ep", "curve": "1-sqrt"},
        },
        {
            "total_steps": 100,
            "peak_lr": 0.1,
            "body": {"family": "multistep", "milestones": [30], "factors": [0.1]},
        },
        REACTIVE,
    ],
)
def test_what_load_makes_of_its_input_is_valid(data):
    document = lrtuner.load(data).document
    VALIDATOR.validate(document)
    assert lrtuner.load(document).document == document


FULL = golden("recommendation-multistep")
BREAKS = {
    "no horizon": ("total_steps", ...),
    "no peak": ("peak_lr", ...),
    "no body": ("body", ...),
    "null body": ("body", None),
    "no family": ("body.family", ...),
    "another version": ("schema_version", "2.0"),
    "a version that is no text": ("schema_version", 1.0),
    "another kind": ("kind", "sometimes"),
    "another unit": ("unit", "fortnight"),
    "another end": ("after_end", "rebound"),
    "no steps": ("total_steps", 0),
    "half a step": ("total_steps", 300.5),
    "too many steps": ("total_steps", 1_000_000_001),
    "steps as text": ("total_steps", "300"),
    "a peak of zero": ("peak_lr", 0),
    "a peak as text": ("peak_lr", "0.1"),
    "a peak that is true": ("peak_lr", True),
    "an unknown field": ("colour", "red"),
    "an unknown field of the body": ("body.colour", "red"),
    "an unknown field of the warmup": ("warmup.colour", "red"),
    "an unknown field of the verdict": ("verdict.colour", "red"),
    "another family": ("body.family", "zigzag"),
    "a family with another's parameters": ("body.family", "cosine"),
    "no milestones": ("body.milestones", []),
    "a milestone at zero": ("body.milestones", [0.0]),
    "a factor above 1": ("body.factors.1", 1.5),
    "an offset below zero": ("body.offset", -1),
    "a warmup without length": ("warmup.steps", ...),
    "a warmup of no length": ("warmup.steps", 0.0),
    "an unknown curve": ("warmup.curve", "loop"),
    "a cooldown without start": ("cooldown.start", ...),
    "a power too high": ("cooldown.power", 101.0),
    "a floor above the peak": ("min_factor", 1.1),
    "a null floor": ("min_factor", None),
    "a checksum point of one": ("checksum_points.0", [0]),
    "a checksum point as text": ("checksum_points.0", ["0", "0.1"]),
    "an optimizer as text": ("optimizer", "sgd"),
    "no steps per epoch": ("context.steps_per_epoch", ...),
    "a batch of none": ("context.batch_size", 0),
    "an unknown verdict": ("verdict.status", "proven"),
    "an interval with three ends": ("verdict.ci95", [0.0, 1.0, 2.0]),
    "a probability above 1": ("verdict.p_value", 1.5),
    "code for a job": ("provenance.job_id", '"; import os'),
    "no seed": ("provenance.seed", ...),
    "an unknown fidelity": ("exports.torch.fidelity", "fine"),
}


@pytest.mark.parametrize(("path", "value"), BREAKS.values(), ids=BREAKS)
def test_what_the_schema_refuses_load_refuses(path, value):
    VALIDATOR.validate(FULL)
    document = changed(FULL, path, value)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(InvalidScheduleError, match="not a valid schedule config"):
        lrtuner.load(document)


REACTIVE_BREAKS = {
    "no mode": ("body.mode", ...),
    "no metric": ("body.monitor", ...),
    "a guess": ("body.mode", "auto"),
    "a metric that is code": ("body.monitor", "x'); import os"),
    "a factor of 1": ("body.factor", 1.0),
    "patience below zero": ("body.patience", -1),
    "a horizon": ("total_steps", 100),
    "a warmup": ("warmup", {"steps": 5.0, "start_factor": 0.1}),
    "in seconds": ("unit", "second"),
    "the body of a function of time": ("body", {"family": "constant"}),
    "the other kind": ("kind", "closed_form"),
    "no kind": ("kind", ...),
}


@pytest.mark.parametrize(("path", "value"), REACTIVE_BREAKS.values(), ids=REACTIVE_BREAKS)
def test_what_the_schema_refuses_of_a_rule_load_refuses(path, value):
    VALIDATOR.validate(reactive().document)
    document = changed(reactive().document, path, value)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(InvalidScheduleError, match="not a valid schedule config"):
        lrtuner.load(document)


BARE = {"total_steps": 100, "peak_lr": 0.1, "body": {"family": "constant"}}
ONLY_CODE = {
    "without a point": {"total_steps": 100.0},
    "`warmup.steps` is at most `total_steps`": {"warmup": {"steps": 101.0, "start_factor": 0.1}},
    "`exponential` starts above 0": {
        "warmup": {"steps": 10.0, "start_factor": 0.0, "curve": "exponential"}
    },
    "a `power` if and only if": {"cooldown": {"start": 90.0, "steps": 10.0, "curve": "power"}},
    "`milestones` rise": {
        "body": {"family": "multistep", "milestones": [5.0, 4.0], "factors": [1.0, 0.5, 0.1]}
    },
    "one more of `factors`": {
        "body": {"family": "multistep", "milestones": [5.0], "factors": [1.0, 0.5, 0.1]}
    },
    "`t_mult` is 1, or 1.01": {
        "body": {"family": "cosine_restarts", "first_steps": 9.0, "t_mult": 1.001}
    },
    "`exp_range` has a `gamma`": {
        "body": {"family": "cyclic", "up": 9.0, "down": 9.0, "base_factor": 0.0, "gamma": 0.9}
    },
    "checksum points are": {"checksum_points": [[0, 0.2]]},
}


@pytest.mark.parametrize(("told", "change"), ONLY_CODE.items(), ids=ONLY_CODE)
def test_what_only_code_can_check_is_said_in_the_schema(told, change):
    assert accepted(BARE)
    VALIDATOR.validate(BARE | change)
    assert not accepted(BARE | change)
    assert told in schedule_schema()["description"]


def test_a_wrong_hash_is_refused_and_that_is_said():
    document = changed(FULL, "verdict.p_value", 0.5)
    VALIDATOR.validate(document)
    assert not accepted(document)
    assert "content hash" in schedule_schema()["description"]
