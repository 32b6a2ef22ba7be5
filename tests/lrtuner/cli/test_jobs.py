"""The commands that talk to a service, against one that plays a script over real HTTP."""

import json
from functools import partial

import pytest

from lrtuner.cli import follow
from lrtuner.client import Client

SPEC = {"model": {"name": "mlp"}, "note": "the service judges what this says, not the client"}


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(SPEC))
    return path


# submit -----------------------------------------------------------------------------------------


def test_submit_prints_the_id_and_nothing_else_on_stdout(run, service, job_file):
    result = run("submit", job_file, url=service.url)
    assert (result.exit_code, result.stdout) == (0, "job_1\n")
    assert "lrtuner wait job_1" in result.stderr
    assert service.submitted == [SPEC]


def test_submit_reads_stdin(run, service):
    result = run("submit", "-", url=service.url, stdin=json.dumps(SPEC))
    assert result.exit_code == 0
    assert service.submitted == [SPEC]


def test_submit_prints_the_job_as_json(run, service, job_file):
    result = run("submit", job_file, "--json", url=service.url)
    assert json.loads(result.stdout) == {**service.job(), "status": "queued"}


def test_submit_and_wait_writes_the_recommendation_and_sums_it_up(run, service, job_file, tmp_path):
    result = run("submit", job_file, "--wait", url=service.url)
    assert result.exit_code == 0
    assert (tmp_path / "schedule.json").read_bytes() == service.recommendation.encode()
    assert result.stdout.splitlines()[0] == "job_1"
    for words in (
        "warmup + cosine, peak 0.131, 380 steps",
        "linear, 19 steps (5%), from 0.00655",
        "confirmed",
        "val_loss -0.012 (mean 0.1123 against 0.1243)",
        "95 % [-0.019, -0.005], p = 0.03125, 5 pairs",
        "lower on 5 of 5 fresh seeds",
        "29.4 of 30 full trainings",
        f"{service.url}/v1/jobs/job_1/trials",
        "Written to schedule.json",
        "lrtuner show schedule.json",
        "lrtuner export schedule.json --format torch",
    ):
        assert words in result.stdout


def test_progress_is_plain_lines_on_stderr(run, service, job_file):
    service.statuses = ["queued", "running", "running", "succeeded"]
    result = run("submit", job_file, "--wait", url=service.url)
    assert result.stderr.splitlines() == ["[range_test] event 1  [2J", "[search] event 2  [2J"]


def test_waiting_with_json_prints_one_document(run, service, job_file, tmp_path):
    result = run("submit", job_file, "--wait", "--json", "--output", "best.json", url=service.url)
    assert json.loads(result.stdout)["status"] == "succeeded"
    assert "job_1" in result.stderr
    assert (tmp_path / "best.json").exists()


def test_the_recommendation_can_go_to_stdout_alone(run, service, job_file):
    result = run("submit", job_file, "--wait", "--output", "-", url=service.url)
    assert result.stdout == service.recommendation
    assert "Recommended schedule" in result.stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [("failed", "every trial diverged"), ("cancelled", "was cancelled"), ("expired", "expired")],
)
@pytest.mark.parametrize("command", ["submit", "wait"])
def test_a_job_without_a_result_ends_with_1(
    run, service, job_file, tmp_path, command, status, words
):
    service.statuses = ["running", status]
    if status == "failed":
        service.error = {"code": "nothing_trained", "detail": "every trial diverged"}
    what = [job_file, "--wait"] if command == "submit" else ["job_1", "--output", "schedule.json"]
    result = run(command, *what, url=service.url)
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (tmp_path / "schedule.json").exists()


def test_a_timeout_ends_with_4_and_says_how_to_resume(run, service, job_file):
    service.statuses = ["running"]
    result = run("submit", job_file, "--wait", "--timeout", "0.3", url=service.url)
    assert result.exit_code == 4
    assert "lrtuner wait job_1 --output schedule.json" in result.stderr
    assert "still running" in result.stderr
    assert "POST /v1/jobs/job_1/cancel" not in service.requests


def test_ctrl_c_leaves_the_job_and_says_how_to_go_on(run, service, job_file, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "wait", interrupted)
    result = run("submit", job_file, "--wait", url=service.url)
    assert result.exit_code == 130
    assert "lrtuner wait job_1 --output schedule.json" in result.stderr
    assert "lrtuner cancel job_1" in result.stderr
    assert "POST /v1/jobs/job_1/cancel" not in service.requests


