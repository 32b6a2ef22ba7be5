"""Each command in each situation that its exit code tells apart."""

import json

import pytest

from lrtuner.cli.output import ExitCode
from tests.lrtuner.test_gate import CLEAR, IN_USE, WORSE, recommended

GATE = ["--fail-if-worse-than", "old.json"]
SUBMIT = ["submit", "job.json"]

CLIENT = [
    SUBMIT,
    [*SUBMIT, "--wait"],
    [*SUBMIT, "--wait", *GATE],
    ["wait", "job_1"],
    ["wait", "job_1", *GATE],
    ["status", "job_1"],
    ["cancel", "job_1"],
    ["download", "job_1"],
    ["jobs"],
    ["history", "resnet"],
    ["datasets", "upload", "job.json"],
    ["datasets", "list"],
    ["datasets", "show", "sha256:0"],
    ["code", "list"],
    ["code", "show", "sha256:0"],
]

OFFLINE = [
    ["check", "old.json"],
    ["show", "old.json"],
    ["summary", "old.json"],
    ["diff", "old.json", "old.json"],
    ["diff", "old.json", "old.json", "--exit-code"],
    ["export", "old.json", "--format", "csv"],
    ["completion", "bash"],
]


@pytest.fixture(autouse=True)
def files(tmp_path):
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "old.json").write_text(json.dumps(IN_USE.document))


def named(command):
    return " ".join(command)


@pytest.mark.parametrize("command", CLIENT[:10], ids=named)
def test_0_where_all_is_well(run, service, command):
    service.spec = {"baseline": IN_USE.document}
    if GATE[0] in command:
        service.recommendation = recommended(gaps=CLEAR).text()
    assert run(*command, url=service.url).exit_code == ExitCode.OK


@pytest.mark.parametrize("command", OFFLINE, ids=named)
def test_0_without_a_service(run, command):
    assert run(*command, url="http://127.0.0.1:1").exit_code == ExitCode.OK


@pytest.mark.parametrize("command", CLIENT[1:5], ids=named)
@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_1_where_the_job_has_no_result(run, service, command, status):
    service.spec = {"baseline": IN_USE.document}
    service.statuses = [status]
    assert run(*command, url=service.url).exit_code == ExitCode.FAILED


@pytest.mark.parametrize("status", [401, 422])
@pytest.mark.parametrize("command", CLIENT, ids=named)
def test_2_where_the_service_refuses(run, service, command, status):
    service.refuse(status, "no")
    result = run(*command, url=service.url)
    assert result.exit_code == ExitCode.INVALID
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [*CLIENT, *OFFLINE], ids=named)
def test_2_where_the_command_is_wrong(run, service, command):
    assert run(*command, "--nonsense", url=service.url).exit_code == ExitCode.INVALID
    assert service.requests == []


@pytest.mark.parametrize("command", OFFLINE[:-1], ids=named)
def test_2_where_a_file_is_not_there(run, command):
    missing = ["missing.json" if word == "old.json" else word for word in command]
    assert run(*missing).exit_code == ExitCode.INVALID


@pytest.mark.parametrize("command", [CLIENT[2], CLIENT[4]], ids=named)
def test_3_where_the_new_schedule_is_worse(run, service, command):
    service.spec = {"baseline": IN_USE.document}
    service.recommendation = recommended(gaps=WORSE).text()
    assert run(*command, url=service.url).exit_code == ExitCode.NOT_BETTER


def test_3_where_rates_differ_and_that_is_asked(run, tmp_path):
    (tmp_path / "new.json").write_text(json.dumps({**IN_USE.document, "peak_lr": 0.2}))
    command = ["diff", "old.json", "new.json", "--exit-code"]
    assert run(*command).exit_code == ExitCode.NOT_BETTER


@pytest.mark.parametrize("command", CLIENT[1:5], ids=named)
def test_4_where_it_takes_too_long(run, service, command):
    service.spec = {"baseline": IN_USE.document}
    service.statuses = ["running"]
    result = run(*command, "--timeout", "0", url=service.url)
    assert result.exit_code == ExitCode.TIMED_OUT
    assert "job_1" in result.stderr


@pytest.mark.parametrize("command", CLIENT, ids=named)
def test_5_where_the_service_is_broken(run, service, command):
    service.refuse(500, "the service failed")
    assert run(*command, url=service.url).exit_code == ExitCode.UNREACHABLE
