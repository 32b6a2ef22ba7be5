import json

import jsonschema
import pytest

import lrtuner
from lrtuner.document import (
    Context,
    OptimizerRef,
    Provenance,
    ScheduleDocument,
    SpentBudget,
    Verdict,
)
from lrtuner.errors import InvalidScheduleError
from lrtuner.recommendation import recommend
from lrtuner.schedules.grammar import Schedule

SCHEDULE = Schedule.model_validate(
    {
        "total_steps": 380,
        "peak_lr": 0.131,
        "warmup": {"steps": 19.0},
        "body": {"family": "cosine", "decay_steps": 361.0},
    }
)


def recommended(**provenance):
    told = {"job_id": "job_1", "created_at": "2026-01-01T00:00:00Z", **provenance}
    return recommend(
        SCHEDULE,
        optimizer=OptimizerRef(name="sgd", args={"momentum": 0.9}),
        context=Context(steps_per_epoch=19, epochs=20, batch_size=64),
        verdict=Verdict(status="estimated", metric="val_loss", pairs=0, reason="because"),
        provenance=Provenance(
            tool_version="0.1.0",
            content_hash="",
            seed=0,
            budget=SpentBudget(full_runs=30, spent=29.4),
            **told,
        ),
        public_url="http://127.0.0.1:8470/",
    )


def test_a_recommendation_has_the_published_shape():
    document = json.loads(recommended().text())
    assert list(document) == [
        "$schema", "schema_version", "kind", "unit", "total_steps", "peak_lr", "warmup", "body",
        "cooldown", "min_factor", "after_end", "optimizer", "context", "checksum_points",
        "verdict", "provenance", "exports",
    ]  # fmt: skip
    assert document["$schema"] == "http://127.0.0.1:8470/v1/schema/schedule-1.0.json"
    assert document["warmup"] == {"steps": 19.0, "start_factor": 0.05, "curve": "linear"}
    assert document["body"]["family"] == "cosine"
    assert [0, 0.00655] in document["checksum_points"]
    assert document["exports"]["torch"] == {
        "fidelity": "exact",
        "max_rel_error": pytest.approx(0, abs=1e-15),
        "reason": None,
    }


def test_load_gives_the_schedule_from_a_file_and_from_data(tmp_path):
    config = recommended()
    path = tmp_path / "schedule.json"
    path.write_text(config.text())
    for schedule in (lrtuner.load(path), lrtuner.load(str(path)), lrtuner.load(config.document)):
        assert isinstance(schedule, lrtuner.Schedule)
        assert schedule.values().tolist() == SCHEDULE.values().tolist()
        assert schedule.document == config.document


def test_the_hash_covers_everything_but_ids_and_times():
    assert recommended().hashed() == recommended(job_id="job_2", created_at="x").hashed()
    config = recommended()
    for change in ({"peak_lr": 0.13}, {"verdict": None}, {"context": None}):
        assert config.model_copy(update=change).hashed() != config.hashed()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peak_lr": 0.14}, "checksum point at step 0 promises"),
        ({"total_steps": 381}, "content_hash"),
        ({"verdict": None}, "content_hash"),
        ({"peak_lr": "0.131"}, "peak_lr: Input should be a valid number"),
        ({"total_steps": 1.5}, "total_steps"),
        ({"body": {"family": "zigzag"}}, "'constant', 'polynomial'"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"schema_version": "2.0"}, "schema_version"),
        ({"unit": "fortnight"}, "unit"),
        ({"warmup": {"steps": -1}}, "warmup.steps"),
    ],
)
def test_a_wrong_config_is_refused_by_field(change, told):
    with pytest.raises(InvalidScheduleError) as caught:
        lrtuner.load({**recommended().document, **change})
    assert told in str(caught.value)


def test_the_first_wrong_checksum_point_is_named():
    document = recommended().document
    document["checksum_points"][3][1] *= 1.001
    with pytest.raises(InvalidScheduleError, match=f"step {document['checksum_points'][3][0]} "):
        lrtuner.load(document)


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "is not JSON"), ("[]", "must hold a JSON object"), (None, "cannot read")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, text, told):
    path = tmp_path / "schedule.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidScheduleError, match=told):
        lrtuner.load(path)


def test_a_schedule_alone_is_a_config():
    schedule = lrtuner.load({"total_steps": 9, "peak_lr": 1, "body": {"family": "constant"}})
    assert schedule.values().tolist() == [1.0] * 9


def test_the_json_schema_accepts_what_load_accepts():
    schema = ScheduleDocument.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(recommended().document)
    assert not validator.is_valid({**recommended().document, "colour": "red"})


@pytest.mark.parametrize("text", ['"""; import os', "a b", "", "x" * 200])
def test_provenance_cannot_carry_code_into_an_export(text):
    with pytest.raises(ValueError, match="job_id"):
        recommended(job_id=text)


def test_steps_that_are_no_steps_are_refused():
    for step in (-1, float("nan"), [0, -0.5]):
        with pytest.raises(ValueError, match="0 or more"):
            SCHEDULE(step)


def test_rates_that_grow_without_end_are_refused():
    body = {"family": "exponential", "decay_steps": 1.0, "rate": 1000.0}
    with pytest.raises(InvalidScheduleError, match=r"body\.rate: .* equal to 1 \(got 1000\.0\)"):
        lrtuner.load({"total_steps": 1000, "peak_lr": 1.0, "body": body})


def test_a_rescaled_config_can_be_saved_and_loaded_and_no_longer_claims_its_verdict():
    again = lrtuner.load(json.loads(recommended().rescaled(760).text()))
    assert again.total_steps == 760
    assert again(38) == SCHEDULE(19)
    assert again.checksum_points
    assert again.verdict is again.provenance is None
