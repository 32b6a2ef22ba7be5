import json

import jsonschema
import pytest

from lrtuner.candidates import family_space
from lrtuner.export import EXPORTERS
from lrtuner.schedules import FAMILIES, SEARCHED
from lrtuner.schema import schedule_schema
from service.openapi import EXAMPLE_JOB, SMALLEST_JOB


def test_every_family_is_described(sqlite_client):
    items = sqlite_client.get("/v1/families").json()["items"]
    assert [item["name"] for item in items] == [*FAMILIES, "plateau"]
    for item in items[:-1]:
        assert item["kind"] == "closed_form"
        assert item["searched"] == (item["name"] in SEARCHED)
        assert "v(tau)" in item["formula"]
        assert item["parameters"]["required"][0] == "family"
        jsonschema.Draft202012Validator.check_schema(item["parameters"])
        assert "family" in item["parameters"]["properties"]
        space = family_space(item["name"])
        assert item["search_space"] == {
            k: json.loads(r.model_dump_json()) for k, r in space.items()
        }
        assert item["searched"] or item["search_space"] == {}


def test_the_rule_that_reacts_is_described(sqlite_client):
    *_, plateau = sqlite_client.get("/v1/families").json()["items"]
    assert (plateau["name"], plateau["kind"]) == ("plateau", "reactive")
    assert plateau["searched"] is False
    assert plateau["search_space"] == {}
    assert "patience" in plateau["formula"]
    jsonschema.Draft202012Validator.check_schema(plateau["parameters"])
    assert {"mode", "monitor"} <= set(plateau["parameters"]["required"])


def test_every_export_is_described(sqlite_client):
    items = sqlite_client.get("/v1/exports").json()["items"]
    assert {item["name"]: item["filename"] for item in items} == {
        name: exporter.filename for name, exporter in EXPORTERS.items()
    }
    assert all(item["title"] and item["media_type"] for item in items)


@pytest.mark.parametrize("name", ["schedule-1.0", "job"])
def test_schema_is_json_schema(start, sqlite_url, name):
    client = start(database_url=sqlite_url, public_url="https://lr.example.org")
    answer = client.get(f"/v1/schema/{name}.json")
    assert answer.headers["Content-Type"] == "application/schema+json"
    schema = answer.json()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"https://lr.example.org/v1/schema/{name}.json"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_schema_of_a_schedule_is_the_shipped_one(sqlite_client):
    served = sqlite_client.get("/v1/schema/schedule-1.0.json").json()
    assert served == schedule_schema() | {"$id": "/v1/schema/schedule-1.0.json"}


def test_schema_of_a_schedule_fits_a_schedule(sqlite_client, published):
    validator = _validator(sqlite_client, "schedule-1.0")
    document = json.loads(published)
    validator.validate(document)
    assert not validator.is_valid(document | {"peak_lr": -1})
    assert not validator.is_valid(document | {"peak": 1})


def test_schema_of_a_job_fits_a_job(sqlite_client):
    validator = _validator(sqlite_client, "job")
    validator.validate(SMALLEST_JOB)
    validator.validate(EXAMPLE_JOB)
    assert not validator.is_valid({})
    assert not validator.is_valid(SMALLEST_JOB | {"model": {"name": "resnet"}})


@pytest.mark.parametrize("name", ["schedule-2.0", "%00", "job.json"])
def test_unknown_schema_names_those_there_are(sqlite_client, name):
    answer = sqlite_client.get(f"/v1/schema/{name}.json")
    assert answer.status_code == 404
    assert "schedule-1.0, job" in answer.json()["detail"]


def _validator(client, name):
    return jsonschema.Draft202012Validator(client.get(f"/v1/schema/{name}.json").json())
