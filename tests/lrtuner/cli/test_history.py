"""history and the filters of jobs, against a service that plays a script."""

import json

import pytest

from tests.lrtuner.plots.reading import Picture
from tests.lrtuner.test_history import FOUND


@pytest.fixture
def listed(service):
    """Three jobs of one name, the newest first as the service lists them."""

    def job(number, status, verdict):
        return {
            "id": f"job_{number}",
            "status": status,
            "name": "resnet",
            "metadata": {"commit": f"c{number}", "branch": "\x1b[31mred"},
            "queued_at": f"2031-07-0{number}T12:34:56.789Z",
            "verdict": verdict,
        }

    newest = {**FOUND, "family": "constant", "peak_lr": 0.25, "content_hash": "b", "newer": 1}
    service.listed = [
        job(3, "succeeded", newest),
        job(2, "failed", None),
        job(1, "succeeded", FOUND),
    ]
    return service


def test_history_shows_one_line_for_each_run_and_what_changed(run, listed):
    result = run("history", "resnet", "--metadata", "branch=main", "--limit", "7", url=listed.url)
    assert (result.exit_code, result.stderr) == (0, "")
    head, *lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert head == "DATE COMMIT FAMILY PEAK DIFFERENCE VERDICT CHANGE"
    assert lines == [
        "2031-07-01 12:34 c1 cosine 0.1 -0.02 [-0.03, -0.01] confirmed first",
        "2031-07-02 12:34 c2 - - - failed",
        "2031-07-03 12:34 c3 constant 0.25 -0.02 [-0.03, -0.01] confirmed "
        "cosine -> constant, peak x 2.5",
    ]
    query = listed.queries[-1]
    assert query["name"] == ["resnet"]
    assert query["metadata[branch]"] == ["main"]
    assert query["limit"] == ["7"]


def test_history_as_json(run, listed):
    told = json.loads(run("history", "resnet", "--json", url=listed.url).stdout)
    assert [job["id"] for job in told] == ["job_1", "job_2", "job_3"]
    assert told[2]["change"] == "cosine -> constant, peak x 2.5"
    assert told[2]["verdict"]["newer"] == 1  # what a newer service adds is passed on
    assert (told[1]["verdict"], told[0]["metadata"]["commit"]) == (None, "c1")


def test_history_as_a_picture(run, listed, tmp_path):
    result = run("history", "resnet", "--plot", "history.svg", url=listed.url)
    assert "c3" in Picture((tmp_path / "history.svg").read_text()).texts
    assert "DATE" in result.stdout
    result = run("history", "resnet", "--plot", "-", url=listed.url)
    assert result.stdout.startswith("<svg")
    assert "DATE" in result.stderr


def test_a_name_without_jobs_is_no_error(run, service):
    service.listed = []
    result = run("history", "resnet", url=service.url)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no job is called 'resnet'" in result.stderr
    assert json.loads(run("history", "resnet", "--json", url=service.url).stdout) == []


@pytest.mark.parametrize("command", [["history", "resnet"], ["jobs"]])
@pytest.mark.parametrize("label", ["branch", "=main"])
def test_a_label_must_have_a_key_and_a_value(run, service, command, label):
    result = run(*command, "--metadata", label, url=service.url)
    assert result.exit_code == 2
    assert f"--metadata must be KEY=VALUE, got '{label}'" in result.stderr
    assert service.requests == []


def test_history_and_jobs_of_a_service_that_is_away(run, service):
    for command in (["history", "resnet"], ["jobs", "--name", "resnet"]):
        service.refuse(500, "the service failed")
        assert run(*command, url=service.url).exit_code == 5


def test_what_cannot_be_written_is_refused_first(run, service):
    for options in (["--plot", "no/x.svg"], ["--plot", "-", "--json"]):
        assert run("history", "resnet", *options, url=service.url).exit_code == 2
    assert service.requests == []


def test_jobs_are_filtered_by_name_and_label(run, listed):
    options = ["--name", "resnet", "--metadata", "commit=a=b", "--metadata", "x="]
    assert run("jobs", *options, url=listed.url).exit_code == 0
    query = listed.queries[-1]
    assert (query["name"], query["metadata[commit]"]) == (["resnet"], ["a=b"])
    assert query["metadata[x]"] == [""]


def test_status_says_what_was_found(run, service, monkeypatch):
    plain = service.job
    monkeypatch.setattr(service, "job", lambda: {**plain(), "verdict": FOUND})
    result = run("status", "job_1", url=service.url)
    assert "cosine, peak 0.1, 80 steps" in result.stdout
    assert "confirmed" in result.stdout
