"""submit and wait with --fail-if-worse-than, against a service that plays a script."""

import json

import pytest

from lrtuner.document import load
from tests.lrtuner.cli.test_jobs import SPEC
from tests.lrtuner.test_gate import CLEAR, IN_USE, NOISE, WORSE, recommended

GATE = "--fail-if-worse-than"


@pytest.fixture
def files(tmp_path):
    """job.json and the schedule in use, old.json."""
    (tmp_path / "job.json").write_text(json.dumps(SPEC))
    (tmp_path / "old.json").write_text(json.dumps(IN_USE.document))


@pytest.fixture
def submit(run, service, files):
    """Submit a job whose pairs have these differences, new minus old."""

    def submit(*options, gaps=CLEAR, spec=SPEC, wait=True, **job):
        service.recommendation = recommended(gaps=gaps, **job).text()
        arguments = ["-", *(["--wait"] if wait else []), GATE, "old.json", *options]
        return run("submit", *arguments, url=service.url, stdin=json.dumps(spec))

    return submit


@pytest.mark.parametrize(
    ("job", "code", "strict_code", "words"),
    [
        ({"gaps": CLEAR}, 0, 0, "better than old.json: val_loss -0.108"),
        ({"gaps": NOISE}, 0, 3, "neither better nor worse than old.json"),
        ({"gaps": ()}, 0, 3, "neither better nor worse than old.json"),
        ({"gaps": WORSE}, 3, 3, "worse than old.json"),
        ({"gaps": (), "lost": 1}, 3, 3, "did not train to its end"),
    ],
)
def test_each_outcome_has_its_exit_code(submit, service, tmp_path, job, code, strict_code, words):
    for options, expected in (((), code), (("--strict",), strict_code)):
        result = submit(*options, **job)
        assert result.exit_code == expected
        assert words in (result.stderr if expected or "neither" in words else result.stdout)
        assert ("warning" in result.stderr) == (not expected and words.startswith("neither"))
        # whatever comes of it, there is something to train with
        assert (tmp_path / "schedule.json").read_bytes() == service.recommendation.encode()


def test_the_schedule_in_use_is_the_baseline_of_the_job(submit, service):
    submit()
    [sent] = service.submitted
    assert sent == {**SPEC, "baseline": IN_USE.document}
    assert load(sent["baseline"]).bare() == IN_USE


def test_it_is_compared_anew(submit, service):
    """An answer of an earlier commit says nothing of this one."""
    submit()
    assert service.queries[0] == {"cache": ["false"]}


def test_a_config_is_sent_as_the_schedule_that_it_is(submit, service, tmp_path, config_file):
    full = config_file.read_text()
    (tmp_path / "old.json").write_text(full)
    assert submit(gaps=CLEAR).exit_code == 0
    baseline = service.submitted[0]["baseline"]
    assert "provenance" not in baseline
    assert baseline["peak_lr"] == json.loads(full)["peak_lr"]


def test_the_comparison_is_in_the_json(submit):
    result = submit("--json", gaps=WORSE)
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert told["id"] == "job_1"
    assert told["comparison"]["outcome"] == "worse"
    assert told["comparison"]["difference"] == pytest.approx(0.108)
    assert "worse than old.json" in result.stderr


def test_a_job_that_fails_is_no_regression(submit, service):
    service.statuses = ["failed"]
    service.error = {"code": "nothing_trained", "detail": "every trial diverged"}
    result = submit("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "failed"


def test_the_gate_is_kept_when_waiting_is_resumed(run, submit, service):
    service.statuses = ["running"]
    result = submit("--strict", "--timeout", "0.1")
    assert result.exit_code == 4
    resume = f"lrtuner wait job_1 --output schedule.json {GATE} old.json --strict"
    assert resume in result.stderr
    service.statuses = ["succeeded"]
    service.spec = {"baseline": IN_USE.document}
    service.recommendation = recommended(gaps=NOISE).text()
    assert run(*resume.split()[1:], url=service.url).exit_code == 3


def test_a_job_that_compares_with_another_schedule_cannot_be_asked(run, service, files):
    for baseline in (None, {**IN_USE.document, "peak_lr": 0.2}, {"total_steps": 1}):
        service.spec = {"baseline": baseline}
        result = run("wait", "job_1", GATE, "old.json", url=service.url)
        assert result.exit_code == 2
        assert "job_1 does not compare with old.json" in result.stderr


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"baseline": {**IN_USE.document, "peak_lr": 0.2}}, "the job's baseline is another"),
        ({"baseline": "?"}, "the job's baseline is another"),
        ({"search": {"mode": "range_test"}}, "let search.mode be full"),
        ({"search": {"confirm_pairs": 0}}, "search.confirm_pairs 1 or more"),
    ],
)
def test_a_job_that_would_not_compare_the_two_is_refused(submit, service, spec, words):
    result = submit(spec=SPEC | spec)
    assert result.exit_code == 2
    assert words in result.stderr
    assert service.submitted == []


def test_a_job_that_names_the_same_baseline_itself_is_fine(submit):
    assert submit(spec=SPEC | {"baseline": IN_USE.document}).exit_code == 0


def test_a_schedule_for_another_optimizer_is_refused(submit, service, tmp_path):
    made_for = {**IN_USE.document, "optimizer": {"name": "adamw", "args": {}}}
    (tmp_path / "old.json").write_text(json.dumps(made_for))
    result = submit(spec=SPEC | {"optimizer": {"name": "sgd"}})
    assert result.exit_code == 2
    assert "old.json is for the optimizer adamw, the job trains with sgd" in result.stderr
    assert service.submitted == []
    assert submit(spec=SPEC | {"optimizer": {"name": "adamw"}}).exit_code == 0


def test_a_refusal_of_the_baseline_says_which_file_that_is(submit, service):
    message = "baseline.total_steps: 40, but this job trains 50 steps"
    errors = [{"field": "baseline.total_steps", "message": message}]
    service.refuse(422, message, errors=errors)
    result = submit()
    assert result.exit_code == 2
    assert message in result.stderr
    assert f"the job's baseline is old.json, given with {GATE}" in result.stderr


@pytest.mark.parametrize(
    ("old", "options", "words"),
    [
        ("missing.json", ["--wait"], "cannot read missing.json"),
        ("rule.json", ["--wait"], "reacts to a metric"),
        ("old.json", [], "needs --wait"),
        (None, ["--wait", "--strict"], "--strict needs"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_submitted(
    run, service, files, tmp_path, old, options, words
):
    rule = {"kind": "reactive", "peak_lr": 0.1, "body": {"mode": "min", "monitor": "val_loss"}}
    (tmp_path / "rule.json").write_text(json.dumps(rule))
    gate = [GATE, old] if old else []
    result = run("submit", "job.json", *options, *gate, url=service.url)
    assert result.exit_code == 2
    assert words in result.stderr
    assert service.submitted == []