def test_a_refused_job_shows_every_message(run, service, job_file):
    errors = [{"message": "training: missing"}, {"message": "seed: -1 is not allowed"}]
    service.refuse(422, "2 fields are not valid", errors=errors)
    result = run("submit", job_file, url=service.url)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "lrtuner: 2 fields are not valid",
        "  training: missing",
        "  seed: -1 is not allowed",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"seed": 0,\n "name": }', "line 2, column 10"),
        (b"", "line 1, column 1"),
        (b'{"seed": NaN}', "NaN"),
        (b'{"name": "\xff"}', "not UTF-8 text: byte 10"),
        (b"[1, 2]", "must hold a JSON object, not a list"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_job_file_that_is_no_json_is_refused_here(run, service, tmp_path, content, words):
    (tmp_path / "bad.json").write_bytes(content)
    result = run("submit", "bad.json", url=service.url)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "bad.json" in result.stderr
    assert service.requests == []


def test_a_job_file_that_cannot_be_read_is_refused(run, tmp_path):
    assert "no-such.json: No such file" in run("submit", "no-such.json").stderr
    assert run("submit", tmp_path).exit_code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output", "x.json"], "need --wait"),
        (["--timeout", "3"], "need --wait"),
        (["--wait", "--json", "--output", "-"], "give one of them"),
        (["--wait", "--output", "no/such/x.json"], "does not exist"),
        (["--wait", "--output", "."], "is a folder"),
        (["--wait", "--timeout", "-1"], "--timeout"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_submitted(
    run, service, job_file, options, words
):
    result = run("submit", job_file, *options, url=service.url)
    assert result.exit_code == 2
    assert words in result.stderr
    assert service.submitted == []


# wait, status, cancel, download, jobs -----------------------------------------------------------


def test_wait_sums_up_and_writes_only_where_it_is_told_to(run, service, tmp_path):
    result = run("wait", "job_1", url=service.url)
    assert result.exit_code == 0
    assert "Recommended schedule" in result.stdout
    assert "lrtuner download job_1" in result.stdout
    assert list(tmp_path.iterdir()) == []
    run("wait", "job_1", "--output", "x.json", url=service.url)
    assert (tmp_path / "x.json").read_text() == service.recommendation


def test_a_recommendation_that_does_not_keep_its_promises_is_not_written(run, service, tmp_path):
    service.recommendation = service.recommendation.replace("0.131", "0.132")
    result = run("wait", "job_1", "--output", "x.json", url=service.url)
    assert result.exit_code == 2
    assert "checksum point" in result.stderr
    assert not (tmp_path / "x.json").exists()


def test_status_shows_the_job(run, service):
    service.error = {"code": "x", "detail": "out\x1b[0m of memory"}
    result = run("status", "job_1", url=service.url)
    assert result.exit_code == 0
    for words in ("job_1", "search", "14 trials, 12.4 of 30 full trainings", "out [0m of memory"):
        assert words in result.stdout
    assert json.loads(run("status", "job_1", "--json", url=service.url).stdout)["id"] == "job_1"


def test_cancel_says_what_became_of_the_job(run, service):
    result = run("cancel", "job_1", url=service.url)
    assert (result.exit_code, result.stdout) == (0, "cancelling\n")


def test_a_finished_job_cannot_be_cancelled(run, service):
    service.refuse(409, "job job_1 is succeeded and cannot be cancelled")
    result = run("cancel", "job_1", url=service.url)
    assert result.exit_code == 2
    assert "is succeeded" in result.stderr


def test_an_unknown_job_is_invalid_input(run, service):
    result = run("status", "job_2", url=service.url)
    assert result.exit_code == 2
    assert "there is no" in result.stderr


@pytest.mark.parametrize(
    ("format", "name"),
    [("json", "schedule.json"), ("torch", "schedule_torch.py"), ("y/../aml", "schedule.yaml")],
)
def test_download_names_the_file_by_its_format(run, service, tmp_path, format, name):
    result = run("download", "job_1", "--format", format, url=service.url)
    assert (result.exit_code, result.stdout) == (0, f"{name}\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_download_to_stdout(run, service):
    result = run("download", "job_1", "--output", "-", url=service.url)
    assert result.stdout == service.recommendation


def test_jobs_lists_them_aligned_and_without_control_characters(run, service):
    result = run("jobs", "--status", "running", "--limit", "5", url=service.url)
    header, line = result.stdout.splitlines()
    assert header.index("STATUS") == line.index("running")
    assert "digits  [31mred" in line
    assert json.loads(run("jobs", "--json", url=service.url).stdout)[0]["id"] == "job_1"
    assert run("jobs", "--status", "done", url=service.url).exit_code == 2


# The service is away ----------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    client = partial(Client.from_environment, patience=0.0)
    monkeypatch.setattr("lrtuner.cli.jobs._client", client)


@pytest.mark.parametrize("command", ["status", "cancel", "download", "jobs"])
def test_a_service_that_is_away_ends_with_5(run, impatient, unused_port, command):
    arguments = [command] if command == "jobs" else [command, "job_1"]
    result = run(*arguments, url=f"http://127.0.0.1:{unused_port}", key="lrt_secret")
    assert result.exit_code == 5
    assert "cannot be reached" in result.stderr
    assert "lrtuner serve" in result.stderr
    assert "lrt_secret" not in result.output


def test_a_service_that_is_broken_ends_with_5(run, service):
    service.refuse(500, "the service failed", request_id="req_1")
    result = run("status", "job_1", url=service.url)
    assert result.exit_code == 5
    assert "req_1" in result.stderr


def test_losing_the_service_while_waiting_says_how_to_resume(run, unused_port):
    result = run("wait", "job_1", "--timeout", "0.1", url=f"http://127.0.0.1:{unused_port}")
    assert result.exit_code == 5
    assert "resume with: lrtuner wait job_1" in result.stderr


def test_the_key_is_sent_and_never_shown(run, service, job_file):
    for arguments in (["submit", job_file, "--wait"], ["status", "job_2"], ["jobs", "--json"]):
        assert "lrt_secret" not in run(*arguments, url=service.url, key="lrt_secret").output
    assert all(h["Authorization"] == "Bearer lrt_secret" for h in service.headers)
    result = run("jobs", url=service.url, key="lrt_se\x07cret")
    assert result.exit_code == 2
    assert "cret" not in result.output


def test_a_url_that_is_none_is_invalid_input(run):
    assert run("jobs", url="not a url").exit_code == 2


def test_spec_reader_takes_a_byte_order_mark(tmp_path):
    (tmp_path / "bom.json").write_bytes(b'\xef\xbb\xbf{"seed": 1}')
    assert follow.read_spec(str(tmp_path / "bom.json")) == {"seed": 1}


def test_a_recommendation_of_another_kind_is_not_summed_up(run, service):
    rule = {"mode": "min", "monitor": "val_loss"}
    service.recommendation = json.dumps({"kind": "reactive", "peak_lr": 0.1, "body": rule})
    result = run("wait", "job_1", url=service.url)
    assert result.exit_code == 5
    assert "of the kind 'reactive'" in result.stderr


# Labels -----------------------------------------------------------------------------------------


def test_labels_join_those_of_the_job_file(run, service):
    spec = {**SPEC, "metadata": {"commit": "old", "team": "vision"}}
    labels = ["--metadata", "commit=4f0c", "--metadata", "branch=a=b"]
    assert run("submit", "-", *labels, url=service.url, stdin=json.dumps(spec)).exit_code == 0
    [sent] = service.submitted
    assert sent["metadata"] == {"commit": "4f0c", "team": "vision", "branch": "a=b"}


@pytest.mark.parametrize(("metadata", "label"), [([], "branch"), (["x"], "branch=main")])
def test_labels_that_cannot_be_are_refused(run, service, metadata, label):
    spec = json.dumps({**SPEC, "metadata": metadata})
    result = run("submit", "-", "--metadata", label, url=service.url, stdin=spec)
    assert result.exit_code == 2
    assert "metadata must be" in result.stderr
    assert service.submitted == []


def test_an_answer_from_the_cache_is_said(run, service, job_file):
    service.cached = True
    service.statuses = ["succeeded"]
    result = run("submit", job_file, url=service.url)
    assert result.stdout == "job_1\n"
    assert result.stderr.startswith("answered from the cache: job job_1 (digits")
    assert "(--no-cache asks anew)" in result.stderr
    assert "wait for it" not in result.stderr
    assert run("submit", job_file, "--no-cache", url=service.url).exit_code == 0
    assert service.queries[0] == {}
    assert service.queries[-1] == {"cache": ["false"]}


@pytest.mark.parametrize(
    ("asked", "differs"),
    [({}, False), ({"metadata": {}}, False), ({"metadata": {"commit": "c2"}}, True),
     ({"name": "resnet"}, True)],
)  # fmt: skip
def test_a_cached_answer_under_another_name_is_said(run, service, asked, differs):
    service.cached = True
    spec = json.dumps({**SPEC, "name": service.job()["name"], **asked})
    result = run("submit", "-", url=service.url, stdin=spec)
    assert result.exit_code == 0
    assert ("keeps its own name and labels" in result.stderr) is differs


def test_the_latest_of_a_name(run, service, tmp_path):
    labels = ("--metadata", "branch=main=1", "--metadata", "k=")
    result = run("download", "--latest", "--name", "resnet", *labels, url=service.url)
    assert (result.exit_code, result.stdout) == (0, "schedule.json\n")
    assert (tmp_path / "schedule.json").read_text() == service.recommendation
    expected = {"name": ["resnet"], "metadata[branch]": ["main=1"], "format": ["json"]}
    assert service.queries[-1] == expected | {"metadata[k]": [""]}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--latest"],
        ["job_1", "--latest", "--name", "x"],
        ["job_1", "--name", "x"],
        ["--name", "x"],
        ["--latest", "--metadata", "x"],
        ["--latest", "--metadata", "=x"],
    ],
)
def test_what_to_download_has_to_be_clear(run, arguments):
    result = run("download", *arguments)
    assert result.exit_code == 2
    assert "--latest" in result.stderr or "KEY=VALUE" in result.stderr


def test_another_machine_is_reached_through_the_proxy(run, service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", service.url)
    result = run("status", "job_1", url="http://far.example")
    assert result.exit_code == 0
    assert service.requests == ["GET /v1/jobs/job_1"]
