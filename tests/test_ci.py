"""The pipelines: what their files say, and their steps' shell against a live service."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lrtuner
from lrtuner.candidates import linear_to_zero, to_schedule
from lrtuner.keys import Scope, new_key
from lrtuner.store import keys, reading
from tests.test_job_flow import serving
from tests.worker.conftest import SMALL
from tests.worker.test_loop import worker_of, working

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "ci"
EXPRESSION = re.compile(r"\$\{\{ (.*?) \}\}")
SHA = "4f0c2a1" + "0" * 33
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]


def parsed(path):
    return yaml.safe_load(path.read_text())


ACTION = parsed(ROOT / "action.yml")
STEPS = ACTION["runs"]["steps"]
GITLAB = parsed(EXAMPLES / "gitlab.yml")["tune-learning-rate"]

# What the files say -----------------------------------------------------------------------------


def test_no_input_of_the_action_is_pasted_into_shell():
    """It comes by the environment: a name with a quote in it must not become a command."""
    for step in STEPS:
        assert step["shell"] == "bash"
        assert not EXPRESSION.search(step["run"])


def test_the_action_uses_each_input_and_sets_each_output():
    used = {e for step in STEPS for v in step["env"].values() for e in EXPRESSION.findall(v)}
    assert {f"inputs.{name}" for name in ACTION["inputs"]} <= used
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.tune.outputs.{name} }}}}"
        assert f"{name}=" in STEPS[1]["run"]
    required = {name for name, told in ACTION["inputs"].items() if told.get("required")}
    assert required == {"job", "url"}
    assert all("default" in ACTION["inputs"][name] for name in ACTION["inputs"].keys() - required)


def test_the_workflow_gives_the_action_what_it_takes():
    [job] = parsed(EXAMPLES / "github.yml")["jobs"].values()
    [use] = [step for step in job["steps"] if "lrtuner" in step.get("uses", "")]
    assert use["with"].keys() <= ACTION["inputs"].keys()
    assert {"job", "url", "api-key"} <= use["with"].keys()
    assert use["with"]["api-key"] == "${{ secrets.LRTUNER_API_KEY }}"


@pytest.mark.parametrize(
    "script",
    [*(step["run"] for step in STEPS), *GITLAB["before_script"], *GITLAB["script"]],
    ids=lambda script: script.split()[0],
)
def test_the_shell_can_be_parsed(script):
    done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# Against a live service -------------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path, database, database_url, store):
    """A checkout with a job, a live service that asks for a key, and both kinds of runners."""
    search = {"families": ["constant"], "budget": {"full_runs": 24}, "confirm_pairs": 5}
    in_use = to_schedule(linear_to_zero(0.1), 40).document
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(SMALL | {"search": search}))
    # nothing between these rates comes near the schedule in use
    hopeless = SMALL | {"search": search | {"lr_range": [1e-6, 2e-6]}}
    (folder / "hopeless.json").write_text(json.dumps(hopeless))
    (folder / "schedule.json").write_text(json.dumps(in_use))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    _script(bin_folder / "lrtuner", f'exec "{sys.executable}" -m lrtuner.cli "$@"')
    _script(bin_folder / "python3", f'exec "{sys.executable}" "$@"')
    key = new_key()
    store.do(keys.add_key, key, name="ci", scopes=[Scope.READ, Scope.SUBMIT])
    with serving(database_url) as url, working(worker_of(database, database_url)):
        yield Runner(folder, tmp_path, url, key.text, bin_folder)


def _script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class Runner:
    def __init__(self, folder, temp, url, key, bin_folder):
        self.folder, self.temp, self.url, self.key = folder, temp, url, key
        self.env = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(temp),
            "OMP_NUM_THREADS": "1",
        }

    def shell(self, script, env):
        done = subprocess.run(
            [*BASH, script], cwd=self.folder, env=self.env | env, capture_output=True, text=True
        )
        assert self.key not in done.stdout + done.stderr
        return done

    def action(self, **inputs):
        """Run the action's steps as GitHub does: the last result, outputs, and the summary."""
        given = {name: told.get("default", "") for name, told in ACTION["inputs"].items()}
        given |= {"url": self.url, "api-key": self.key}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        values = {f"inputs.{name}": value for name, value in given.items()}
        values["github.action_path"] = str(ROOT)
        values["github.event.pull_request.head.sha || github.sha"] = SHA
        files = {n: self.temp / n for n in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
        for file in files.values():
            file.write_text("")
        told = {name: str(file) for name, file in files.items()} | {"RUNNER_TEMP": str(self.temp)}
        for step in STEPS:
            env = {
                name: EXPRESSION.sub(lambda found: values[found[1]], value)
                for name, value in step["env"].items()
            }
            done = self.shell(step["run"], told | env)
            if done.returncode:
                break
        pairs = files["GITHUB_OUTPUT"].read_text().splitlines()
        outputs = dict(pair.split("=", 1) for pair in pairs)
        return done, outputs, files["GITHUB_STEP_SUMMARY"].read_text()

    def gitlab(self, **variables):
        """Run the template's job as GitLab does: the result, its report and its summary."""
        told = {"LRTUNER_URL": self.url, "LRTUNER_API_KEY": self.key, "CI_COMMIT_SHA": SHA}
        told |= GITLAB["variables"] | variables
        script = "\n".join([*GITLAB["before_script"], *GITLAB["script"]])
        done = self.shell(script, told)
        pairs = (self.folder / "lrtuner.env").read_text().splitlines()
        summary = self.folder / "lrtuner.md"
        report = dict(pair.split("=", 1) for pair in pairs)
        return done, report, summary.read_text() if summary.exists() else None


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.slow
@sqlite_only
def test_the_action_from_the_job_to_the_summary(pipeline, store):
    (pipeline.folder / "bad.json").write_text(
        json.dumps(to_schedule(linear_to_zero(1e-6), 40).document)
    )
    done, outputs, summary = pipeline.action(job="job.json", fail_if_worse_than="bad.json")
    assert done.returncode == 0, done.stderr
    found = lrtuner.load(pipeline.folder / "schedule.json")
    assert outputs.keys() == ACTION["outputs"].keys()
    assert outputs["job-id"] == found.provenance.job_id
    assert outputs["verdict"] == found.verdict.status == "confirmed"
    assert float(outputs["peak-lr"]) == found.peak_lr
    assert "**better**: better than bad.json" in summary
    assert "### Against bad.json" in summary
    assert pipeline.key not in summary
    job = store.read(reading.get_job, outputs["job-id"])
    assert job.metadata == {"commit": SHA}

    # the schedule in use may be where the new one goes
    in_use = to_schedule(linear_to_zero(0.1), 40)
    (pipeline.folder / "schedule.json").write_text(json.dumps(in_use.document))
    done, outputs, summary = pipeline.action(
        job="hopeless.json", fail_if_worse_than="schedule.json", strict="true"
    )
    assert done.returncode == 3
    assert "worse than schedule.json" in done.stderr
    assert "**worse**: worse than schedule.json" in summary
    assert lrtuner.load(pipeline.folder / "schedule.json").bare() == in_use
    assert outputs["verdict"] == "no_difference_resolved"

    (pipeline.folder / "broken.json").write_text("{}")
    done, outputs, summary = pipeline.action(job="broken.json")
    assert (done.returncode, outputs) == (2, {"job-id": ""})
    assert "exit code 2 and without a schedule" in summary


@pytest.mark.slow
@sqlite_only
def test_the_gitlab_job_from_the_job_to_the_report(pipeline):
    done, report, summary = pipeline.gitlab()
    assert done.returncode == 0, done.stderr
    found = lrtuner.load(pipeline.folder / "new-schedule.json")
    assert report == {
        "LRTUNER_JOB_ID": found.provenance.job_id,
        "LRTUNER_VERDICT": found.verdict.status,
        "LRTUNER_PEAK_LR": repr(found.peak_lr),
    }
    assert summary.startswith("## warmup")
    assert "Against" not in summary

    done, report, summary = pipeline.gitlab(
        LRTUNER_JOB="hopeless.json", LRTUNER_IN_USE="schedule.json"
    )
    assert done.returncode == 3
    assert report["LRTUNER_VERDICT"] == "no_difference_resolved"
    assert "**worse**: worse than schedule.json" in summary

    done, report, _ = pipeline.gitlab(LRTUNER_JOB="missing.json")
    assert (done.returncode, report) == (2, {"LRTUNER_JOB_ID": ""})
