"""`lrtuner doctor`: what is asked of whom, how it is said, and the exit code."""

import json
import subprocess
import sys

import pytest

from lrtuner.cli import doctor
from lrtuner.diagnosis import Examination, fine, warned, wrong
from lrtuner.store import migrate

WELL = fine("disk", "there is room")
ODD = warned("clock", "the clocks differ", "let NTP set both")
BROKEN = wrong("device", "no such device", "set LRTUNER_DEVICE")


@pytest.fixture
def examine(run, monkeypatch):
    """Run the command where the given things are found."""

    def call(*found, options=()):
        monkeypatch.setattr(doctor, "examined", lambda: list(found))
        return run("doctor", *options)

    return call


def test_what_is_found_is_said_with_what_mends_it(examine):
    done = examine(WELL, ODD)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "ok       disk              there is room",
        "warning  clock             the clocks differ; let NTP set both",
    ]


def test_a_problem_is_an_exit_code(examine):
    assert examine(WELL, BROKEN).exit_code == 1
    assert "problem  device            no such device; set LRTUNER_DEVICE" in examine(BROKEN).stdout


def test_what_two_processes_find_is_said_once(examine):
    assert len(examine(BROKEN, WELL, BROKEN).stdout.splitlines()) == 2


def test_json(examine):
    done = examine(WELL, BROKEN, options=["--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["healthy"] is False
    assert told["diagnoses"][1] == {
        "check": "device",
        "state": "problem",
        "told": "no such device",
        "remedy": "set LRTUNER_DEVICE",
    }
    assert json.loads(examine(ODD, options=["--json"]).stdout)["healthy"] is True


@pytest.mark.parametrize(
    ("extras", "modules"),
    [
        ([], []),
        (["service"], ["lrtuner.store.doctor", "service.doctor"]),
        (["worker"], ["lrtuner.store.doctor", "worker.doctor"]),
        (
            ["service", "worker"],
            ["lrtuner.store.doctor", "service.doctor", "worker.doctor"],
        ),
    ],
)
def test_only_what_is_installed_is_examined(monkeypatch, extras, modules):
    asked = []

    def ask(module):
        asked.append(module)
        return Examination([], ["LRTUNER_KNOWN"])

    monkeypatch.setattr(doctor, "installed", lambda: extras)
    monkeypatch.setattr(doctor, "ask", ask)
    monkeypatch.setenv("LRTUNER_UNKNOWN", "1")
    monkeypatch.setattr("lrtuner.cli.surroundings.server", lambda *_, **__: [])
    found = [item.check for item in doctor.examined()]
    assert sorted(asked) == sorted(modules)
    assert ("data folder" in found) == bool(extras)
    # the settings of what is not installed are not known to be none
    assert ("settings" in found) == (len(extras) == 2)


@pytest.mark.parametrize(
    ("extras", "url", "asked"),
    [
        ([], "", True),
        (["service"], "", True),
        (["worker"], "", False),
        (["worker"], "http://api:8470", True),
        (["service", "worker"], "", True),
    ],
)
def test_a_machine_with_workers_alone_need_not_reach_the_service(monkeypatch, extras, url, asked):
    monkeypatch.setattr(doctor, "installed", lambda: extras)
    monkeypatch.setattr(doctor, "ask", lambda module: Examination([], []))
    monkeypatch.setattr("lrtuner.cli.surroundings.server", lambda *_, **__: [WELL])
    monkeypatch.setenv("LRTUNER_URL", url)
    assert (WELL in doctor.examined()) == asked


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('libtorch.so: cannot open')", "libtorch.so: cannot open"),
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
        ("print('{}')", "exit code 0"),
        ("print('no json')", "exit code 0"),
    ],
)
def test_an_examination_that_breaks_off_is_a_finding(monkeypatch, code, reason):
    monkeypatch.setattr(doctor, "python", lambda module: [sys.executable, "-c", code])
    [found] = doctor.ask("worker.doctor").diagnoses
    assert found.state == "problem"
    assert found.told == f"`python -m worker.doctor` broke off: {reason}"


def test_an_examination_that_does_not_end(monkeypatch):
    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    [found] = doctor.ask("worker.doctor").diagnoses
    assert "no end after 120 s" in found.told


def test_a_process_of_its_own_is_really_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("LRTUNER_DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    assert doctor.ask("lrtuner.store.doctor").diagnoses[0].state == "problem"


@pytest.mark.slow
def test_the_whole_of_it(run, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate.upgrade(url)
    monkeypatch.setenv("LRTUNER_DATABASE_URL", url)
    done = run("doctor", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0, told
    checks = {item["check"] for item in told["diagnoses"]}
    assert checks >= {"versions", "database", "migrations", "access", "device", "lease", "server"}
