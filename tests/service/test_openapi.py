import difflib
import json
import re
from itertools import islice
from pathlib import Path

import pytest

from lrtuner.job import JobSpec
from service.app import create_app
from service.describe import description
from service.openapi import DESCRIPTION, EXAMPLE_JOB, SMALLEST_JOB
from service.settings import Settings

DATABASE = {"503"}
ACCESS = {"401", "403", "503"}
PUBLIC = {"/", "/healthz", "/readyz", "/metrics", "/problems/{code}", "/v1/schema/{name}.json"}
EVENTS = {"200", "204", "400", "404", "406", "422"}
DOWNLOAD = {"200", "206", "304", "404", "416", "422"}
ROUTES = {
    ("post", "/v1/jobs"): {"200", "202", "400", "403", "413", "415", "422", "429"} | DATABASE,
    ("get", "/v1/jobs"): {"200", "400", "422"} | DATABASE,
    ("get", "/v1/jobs/{job_id}"): {"200", "304", "404", "422"} | DATABASE,
    ("head", "/v1/jobs/{job_id}"): {"200", "304", "404", "422"} | DATABASE,
    ("post", "/v1/jobs/{job_id}/cancel"): {"200", "202", "404", "409"} | DATABASE,
    ("get", "/v1/jobs/{job_id}/events"): EVENTS | DATABASE,
    ("head", "/v1/jobs/{job_id}/events"): EVENTS | DATABASE,
    ("get", "/v1/jobs/{job_id}/range-test"): {"200", "404", "409", "410"} | DATABASE,
    ("get", "/v1/jobs/{job_id}/trials"): {"200", "400", "404", "410", "422"} | DATABASE,
    ("get", "/v1/jobs/{job_id}/recommendation"): DOWNLOAD | {"409"} | DATABASE,
    ("head", "/v1/jobs/{job_id}/recommendation"): DOWNLOAD | {"409"} | DATABASE,
    ("get", "/v1/recommendations/latest"): DOWNLOAD | DATABASE,
    ("head", "/v1/recommendations/latest"): DOWNLOAD | DATABASE,
    ("get", "/v1/jobs/{job_id}/plots/{name}.svg"): {"200", "304", "404", "409", "410"} | DATABASE,
    ("get", "/v1/jobs/{job_id}/report.html"): {"200", "304", "404", "409", "410"} | DATABASE,
    ("get", "/v1/jobs/{job_id}/report.json"): {"200", "304", "404", "409", "410"} | DATABASE,
    ("post", "/v1/datasets"): {"200", "201", "409", "413", "415", "422", "507"} | DATABASE,
    ("get", "/v1/datasets"): {"200", "400", "422"} | DATABASE,
    ("get", "/v1/datasets/{dataset_id}"): {"200", "404"} | DATABASE,
    ("head", "/v1/datasets/{dataset_id}"): {"200", "404"} | DATABASE,
    ("delete", "/v1/datasets/{dataset_id}"): {"204", "404", "409"} | DATABASE,
    ("post", "/v1/code"): {"200", "201", "403", "413", "415", "422", "507"} | DATABASE,
    ("get", "/v1/code"): {"200", "400", "422"} | DATABASE,
    ("get", "/v1/code/{code_id}"): {"200", "404"} | DATABASE,
    ("head", "/v1/code/{code_id}"): {"200", "404"} | DATABASE,
    ("delete", "/v1/code/{code_id}"): {"204", "404", "409"} | DATABASE,
    ("get", "/v1/webhook-deliveries"): {"200", "400", "404", "422"} | DATABASE,
    ("get", "/v1/webhook-deliveries/{delivery_id}"): {"200", "404"} | DATABASE,
    ("post", "/v1/webhook-deliveries/{delivery_id}/redeliver"): {"202", "404"} | DATABASE,
    ("post", "/v1/webhooks/test"): {"202", "400", "413", "415", "422"} | DATABASE,
    ("get", "/v1/families"): {"200"},
    ("get", "/v1/exports"): {"200"},
    ("get", "/v1/schema/{name}.json"): {"200", "404"},
    ("get", "/problems/{code}"): {"200", "404"},
    ("get", "/healthz"): {"200"},
    ("get", "/metrics"): {"200"},
    ("get", "/readyz"): {"200", "503"},
    ("get", "/"): {"200"},
}


@pytest.fixture(scope="module")
def described():
    return create_app(Settings()).openapi()


def test_every_route_documents_its_statuses(described):
    documented = {
        (method, path): set(operation["responses"])
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    }
    assert documented == {
        (method, path): statuses | {"500"} | (set() if path in PUBLIC else ACCESS)
        for (method, path), statuses in ROUTES.items()
    }


def test_every_error_is_a_problem(described):
    for operations in described["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    [(media_type, content)] = response["content"].items()
                    assert media_type == "application/problem+json"
                    assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert operation["summary"]
            assert operation["description"]


def test_every_reference_leads_somewhere(described):
    schemas = described["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(described)):
        assert name in schemas
    assert "HTTPValidationError" not in schemas


def test_the_body_of_a_job_is_described(described):
    content = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/JobSpec"}
    assert described["components"]["schemas"]["JobSpec"]["required"] == [
        "model",
        "optimizer",
        "training",
    ]
    for example in content["examples"].values():
        JobSpec.model_validate(example["value"])


def test_the_job_in_the_description_is_accepted(sqlite_client):
    [body] = re.findall(r"-d '(\{.+?\})'", DESCRIPTION, re.DOTALL)
    assert sqlite_client.post_raw(body).status_code == 202
    assert json.loads(body) == SMALLEST_JOB
    assert sqlite_client.post_json(EXAMPLE_JOB).status_code == 202


def test_the_pages_for_people(sqlite_client):
    assert "/openapi.json" in sqlite_client.get("/docs").text
    assert sqlite_client.get("/openapi.json").json()["info"]["description"] == DESCRIPTION


def test_describing_touches_no_database(tmp_path):
    create_app(Settings(data_dir=tmp_path / "none")).openapi()
    assert not list(tmp_path.iterdir())


def test_a_change_of_the_api_is_seen_in_review():
    """The description is committed: who changes the API changes the file, and it is compared."""
    committed = Path(__file__).parents[2] / "docs" / "openapi.json"
    before, now = committed.read_text().splitlines(), description().splitlines()
    changed = islice(difflib.unified_diff(before, now, "docs/openapi.json", "now", n=1), 60)
    told = "\n".join(["the API differs from docs/openapi.json: run `make openapi`", *changed])
    assert before == now, told


def test_discriminators_map_to_references(described):
    """Nothing else is allowed, and readers of the description fail on anything else."""

    def mappings(value):
        if isinstance(value, dict):
            yield value.get("mapping") if "propertyName" in value else None
            for inner in value.values():
                yield from mappings(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from mappings(inner)

    found = [mapping for mapping in mappings(described) if mapping]
    assert found
    for mapping in found:
        assert all(str(target).startswith("#/components/schemas/") for target in mapping.values())
