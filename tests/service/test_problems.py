import logging
import re

import pytest

from lrtuner import logs
from lrtuner.errors import LRTunerError
from service.problem import KINDS


def subclasses(error):
    yield error
    for child in error.__subclasses__():
        yield from subclasses(child)


# those of the client and the command line never reach the service
CORE = sorted(
    (e for e in set(subclasses(LRTunerError)) if e.__module__ == LRTunerError.__module__),
    key=lambda e: e.__name__,
)


@pytest.mark.parametrize("error", CORE)
def test_every_error_of_the_core_has_a_status(error):
    assert error.code in KINDS


@pytest.mark.parametrize("code", KINDS)
def test_every_type_leads_to_an_explanation(sqlite_client, code):
    kind = sqlite_client.get(f"/problems/{code}").json()
    assert kind["code"] == code
    assert kind["status"] == KINDS[code].status
    assert kind["title"]
    assert kind["advice"]


def test_unknown_type(sqlite_client):
    assert sqlite_client.get("/problems/none").status_code == 404


@pytest.mark.parametrize("path", ["/nope", "/v1/jobs/", "/v1", "/%00", "/v1/jobs/a/b", "/ä%0d%0a"])
def test_unknown_path(sqlite_client, path):
    assert sqlite_client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("DELETE", "/v1/jobs/job_x", "GET, HEAD"),
        ("GET", "/v1/jobs/job_x/cancel", "POST"),
        ("POST", "/healthz", "GET"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_wrong_method_names_the_right_ones(sqlite_client, method, path, allowed):
    answer = sqlite_client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert sorted(answer.headers["Allow"].split(", ")) == allowed.split(", ")


def test_request_id_is_taken_over(sqlite_client):
    for path in ("/healthz", "/nope"):
        answer = sqlite_client.get(path, headers={"X-Request-Id": "ci-run:42"})
        assert answer.headers["X-Request-Id"] == "ci-run:42"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 101, "ä".encode("latin-1"), '"><script>'])
def test_strange_request_id_is_replaced(sqlite_client, sent):
    answer = sqlite_client.get("/healthz", headers={"X-Request-Id": sent})
    assert re.fullmatch(r"req_\w{32}", answer.headers["X-Request-Id"])


@pytest.mark.parametrize("error", [RuntimeError("secret"), LRTunerError("secret")])
def test_fault_is_logged_and_not_told(sqlite_client, monkeypatch, caplog, error):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr("service.routes.jobs.reading.list_jobs", broken)
    caplog.handler.addFilter(logs.add_about)
    with caplog.at_level(logging.ERROR, "service"):
        answer = sqlite_client.get("/v1/jobs?name=private")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    [record] = caplog.records
    assert answer.headers["X-Request-Id"] == record.request_id
    assert "private" not in record.message
    assert record.exc_info[1] is error
    monkeypatch.undo()
    assert sqlite_client.get("/v1/jobs").status_code == 200


def test_problem_of_the_description_is_the_one_that_is_sent(sqlite_client):
    schemas = sqlite_client.get("/openapi.json").json()["components"]["schemas"]
    problem = sqlite_client.submit(seed=-1).json()
    assert set(problem) == set(schemas["Problem"]["properties"])
    assert set(problem["errors"][0]) == set(schemas["FieldProblem"]["properties"])
    assert set(schemas["Problem"]["required"]) == set(problem) - {"errors"}
